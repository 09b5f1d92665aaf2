"""The operations of the API: each checks a request, then writes it in one transaction."""
