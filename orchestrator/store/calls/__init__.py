"""A call's life: leased, retried, answered, approved, cached."""
