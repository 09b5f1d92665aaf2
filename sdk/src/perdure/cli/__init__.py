"""The commands of `perdure`, one module each; `output` says how they speak."""
