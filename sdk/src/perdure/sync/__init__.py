"""The synchronous API: proxies of the asynchronous objects, and the thread of their event loop."""
