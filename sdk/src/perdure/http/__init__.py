"""The connection to the API: transport, back-off, JSON."""
