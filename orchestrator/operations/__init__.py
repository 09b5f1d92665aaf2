"""What a caller may do: requests are checked, then written in one transaction."""
