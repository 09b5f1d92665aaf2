"""What function workers say: register, poll, heartbeat, result."""
