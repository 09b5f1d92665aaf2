"""Stores, validates and searches run configurations, and applies them to requests for runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from orchestrator.errors import InvalidRequestError, NotFoundError, TooLargeError
from orchestrator.llm.messages import Tool
from orchestrator.llm.prompt_template import append, fill, places
from orchestrator.llm.tool_search import rank_tools
from orchestrator.runtime.ids import new_id
from orchestrator.schema import compile_schema, require_acceptable
from orchestrator.store.database.json_columns import to_json
from orchestrator.store.runs.configs import RunConfigRecord
from orchestrator.store.store import Store
from perdure.contract import (
    MAX_PROMPT,
    CreateRun,
    CreateRunConfig,
    PutRunConfig,
    RunConfigReference,
)

RESERVED_IDS = frozenset({"search"})
_MAX_SEARCHED = 2_000
_MAX_FOUND = 10
_SEARCHED_CHARACTERS = 2_000
_CONFIGURABLE = (PutRunConfig.model_fields.keys() & CreateRun.model_fields.keys()) - {"name"}
"""Fields of a request that a configuration can set. Its `name` is its own, not the run's."""
_COMPOSED = frozenset({"$ref", "allOf", "anyOf", "oneOf", "if", "patternProperties"})
"""Keywords by which a schema can declare properties outside `properties`."""


@dataclass(frozen=True, slots=True)
class ConfiguredRun:
    """A request for a run with its configuration applied."""

    request: CreateRun
    config_id: str | None = None
    version: int | None = None
    functions_pointer: str = "/attachedFunctions"
    """The field that names the functions: in the request or in its configuration."""


class RunConfigurations:
    """The operations on run configurations."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, cluster_id: str, request: CreateRunConfig) -> RunConfigRecord:
        """Store a new configuration. Raises `InvalidRequestError`, or `ConflictError` if the id is in use."""
        validate_config(request)
        config_id = request.id or new_id()
        _check_id(config_id)
        return await self._store.run_configs.create(
            cluster_id, config_id, request.name, _content(request)
        )

    async def put(self, cluster_id: str, config_id: str, request: PutRunConfig) -> RunConfigRecord:
        """Store the next version. Raises `InvalidRequestError`."""
        validate_config(request)
        _check_id(config_id)
        return await self._store.run_configs.put(
            cluster_id, config_id, request.name, _content(request)
        )

    async def search(self, cluster_id: str, query: str) -> list[tuple[float, RunConfigRecord]]:
        """Return at most ten best matches for the query with their scores from 0 to 1, best first."""
        records = await self._store.run_configs.page(cluster_id, after="", limit=_MAX_SEARCHED)
        by_id = {record.id: record for record in records}
        ranked = rank_tools(query, [_searchable(record) for record in records])
        return [(score / (1 + score), by_id[tool.name]) for score, tool in ranked if score][
            :_MAX_FOUND
        ]

    async def apply(self, cluster_id: str, request: CreateRun) -> ConfiguredRun:
        """Merge a request with its configuration. Raises `InvalidRequestError`.

        Values of the configuration take precedence; the request may set the others.
        """
        if request.config is None:
            return ConfiguredRun(request)
        record = await self._find(cluster_id, request.config)
        config = config_from_record(record)
        prompt = _prompt(config, request, request.config.input or {})
        values = {name: getattr(config, name) for name in _CONFIGURABLE} | {
            "initial_prompt": prompt
        }
        configured = request.model_copy(
            update={name: value for name, value in values.items() if value is not None}
        )
        if config.attached_functions is None:
            return ConfiguredRun(configured, record.id, record.version)
        return ConfiguredRun(configured, record.id, record.version, "/config/attachedFunctions")

    async def _find(self, cluster_id: str, reference: RunConfigReference) -> RunConfigRecord:
        try:
            return await self._store.run_configs.get(cluster_id, reference.id, reference.version)
        except NotFoundError as error:
            raise InvalidRequestError(
                error.detail, pointer="/config/id", code="unknown_run_config"
            ) from error


def config_from_record(record: RunConfigRecord) -> PutRunConfig:
    return PutRunConfig.model_validate_json(record.content)


def validate_config(config: PutRunConfig) -> None:
    """Raise `InvalidRequestError` for invalid schemas, or if the prompt's placeholders and the inputs do not match."""
    if config.result_schema is not None:
        require_acceptable(config.result_schema, pointer="/resultSchema")
    if config.input_schema is None:
        return
    require_acceptable(config.input_schema, pointer="/inputSchema")
    wanted = places(config.initial_prompt or "")
    declared = _declared(config.input_schema)
    unknown = [name for name in wanted if declared is not None and name not in declared]
    if unknown:
        raise InvalidRequestError(
            f"The prompt has a placeholder for {unknown[0]!r}, which inputSchema does not define.",
            pointer="/initialPrompt",
            code="unknown_placeholder",
        )
    unused = [name for name in _required(config.input_schema) if wanted and name not in wanted]
    if unused:
        raise InvalidRequestError(
            f"The input {unused[0]!r} is required, but the prompt has no placeholder for it. "
            f"Write {{{{{unused[0]}}}}} into the prompt.",
            pointer="/initialPrompt",
            code="unused_input",
        )


