"""Wire formats of other products. Where a client cannot see a difference, native rules apply."""
