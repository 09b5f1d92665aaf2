"""Run routes."""
