"""Runs and what belongs to one."""
