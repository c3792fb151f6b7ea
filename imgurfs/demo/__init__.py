"""The demo: an emulated account as a drive and a watched folder, all real programs."""
