"""What is remembered across restarts; the only package that imports sqlite3."""
