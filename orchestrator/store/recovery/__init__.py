"""Queries and repairs of the sweeper: stalled runs, lost leases, deadlines."""
