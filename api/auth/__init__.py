"""Who asks and how much they may: keys, scopes, custom auth, rate limits, audit."""
