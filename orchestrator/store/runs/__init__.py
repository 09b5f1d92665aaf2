"""One run's rows: its creation, its locked row, its limits, its outbox."""
