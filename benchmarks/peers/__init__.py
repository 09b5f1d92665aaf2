"""The same job done by other products that make agents durable, each in a virtual environment of its own.

`python -m benchmarks.peers` measures them. From elsewhere:

    for peer in PEERS:
        peer.prepare()                                    # once; quick afterwards
        running = peer.start("127.0.0.1:7233", "default", an_empty_folder)
        seconds = running.measure(runs=50, steps=3)       # all right, or PeerError
        running.stop()
"""

from __future__ import annotations

from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.errors import PeerError
from benchmarks.peers.peer import Peer, RunningPeer

__all__ = ["PEERS", "Peer", "PeerError", "RunningPeer"]
