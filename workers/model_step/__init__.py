"""Model steps, summaries and names of runs."""
