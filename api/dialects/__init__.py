"""Other products' manners of speaking, put into ours and back. Native rules win wherever a client cannot see it."""
