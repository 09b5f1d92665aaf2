"""A service that answers questions about a shop's orders: data, functions, and an agent that uses them."""
