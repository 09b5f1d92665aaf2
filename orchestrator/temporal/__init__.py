"""How this server speaks to Temporal: client, activity tasks, signals, payloads."""
