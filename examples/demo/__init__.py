"""`make demo`: one durable run from start to end, told as it happens."""
