"""Delivery of webhooks over HTTP."""
