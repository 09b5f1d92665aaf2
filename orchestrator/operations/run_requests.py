"""Validates requests for runs and turns each into a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import JsonValue

from orchestrator.errors import InvalidRequestError, TooLargeError
from orchestrator.llm.model_names import parse_policies, resolve_model
from orchestrator.llm.price_list import parse_prices
from orchestrator.llm.run_names import first_words
from orchestrator.operations.function_references import (
    check_mocks,
    resolve_functions,
    resolve_handler,
)
from orchestrator.operations.run_configs import RunConfigurations
from orchestrator.operations.webhooks import Webhooks
from orchestrator.runtime.clock import now_ms, to_datetime
from orchestrator.runtime.ids import new_id
from orchestrator.schema import require_acceptable
from orchestrator.settings import Settings
from orchestrator.store.database.json_columns import optional_to_json, to_json
from orchestrator.store.records import FunctionName
from orchestrator.store.runs.creation import NewRun
from orchestrator.store.store import Store
from perdure.contract import (
    MAX_CONTEXT_BYTES,
    CreateRun,
    CreateStructuredOutput,
    RunOptions,
    TestOptions,
)


@dataclass(frozen=True, slots=True)
class EndUser:
    """The user, if the cluster's own auth function authenticated the request."""

    auth_context: Mapping[str, JsonValue] | None = None
    auth_token_hash: str | None = None


NO_END_USER = EndUser()


class RunRequestValidator:
    """Validates requests for runs against registered functions, stored data and settings."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._webhooks = Webhooks(store, settings)
        self._configurations = RunConfigurations(store)
        self._policies = tuple(parse_policies(settings.scripted_policies))
        self._prices = parse_prices(settings.model_prices)

    async def build(
        self,
        cluster_id: str,
        request: CreateRun,
        *,
        idempotency_key: str | None = None,
        end_user: EndUser = NO_END_USER,
    ) -> NewRun:
        """Return the requested run. Raises `InvalidRequestError` or a subclass, naming the field."""
        configured = await self._configurations.apply(cluster_id, request)
        wanted = configured.request
        prompt, model, mocks = _prompt_of(wanted), self.model(wanted.model), _mocks(wanted.test)
        known = await self._known_functions(cluster_id, wanted)
        check_mocks(mocks or (), known)
        await self._check(cluster_id, wanted, model)
        functions = wanted.attached_functions
        return NewRun(
            cluster_id=cluster_id,
            id=wanted.id or new_id(),
            message_id=new_id(),
            prompt=prompt,
            name=wanted.name or first_words(prompt),
            name_source="words" if wanted.name is None else "given",
            model=model,
            result_schema=optional_to_json(wanted.result_schema),
            attached_functions=None
            if functions is None
            else resolve_functions(
                functions, known, configured.functions_pointer, mocks=mocks or ()
            ),
            on_status_change=resolve_handler(wanted.on_status_change, known),
            context=wanted.context,
            options=_options(wanted),
            idempotency_key=idempotency_key,
            request_hash=request_hash(request, end_user),
            test=wanted.test is not None and wanted.test.enabled,
            mocks=mocks,
            deadline_at=_deadline(wanted.deadline),
            config_id=configured.config_id,
            config_version=configured.version,
            auth_context=end_user.auth_context,
            auth_token_hash=end_user.auth_token_hash,
        )

    async def build_structured(self, cluster_id: str, request: CreateStructuredOutput) -> NewRun:
        """Return a hidden run of one model request without functions. Raises `InvalidRequestError` or a subclass."""
        require_acceptable(request.result_schema, pointer="/resultSchema")
        return NewRun(
            cluster_id=cluster_id,
            id=new_id(),
            message_id=new_id(),
            prompt=request.prompt,
            name="structured output",
            model=self.model(request.model_id, pointer="/modelId"),
            result_schema=to_json(request.result_schema),
            attached_functions=(),
            on_status_change=None,
            context=None,
            options=RunOptions(interactive=False, call_summarization=False, reasoning_traces=False),
            idempotency_key=None,
            request_hash="",
            kind="structured",
        )

    async def _known_functions(self, cluster_id: str, wanted: CreateRun) -> list[FunctionName]:
        """Return the cluster's functions if the request names any."""
        target = wanted.on_status_change
        names_handler = target is not None and target.function is not None
        if not (wanted.attached_functions or names_handler or wanted.test is not None):
            return []
        return await self._store.functions.names(cluster_id)

    async def _check(self, cluster_id: str, wanted: CreateRun, model: str) -> None:
        check_context(wanted.context)
        if wanted.result_schema is not None:
            require_acceptable(wanted.result_schema, pointer="/resultSchema")
        if wanted.budget is not None and wanted.budget.usd is not None:
            self.check_price(model)
        if wanted.on_status_change is not None and wanted.on_status_change.webhook is not None:
            await self._webhooks.check(cluster_id, wanted.on_status_change.webhook)

    def model(self, name: str | None, *, pointer: str = "/model") -> str:
        """Resolve a model name to `provider/model`; None means the default. Raises `InvalidRequestError`."""
        try:
            return str(resolve_model(name or self._settings.model, policies=self._policies))
        except ValueError as error:
            raise InvalidRequestError(str(error), pointer=pointer, code="unknown_model") from error

    def check_price(self, model: str) -> None:
        """Raise `InvalidRequestError` for a budget in dollars if the model's price is unknown."""
        if self._prices.price_of(model) is None:
            raise InvalidRequestError(
                f"The price of {model} is unknown, so its runs cannot have a budget in dollars. "
                "Set the price in PERDURE_MODEL_PRICES, or give the budget in tokens.",
                pointer="/budget/usd",
                code="unknown_price",
            )


