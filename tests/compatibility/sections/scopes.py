"""Scopes: stored in API keys. Operation ids: stored in audit entries."""

from __future__ import annotations

from api.auth.scopes import SCOPES, UNAUDITED, USER
from api.dialects.inferable.client_profile import _EARLIER_USER
from orchestrator.store.tenants.api_keys import DEFAULT_SCOPES
from perdure.contract import Scope
from tests.compatibility.comparison import Json


def scopes() -> Json:
    """All scopes, and the scopes of each operation as one string: adding a scope to an operation is a change too."""
    return {
        "scopes": [scope.value for scope in Scope],
        "authorization schemes of end users": [USER, _EARLIER_USER],
        "default scopes of a key": " ".join(sorted(DEFAULT_SCOPES)),
        "operations": {name: " ".join(sorted(needed)) for name, needed in SCOPES.items()},
        "not audited": " ".join(sorted(UNAUDITED)),
    }
