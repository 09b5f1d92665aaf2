"""Who asks: chains of requests that use what earlier answers gave, and single requests to every operation by turns.

Every request carries the key, or its 401 would say nothing about the rest; every tenth one is asked again without it and
with a wrong one.
"""

# schemathesis is typed in part only:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks as known
from schemathesis.core.failures import FailureGroup
from schemathesis.generation.stateful.state_machine import APIStateMachine
from typing_extensions import override

from api.app import assemble
from tests.api.http.test_generated_requests import CHECKS
from tests.security.fuzz_tally import Tally
from tests.support.api_process import ApiProcess

STEPS = 12
"""In a chain."""
ROUND = 10
"""Chains in a row, before every operation is asked by itself."""
OF_EACH = 3
"""Requests to an operation in a row: as many that the document allows as ones that it forbids."""
NO_KEY_EVERY = 10
_CONFIG = schemathesis.Config.from_dict(
    {
        "generation": {"with-security-parameters": False},
        "checks": {
            "negative_data_rejection": {
                "expected-statuses": [400, 403, 404, 405, 406, 409, 410, 413, 415, 422]
            }
        },
    }
)
_CHECKS = set(CHECKS) - {"missing_required_header", "unsupported_method"}
"""Those two look at requests of `make test` alone, which leave out each header and try each method."""
_LEFT_OUT = ["/ready", "/clusters/{clusterId}/runs/{runId}/events/stream"]
_ENDING = ("/clusters/{clusterId}", "/clusters/{clusterId}/api-keys/{keyId}")
"""Deleted, nothing could be asked any more: what is asked for is another cluster's."""
_SOUND: Mapping[str, Mapping[str, Any]] = {
    "POST /clusters/{clusterId}/runs": {"initialPrompt": "[]", "interactive": True},
    "POST /clusters/{clusterId}/calls": {"service": "sales", "function": "query", "input": {}},
}
"""Set in every second request that the document allows, and those left out: they would name a function, a model or a
schema that does not exist, and be refused for that alone."""
_MADE_UP = frozenset({"model", "config", "onStatusChange", "attachedFunctions", "resultSchema"})
_SLOWLY = (
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
)
_WITHOUT: tuple[dict[str, str], ...] = (
    {"Authorization": ""},
    {"Authorization": "Bearer sk_" + "0" * 43},
)


@dataclass(slots=True)
class Asking:
    """Sends a request, counts and judges its answer."""

    process: ApiProcess
    tally: Tally
    ids: dict[str, str] = field(default_factory=dict[str, str])
    """Of what there is, for requests that stand alone."""
    asked: int = 0

    def place(self, case: Any, *, at: Mapping[str, str]) -> None:
        """Send it to this cluster, and to what there is at those places of its address."""
        given = case.path_parameters or {}
        given.update({name: at[name] for name in given if name in at})
        if "clusterId" in given:
            ends_it = case.method == "DELETE" and case.path in _ENDING
            given["clusterId"] = "nobody" if ends_it else self.process.cluster
        sound = _SOUND.get(f"{case.method} {case.path}")
        if sound and self.asked % 2 and case.meta.generation.mode is GenerationMode.POSITIVE:
            kept = {name: case.body[name] for name in case.body if name not in _MADE_UP}
            case.body = {**kept, **sound}

    def send(self, case: Any) -> Any:
        """The answer. An outage of the process is counted, and raised."""
        operation = f"{case.method} {case.path}"
        try:
            response = case.call(
                base_url=self.process.url, headers=self.process.headers, timeout=30
            )
        except requests.RequestException as error:
            self.tally.failed(operation, type(error).__name__, str(error))
            raise
        self.tally.answered(operation, response.status_code)
        self.tally.slowest = max(self.tally.slowest, float(response.elapsed))
        if response.status_code == 401:
            self.tally.failed(operation, "401 although there is a key", str(response.text))
        self.asked += 1
        if self.asked % NO_KEY_EVERY == 0 and "security" in case.operation.definition.raw:
            self._send_without_key(case, operation)
        return response

    def _send_without_key(self, case: Any, operation: str) -> None:
        for headers in _WITHOUT:
            response = case.call(base_url=self.process.url, headers=headers, timeout=30)
            self.tally.answered(operation, response.status_code, keyed=False)
            self.tally.checks["a_key_is_needed"] += 1
            if response.status_code != 401:
                self.tally.failed(operation, f"{response.status_code} without a key", response.text)

    def judge(self, response: Any, case: Any) -> None:
        """Try every property on the answer."""
        try:
            case.validate_response(response, checks=self.checks(), headers=self.process.headers)
        except FailureGroup as failed:
            for failure in failed.exceptions:
                what = f"{type(failure).__name__} at {response.status_code}"
                self.tally.failed(f"{case.method} {case.path}", what, str(failed))

    def checks(self) -> list[Any]:
        """The properties, each counting what it is tried on."""
        registry: Any = known.CHECKS
        return [_counted(registry.get_one(name), self.tally) for name in sorted(_CHECKS)]


def _counted(check: Callable[..., Any], tally: Tally) -> Callable[..., Any]:
    @functools.wraps(check)
    def tried(*given: Any, **more: Any) -> Any:
        tally.checks[check.__name__] += 1
        return check(*given, **more)

    return tried


class Chain(APIStateMachine):
    """One chain: operations of the document are rules, and what their answers give is kept for the others."""

    asking: ClassVar[Asking]

    @override
    def setup(self) -> None:
        self.asking.tally.chains += 1

    @override
    def before_call(self, case: Any) -> None:
        self.asking.place(case, at={} if self.asking.asked % 2 else self.asking.ids)

    @override
    def call(self, case: Any, **_: Any) -> Any:
        return self.asking.send(case)

    @override
    def step(self, input: Any) -> Any:
        if input.transition is not None:
            self.asking.tally.links[input.transition.id] += 1
        return super().step(input)

    @override
    def validate_response(
        self, response: Any, case: Any, additional_checks: Any = None, **more: Any
    ) -> None:
        self.asking.judge(response, case)


def _document() -> Any:
    """The document, without what does not end."""
    known.load_all_checks()
    schema: Any = schemathesis.openapi.from_dict(assemble().openapi(), config=_CONFIG)
    return schema.exclude(path=_LEFT_OUT)


def _played(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=_SLOWLY,
        database=None,
        print_blob=False,
    )


def rounds(asking: Asking) -> Iterator[Callable[[int], None]]:
    """Chains, and every operation by itself, by turns and without end; each takes a seed."""
    document = _document()
    machine = type("Chains", (Chain, document.as_state_machine()), {"asking": asking})
    operations = [result.ok() for result in document.get_all_operations()]
    while True:
        yield lambda number: seed(number)(machine).run(settings=_played(ROUND))
        for operation in operations:
            for mode in GenerationMode:
                yield functools.partial(_alone, asking, operation, mode)


def _alone(asking: Asking, operation: Any, mode: GenerationMode, number: int) -> None:
    """Ask one operation; by turns for what there is and for what the document lets anybody make up."""

    @seed(number)
    @_played(OF_EACH)
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        asking.place(case, at=asking.ids if asking.asked % 2 else {})
        asking.judge(asking.send(case), case)

    with contextlib.suppress(Unsatisfiable):  # it takes nothing that could be forbidden
        ask()
