"""``python -m imgurfs_daemon``."""

from __future__ import annotations

from imgurfs_daemon.cli import main

if __name__ == "__main__":
    main()
