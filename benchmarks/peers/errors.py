"""What can go wrong with a peer."""

from __future__ import annotations


class PeerError(Exception):
    """A peer does not install, does not start, or did not do its job; the message says why, in one line."""
