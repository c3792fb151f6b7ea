"""The pretended Imgur itself: what exists, how it looks, and how it is kept."""
