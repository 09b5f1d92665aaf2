"""The change feed: which runs changed, and how other processes are notified of it."""
