"""The change feed: which runs changed, and how other processes learn of it."""
