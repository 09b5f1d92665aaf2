"""Call routes for clients: direct calls, approvals and blobs."""
