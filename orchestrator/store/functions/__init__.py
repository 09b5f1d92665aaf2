"""What function workers registered, and which functions a run may call."""
