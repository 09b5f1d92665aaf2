"""The resources of the client: runs, calls, clusters, run configurations."""
