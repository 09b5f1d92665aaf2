"""A run as a handle sees it: where it is, and what was last seen of it."""

from __future__ import annotations

from perdure.contract import Run as RunSnapshot, RunStatus
from perdure.http.cluster_api import ClusterApi


class AsyncRunBase:
    """What every part of a run's handle stands on."""

    def __init__(self, api: ClusterApi, snapshot: RunSnapshot) -> None:
        self._api = api
        self._snapshot = snapshot

    @property
    def id(self) -> str:
        return self._snapshot.id

    @property
    def status(self) -> RunStatus:
        """The status last seen; `refresh` and `poll` look again."""
        return self._snapshot.status

    @property
    def snapshot(self) -> RunSnapshot:
        """The run as last seen."""
        return self._snapshot

    async def refresh(self) -> RunSnapshot:
        """Look at the run now. Raises `NotFoundError` for one that was deleted."""
        return self._update(await self._api.read(RunSnapshot, "GET", "runs", self.id))

    def _update(self, snapshot: RunSnapshot) -> RunSnapshot:
        self._snapshot = snapshot
        return snapshot
