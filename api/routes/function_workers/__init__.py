"""Function worker routes: register, poll, heartbeat, result."""
