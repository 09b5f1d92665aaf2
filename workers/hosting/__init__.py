"""Functions that run in this process, beside the Temporal worker."""
