"""The way into the store. One method of a noun is one transaction is one fact."""

from __future__ import annotations

from orchestrator.store.calls import CallStore
from orchestrator.store.deliveries import DeliveryStore
from orchestrator.store.engine import Database, open_database
from orchestrator.store.functions import FunctionStore
from orchestrator.store.keys import KeyStore
from orchestrator.store.messages import MessageStore
from orchestrator.store.migrate import migrate
from orchestrator.store.runs import RunStore
from orchestrator.store.steps import StepStore
from orchestrator.store.sweeps import SweepStore


class Store:
    """All nouns of the store over one database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.feed = database.feed
        self.keys = KeyStore(database)
        self.runs = RunStore(database)
        self.messages = MessageStore(database)
        self.steps = StepStore(database)
        self.calls = CallStore(database)
        self.deliveries = DeliveryStore(database)
        self.functions = FunctionStore(database)
        self.sweeps = SweepStore(database)

    async def aclose(self) -> None:
        await self.database.aclose()


async def open_store(url: str, *, listen_url: str | None = None) -> Store:
    """Open the store at `sqlite:///path` or `postgresql://…`, brought to the newest schema first."""
    database = await open_database(url, listen_url=listen_url)
    try:
        await migrate(database)
    except BaseException:
        await database.aclose()
        raise
    return Store(database)
