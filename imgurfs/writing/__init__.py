"""What changes made on the drive mean: rows of the tree, spooled bytes and jobs."""
