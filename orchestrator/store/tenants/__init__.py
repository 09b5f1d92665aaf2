"""Clusters and what is kept for them: API keys, audit log, usage."""
