"""What the peers' child processes share. Stands on the standard library alone, but for `pydantic_ai_job`."""
