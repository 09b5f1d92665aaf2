"""Clusters, their keys, their usage, their machines."""
