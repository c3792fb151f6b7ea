"""The sync daemon: watches folders and puts what they need into the outbox."""
