"""Both database engines: transactions, prepared statements, JSON columns."""
