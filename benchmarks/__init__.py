"""What Perdure costs, measured against a raw Temporal loop on the same server in the same minutes."""
