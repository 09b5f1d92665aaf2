"""Names of models: the one table that turns what a caller writes into a provider and that provider's own id.

Pure, and without any provider's package: the API validates names with it, the workers open models by it.
Accepted are `anthropic/<any id that begins with claude->`, a Claude id of the table alone, the older names of
the contract, `scripted/inline` and `scripted/<policy>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from typing_extensions import override

ANTHROPIC = "anthropic"
SCRIPTED = "scripted"

CLAUDE_SONNET = "claude-sonnet-5-5"
CLAUDE_HAIKU = "claude-haiku-5-5"

CLAUDE_MODELS: tuple[str, ...] = (
    CLAUDE_SONNET,
    CLAUDE_HAIKU,
    "claude-opus-5-5",
    "claude-fable-5-2",
    "claude-mythos-5-2",
    "claude-fable-5-1",
    "claude-mythos-5-1",
    "claude-sonnet-5",
    "claude-opus-5",
    "claude-fable-5",
    "claude-mythos-5",
    "claude-opus-4-8",
    "claude-opus-4-7",
    "claude-opus-4-6",
    "claude-sonnet-4-6",
    "claude-opus-4-5",
    "claude-sonnet-4-5",
    "claude-haiku-4-5",
)
"""Ids that need no provider in front of them; newest first."""

OLDER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "claude-3-5-sonnet": CLAUDE_SONNET,
        "claude-3-5-sonnet:beta": CLAUDE_SONNET,
        "claude-3-haiku": CLAUDE_HAIKU,
    }
)
"""Names that older clients send, and the model of today that answers to them."""

BUILT_IN_POLICIES: tuple[str, ...] = ("inline", "analyst")
"""Scripted policies that are always there."""

_CLAUDE_ID = re.compile(r"claude-[A-Za-z0-9][A-Za-z0-9._:@-]*")
_POLICY_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_POLICY_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class ModelName(NamedTuple):
    """A provider and the id by which that provider knows the model."""

    provider: str
    model: str

    @override
    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


def resolve_model(name: str, *, policies: Iterable[str] = ()) -> ModelName:
    """The model a caller means by `name`; `policies` are scripted policies beyond the built-in ones.

    Raises `ValueError` when nothing is known by that name; its text lists what is.
    """
    provider, slash, model = name.partition("/")
    if not slash:
        return _resolve_bare(name)
    if provider == ANTHROPIC:
        return _resolve_claude(model)
    if provider == SCRIPTED:
        return _resolve_policy(model, (*BUILT_IN_POLICIES, *policies))
    raise ValueError(
        f"unknown model provider {provider!r}: known are {ANTHROPIC!r} and {SCRIPTED!r}, "
        f"as in '{ANTHROPIC}/{CLAUDE_SONNET}' or '{SCRIPTED}/inline'"
    )


def auxiliary_model(name: ModelName) -> ModelName:
    """The small model of the same provider, for summaries. A scripted model is as small as it gets."""
    return ModelName(ANTHROPIC, CLAUDE_HAIKU) if name.provider == ANTHROPIC else name


def parse_policies(text: str) -> dict[str, str]:
    """Read the setting `scripted_policies`: `name=module:function`, separated by commas.

    Raises `ValueError` for an entry of another shape, a built-in name or a name given twice.
    """
    policies: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, target = (part.strip() for part in entry.partition("="))
        if not _POLICY_NAME.fullmatch(name) or not _POLICY_TARGET.fullmatch(target):
            raise ValueError(f"a scripted policy is written name=module:function, not {entry!r}")
        if name in policies or name in BUILT_IN_POLICIES:
            raise ValueError(f"there is already a scripted policy called {name!r}")
        policies[name] = target
    return policies


def _resolve_bare(name: str) -> ModelName:
    model = OLDER_NAMES.get(name, name)
    if model in CLAUDE_MODELS:
        return ModelName(ANTHROPIC, model)
    raise ValueError(
        f"unknown model {name!r}: known are {_listed((*CLAUDE_MODELS, *OLDER_NAMES))}; "
        f"any other Claude model is named '{ANTHROPIC}/claude-…', a scripted one '{SCRIPTED}/…'"
    )


def _resolve_claude(model: str) -> ModelName:
    if not _CLAUDE_ID.fullmatch(model):
        raise ValueError(
            f"{model!r} is not the id of a Claude model: it begins with 'claude-'; "
            f"known are {_listed(CLAUDE_MODELS)}"
        )
    return ModelName(ANTHROPIC, OLDER_NAMES.get(model, model))


def _resolve_policy(policy: str, known: tuple[str, ...]) -> ModelName:
    if policy not in known:
        raise ValueError(f"unknown scripted policy {policy!r}: known are {_listed(known)}")
    return ModelName(SCRIPTED, policy)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
