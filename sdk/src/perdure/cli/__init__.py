"""The commands of `perdure`, one module each; `output` writes their results and errors."""
