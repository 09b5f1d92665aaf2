"""Authentication and limits: keys, scopes, custom auth, rate limits, audit."""
