"""One call's life: leased, tried, answered, approved, cached."""
