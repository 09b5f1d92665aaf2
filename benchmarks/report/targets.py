"""What the figures must be, and what they aim at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """Bounds of a figure: at most, or at least."""

    must: float | None
    aim: float | None
    at_most: bool = True

    def holds(self, value: float, bound: float | None) -> bool:
        """Whether the value is within a bound, if there is one."""
        if bound is None:
            return False
        return value <= bound if self.at_most else value >= bound


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target in words."""

    must: str = ""
    aim: str = ""
    word: str = ""


_AHEAD = Target(1.0, None, at_most=False)
_NOT_BEHIND = Target(None, 1.0, at_most=False)
_HALF = Target(1.0, 0.5)
_MEMORY = Target(180, 120)

TARGETS = {
    "step_ratio": Target(1.9, 1.4),
    "step_ratio_hosted": Target(1.0, 0.6),
    "hosted_to_pydantic_ai_temporal_step": _HALF,
    "hosted_to_openai_agents_temporal_step": _HALF,
    "hosted_rate_ratio_50": Target(None, 1.3, at_most=False),
    "hosted_rate_ratio_200": Target(None, 1.3, at_most=False),
    "hosted_to_pydantic_ai_temporal_rate_50": _AHEAD,
    "hosted_to_pydantic_ai_temporal_rate_200": _AHEAD,
    "hosted_to_openai_agents_temporal_rate_50": _AHEAD,
    "hosted_to_openai_agents_temporal_rate_200": _AHEAD,
    "hosted_to_dbos_sqlite_rate_50": _NOT_BEHIND,
    "hosted_to_dbos_sqlite_rate_200": _NOT_BEHIND,
    "hosted_to_dbos_postgresql_rate_50": _NOT_BEHIND,
    "hosted_to_dbos_postgresql_rate_200": _NOT_BEHIND,
    "late_to_early_2kb": Target(1.15, 1.05),
    "late_to_early_2kb_hosted": Target(1.15, 1.05),
    "late_to_early_20kb": Target(1.3, 1.05),
    "late_to_early_20kb_hosted": Target(1.3, 1.05),
    "run_of_1000_steps_done": Target(1, 1, at_most=False),
    "run_of_1000_steps_done_hosted": Target(1, 1, at_most=False),
    "history_bytes_per_10_calls": Target(19_000, 12_000),
    "history_bytes_per_10_calls_hosted": Target(19_000, 12_000),
    "create_run_p50": Target(15, 8),
    "create_run_p95": Target(40, 25),
    "transition_to_poll_p50": Target(15, 5),
    "transition_to_poll_p95": Target(40, 10),
    "transition_to_stream_p50": Target(15, 5),
    "transition_to_stream_p95": Target(40, 10),
    "dev_to_first_run": Target(5, 2),
    "memory_api_after_first_run": _MEMORY,
    "memory_workers_after_first_run": _MEMORY,
    "memory_api": _MEMORY,
    "memory_workers": _MEMORY,
}


def verdict(figure: str, value: float) -> Verdict:
    """A figure's target in words, and which bound it keeps; nothing where there is no target."""
    target = TARGETS.get(figure)
    if target is None:
        return Verdict()
    sign = "≤" if target.at_most else "≥"
    if target.holds(value, target.aim):
        word = "aim"
    elif target.holds(value, target.must):
        word = "must"
    else:
        word = "aim missed" if target.must is None else "MISSED"
    return Verdict(_bound(sign, target.must), _bound(sign, target.aim), word)


def _bound(sign: str, bound: float | None) -> str:
    return "" if bound is None else f"{sign} {bound:,g}"
