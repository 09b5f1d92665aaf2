"""What happens next to a run or a call, decided without input or output. Pure."""