def _declared(schema: Mapping[str, JsonValue]) -> frozenset[str] | None:
    """Return the names of the inputs, or None if the schema does not list all of them in `properties`."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or _COMPOSED & schema.keys():
        return None
    return frozenset(properties)


def _required(schema: Mapping[str, JsonValue]) -> list[str]:
    required = schema.get("required")
    return [str(name) for name in required] if isinstance(required, list) else []


def _prompt(
    config: PutRunConfig, request: CreateRun, inputs: Mapping[str, JsonValue]
) -> str | None:
    """Return the prompt with the inputs filled in, or None if neither request nor configuration has a prompt."""
    _check_input(config, inputs)
    template = config.initial_prompt
    wanted = places(template or "")
    if template is None:
        prompt = request.initial_prompt
    else:
        prompt = fill(template, _with_defaults(config, wanted, inputs))
    if prompt is not None and inputs and not wanted:
        prompt = append(prompt, inputs)
    if prompt is not None and len(prompt) > MAX_PROMPT:
        raise TooLargeError(
            f"With its inputs the prompt has {len(prompt)} characters; at most {MAX_PROMPT} are allowed.",
            pointer="/config/input",
        )
    return prompt


def _check_input(config: PutRunConfig, inputs: Mapping[str, JsonValue]) -> None:
    if config.input_schema is None:
        return
    found = compile_schema(to_json(config.input_schema)).violations(dict(inputs))
    if found:
        where, problem = found[0]
        more = f" ({len(found)} violations in total.)" if len(found) > 1 else ""
        raise InvalidRequestError(
            f"The input does not satisfy the configuration's inputSchema: {problem}{more}",
            pointer=f"/config/input{where}",
            code="invalid_input",
        )


def _with_defaults(
    config: PutRunConfig, wanted: tuple[str, ...], inputs: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    """Return the inputs, completed with the schema's defaults. Without a schema every input is required."""
    values = dict(inputs)
    properties = (config.input_schema or {}).get("properties")
    for name in wanted:
        if name in values:
            continue
        if config.input_schema is None:
            raise InvalidRequestError(
                f"The configuration's prompt has a placeholder for {name!r}. Set it in config.input.",
                pointer=f"/config/input/{name}",
                code="missing_input",
            )
        about = properties.get(name) if isinstance(properties, dict) else None
        if isinstance(about, dict) and "default" in about:
            values[name] = about["default"]
    return values


def _check_id(config_id: str) -> None:
    if config_id in RESERVED_IDS:
        raise InvalidRequestError(
            f"The id {config_id!r} is reserved in URLs. Choose another id.",
            pointer="/id",
            code="reserved_id",
        )


def _content(config: PutRunConfig) -> str:
    wanted = PutRunConfig.model_validate(
        config.model_dump(include=set(PutRunConfig.model_fields), exclude_unset=True)
    )
    return to_json(wanted.model_dump(mode="json", by_alias=True, exclude_unset=True))


def _searchable(record: RunConfigRecord) -> Tool:
    config = config_from_record(record)
    prompts = f"{config.initial_prompt or ''} {config.system_prompt or ''}"[:_SEARCHED_CHARACTERS]
    name = " ".join([config.name] * 3)
    return Tool(record.id, f"{name} {prompts}", config.input_schema or {})
