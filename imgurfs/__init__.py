"""An Imgur account as a folder.

The package holds everything the mount and the sync daemon share. It re-exports
nothing: import from the module that owns a name. docs/ARCHITECTURE.md says which
room is for what.
"""

__version__ = "0.1.0"
