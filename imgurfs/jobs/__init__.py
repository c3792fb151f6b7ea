"""What each job of the outbox means: how it is queued, prepared, sent and settled."""
