"""Picture bytes on this disk."""
