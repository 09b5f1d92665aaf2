"""Deliveries to status-change handlers and webhooks, and the secrets they are signed with."""