def request_hash(request: CreateRun, end_user: EndUser = NO_END_USER) -> str:
    """Return whether two requests are equal; an omitted field equals its default.

    Requests of different users of a custom auth function are never equal.
    """
    fields = request.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if end_user.auth_token_hash is not None:
        fields["caller"] = end_user.auth_token_hash
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _prompt_of(request: CreateRun) -> str:
    if request.initial_prompt is None:
        raise InvalidRequestError(
            "A run needs an initialPrompt, or a config that has one.", pointer="/initialPrompt"
        )
    return request.initial_prompt


def check_context(context: dict[str, JsonValue] | None) -> None:
    """Raise `TooLargeError` for a context over the limit."""
    if context is not None and len(to_json(context)) > MAX_CONTEXT_BYTES:
        raise TooLargeError(
            f"The context may have {MAX_CONTEXT_BYTES} characters as JSON. Pass a reference to larger data.",
            pointer="/context",
        )


def _options(request: CreateRun) -> RunOptions:
    """The request's options, each tag once."""
    options: dict[str, Any] = {name: getattr(request, name) for name in RunOptions.model_fields}
    options["tags"] = list(dict.fromkeys(request.tags))
    return RunOptions.model_construct(None, **options)


def _mocks(test: TestOptions | None) -> dict[str, JsonValue] | None:
    if test is None or not test.mocks:
        return None
    if not test.enabled:
        raise InvalidRequestError(
            "Functions are mocked in test runs only. Set test.enabled, or leave the mocks out.",
            pointer="/test/mocks",
            code="mocks_without_test",
        )
    return {name: mock.output for name, mock in test.mocks.items()}


def _deadline(deadline: datetime | None) -> int | None:
    """Return the deadline in milliseconds UTC. Raises `InvalidRequestError` if it has passed."""
    if deadline is None:
        return None
    at, now = int(deadline.timestamp() * 1000), now_ms()
    if at <= now:
        raise InvalidRequestError(
            f"The deadline has passed: the server's time is {to_datetime(now).isoformat()}. Give a later one.",
            pointer="/deadline",
            code="deadline_passed",
        )
    return at
