"""All scenarios there are. A new module of scenarios is named here."""

from __future__ import annotations

from tests.workflow import approval_scenarios, call_scenarios, limit_scenarios, scenarios
from tests.workflow.scenarios import Scenario

MODULES = (scenarios, approval_scenarios, call_scenarios, limit_scenarios)
SCENARIOS: dict[str, Scenario] = scenarios.SCENARIOS
"""By name; the modules above have put theirs into it."""
