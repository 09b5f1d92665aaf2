"""The scopes of each operation: any one of those listed is sufficient. `docs/reference/clusters-and-keys.md` has the same table."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.store.records import KeyRecord
from orchestrator.store.tenants.api_keys import parse_scopes
from perdure.contract import Scope

USER = "custom"
"""Not a scope of keys: the permissions of users with a custom token, for runs of the same token."""

_MACHINE, _CLIENT, _ADMIN, _MANAGEMENT = (
    Scope.MACHINE.value,
    Scope.CLIENT.value,
    Scope.ADMIN.value,
    Scope.MANAGEMENT.value,
)
_GROUPS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((_MACHINE, _CLIENT, _ADMIN, _MANAGEMENT), "get_identity"),
    ((_MACHINE,), "poll_calls keep_call post_result create_blob report_lost_machine"),
    # A client may read its cluster by `{}`; registering functions requires the scope `machine`.
    ((_MACHINE, _CLIENT), "register_machine"),
    (
        (_CLIENT, USER),
        """
        create_run list_runs get_run cancel_run resume_run delete_run retry_run set_feedback get_timeline
        list_messages create_message edit_message list_events stream_events
        list_run_calls list_references list_run_blobs
        """,
    ),
    (
        (_CLIENT,),
        """
        create_call get_call get_call_result cancel_call decide_call list_approvals get_blob_data
        list_deliveries resend_delivery create_structured_output
        create_run_config list_run_configs search_run_configs get_run_config put_run_config
        delete_run_config get_run_config_metrics
        """,
    ),
    (
        (_CLIENT, _ADMIN),
        "list_services list_machines list_cluster_events get_usage get_cluster get_function_note",
    ),
    (
        (_ADMIN,),
        """
        update_cluster delete_cluster list_context_versions create_api_key list_api_keys revoke_api_key
        put_function_note delete_function_note list_audit_entries
        create_webhook_secret list_webhook_secrets delete_webhook_secret
        """,
    ),
    ((_MANAGEMENT,), "list_clusters create_cluster"),
)
SCOPES: Mapping[str, frozenset[str]] = {
    operation: frozenset(scopes) for scopes, names in _GROUPS for operation in names.split()
}
"""Scopes by operation id."""
_UNDECLARED = frozenset({_ADMIN})
UNAUDITED = frozenset({"keep_call", "post_result", "create_blob"})
"""Frequent operations of function workers: the run's events record what happens to its calls."""


def required_scopes(operation: str) -> frozenset[str]:
    """The scopes of which one is sufficient. An operation that is missing above requires admin."""
    return SCOPES.get(operation, _UNDECLARED)


def granted_scopes(key: KeyRecord, cluster_id: str) -> frozenset[str]:
    """The key's scopes in that cluster. Management includes admin and client in every cluster, and machine in none."""
    own = parse_scopes(key.scopes)
    may = set(own) if cluster_id == key.cluster_id else set[Scope]()
    if Scope.MANAGEMENT in own:
        may |= {Scope.MANAGEMENT, Scope.ADMIN, Scope.CLIENT}
    return frozenset(scope.value for scope in may)


def grantable_scopes(key: KeyRecord, cluster_id: str) -> frozenset[Scope]:
    """The scopes that the key may grant to keys of that cluster: its own there, never management.

    Management may also grant `machine`, because a cluster that it created could have no function worker otherwise.
    """
    mine = {Scope(scope) for scope in granted_scopes(key, cluster_id)}
    if Scope.MANAGEMENT in mine:
        mine.add(Scope.MACHINE)
    return frozenset(mine - {Scope.MANAGEMENT})
