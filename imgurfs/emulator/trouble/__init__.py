"""What goes wrong, and what other people do meanwhile."""
