"""A model that is a script: for tests and demonstrations."""
