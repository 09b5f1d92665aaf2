"""What the sweeper asks for: stalled runs, lost leases, deadlines."""
