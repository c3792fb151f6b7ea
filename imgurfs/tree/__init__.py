"""What Imgur looks like as a file system; no kernel types."""
