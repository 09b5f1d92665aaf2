"""The synchronous half: proxies over the asynchronous objects, and the thread of their event loop."""
