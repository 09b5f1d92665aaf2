"""Functions that workers registered, and those that a run may call."""
