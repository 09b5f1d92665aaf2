"""Calls, as people and programs see them."""
