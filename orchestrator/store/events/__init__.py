"""Reads of events: timelines, and events of a cluster."""
