"""All scenarios there are. A new module of scenarios is named here."""

from __future__ import annotations

from tests.orchestrator.workflows.scenarios import (
    approvals as approval_scenarios,
    calls as call_scenarios,
    limits as limit_scenarios,
    scenarios,
)
from tests.orchestrator.workflows.scenarios.scenarios import Scenario

MODULES = (scenarios, approval_scenarios, call_scenarios, limit_scenarios)
SCENARIOS: dict[str, Scenario] = scenarios.SCENARIOS
"""By name; the modules above have put theirs into it."""
