"""``python -m imgurfs`` is the program ``imgurfs``."""

from imgurfs.cli.main import main

if __name__ == "__main__":
    main()
