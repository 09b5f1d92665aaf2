"""What the client gives access to: runs, calls, clusters, run configurations."""
