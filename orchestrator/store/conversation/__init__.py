"""Messages and model steps."""
