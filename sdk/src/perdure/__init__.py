"""Perdure: durable agent runs."""
