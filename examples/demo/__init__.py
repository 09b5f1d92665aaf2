"""`make demo`: one durable run from start to end, printed as it happens."""
