"""What is different about SQLite and PostgreSQL, one module each."""
