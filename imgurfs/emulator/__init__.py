"""An Imgur on this machine. Shares no code with the client it tests."""
