"""Clusters and their API keys, audit log and usage."""
