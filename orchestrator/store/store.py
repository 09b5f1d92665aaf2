"""The entry to the store. Each method of a store class is one transaction."""

from __future__ import annotations

from orchestrator.runtime.encryption import FieldCipher
from orchestrator.store.calls.approvals import ApprovalStore
from orchestrator.store.calls.blobs import BlobStore
from orchestrator.store.calls.crash_loops import CrashLoopStore
from orchestrator.store.calls.direct import DirectCallStore
from orchestrator.store.calls.execution import CallStore
from orchestrator.store.calls.queries import CallQueries
from orchestrator.store.calls.results import ResultStore
from orchestrator.store.conversation.messages import MessageStore
from orchestrator.store.conversation.rewind import RewindStore
from orchestrator.store.conversation.steps import StepStore
from orchestrator.store.database.engine import Database, open_database
from orchestrator.store.deliveries.deliveries import DeliveryStore
from orchestrator.store.deliveries.webhook_secrets import WebhookSecretStore
from orchestrator.store.events.cluster_events import EventStore
from orchestrator.store.events.timeline import TimelineStore
from orchestrator.store.functions.machines import MachineStore
from orchestrator.store.functions.notes import NoteStore
from orchestrator.store.functions.registry import FunctionStore
from orchestrator.store.migrations.runner import migrate
from orchestrator.store.recovery.deadlines import DeadlineStore
from orchestrator.store.recovery.lost_leases import LostLeaseStore
from orchestrator.store.recovery.stalled_runs import SweepStore
from orchestrator.store.runs.configs import RunConfigStore
from orchestrator.store.runs.deletion import DeletionStore
from orchestrator.store.runs.feedback import FeedbackStore
from orchestrator.store.runs.naming import NameStore
from orchestrator.store.runs.repository import RunStore
from orchestrator.store.tenants.api_keys import KeyStore
from orchestrator.store.tenants.audit_log import AuditStore
from orchestrator.store.tenants.auxiliary_usage import AuxiliaryUsageStore
from orchestrator.store.tenants.clusters import ClusterStore
from orchestrator.store.tenants.usage import UsageStore


class Store:
    """All store classes over one database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.feed = database.feed
        self.clusters = ClusterStore(database)
        self.keys = KeyStore(database)
        self.audit = AuditStore(database)
        self.usage = UsageStore(database)
        self.runs = RunStore(database)
        self.deadlines = DeadlineStore(database)
        self.run_configs = RunConfigStore(database)
        self.names = NameStore(database)
        self.auxiliary_usage = AuxiliaryUsageStore(database)
        self.messages = MessageStore(database)
        self.rewind = RewindStore(database)
        self.deletion = DeletionStore(database)
        self.feedback = FeedbackStore(database)
        self.timeline = TimelineStore(database)
        self.steps = StepStore(database)
        self.calls = CallStore(database)
        self.approvals = ApprovalStore(database)
        self.results = ResultStore(database)
        self.call_queries = CallQueries(database)
        self.direct_calls = DirectCallStore(database)
        self.blobs = BlobStore(database)
        self.lost_leases = LostLeaseStore(database)
        self.crash_loops = CrashLoopStore(database)
        self.deliveries = DeliveryStore(database)
        self.functions = FunctionStore(database)
        self.machines = MachineStore(database)
        self.notes = NoteStore(database)
        self.events = EventStore(database)
        self.sweeps = SweepStore(database)
        self.webhook_secrets = WebhookSecretStore(database)

    async def aclose(self) -> None:
        await self.database.aclose()


async def open_store(
    url: str,
    *,
    listen_url: str | None = None,
    cipher: FieldCipher | None = None,
    plain_sql: bool = False,
) -> Store:
    """Open the store at `sqlite:///path` or `postgresql://…`, and migrate it to the newest schema first.

    `cipher` encrypts confidential fields; without it they are stored in plain text. For `plain_sql` see `open_database`.
    """
    database = await open_database(url, listen_url=listen_url, cipher=cipher, plain_sql=plain_sql)
    try:
        await migrate(database)
    except BaseException:
        await database.aclose()
        raise
    return Store(database)
