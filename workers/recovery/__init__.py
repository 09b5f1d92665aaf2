"""Crashes and outages: heartbeats, lost leases, the store or Temporal being away."""
