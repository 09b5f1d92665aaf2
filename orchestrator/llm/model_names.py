"""Names of models: what a caller writes, resolved to a provider and that provider's own model id.

Pure. Accepted are `<provider>/<model id>` with an id that the provider accepts, a known Claude id alone, the older names
of the contract, `scripted/inline` and `scripted/<policy>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from typing_extensions import override

from orchestrator.llm.providers import PROVIDERS, SCRIPTED, Provider, find_provider

_POLICY_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_POLICY_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class ModelName(NamedTuple):
    """A provider and the provider's id of the model."""

    provider: str
    model: str

    @override
    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


def resolve_model(name: str, *, policies: Iterable[str] = ()) -> ModelName:
    """Resolve a model's name; `policies` are scripted policies beyond the built-in ones.

    Raises `ValueError` for an unknown name; its text lists the known ones.
    """
    provider_name, slash, model = name.partition("/")
    if not slash:
        return _resolve_bare(name)
    provider = find_provider(provider_name)
    if provider is None:
        known = " and ".join(repr(each.name) for each in PROVIDERS)
        examples = " or ".join(f"'{each.name}/{each.models[0]}'" for each in PROVIDERS)
        raise ValueError(
            f"unknown model provider {provider_name!r}: known are {known}, as in {examples}"
        )
    return _resolve_id(provider, model, tuple(policies) if provider is SCRIPTED else ())


def auxiliary_model(name: ModelName) -> ModelName:
    """The small model of the same provider, for summaries and names; the model itself if the provider has none."""
    provider = find_provider(name.provider)
    small = None if provider is None else provider.small_model
    return name if small is None else ModelName(name.provider, small)


def parse_policies(text: str) -> dict[str, str]:
    """Read the setting `scripted_policies`: `name=module:function`, separated by commas.

    Raises `ValueError` for an entry of another shape, a built-in name or a name given twice.
    """
    policies: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, target = (part.strip() for part in entry.partition("="))
        if not _POLICY_NAME.fullmatch(name) or not _POLICY_TARGET.fullmatch(target):
            raise ValueError(f"a scripted policy is written name=module:function, not {entry!r}")
        if name in policies or name in SCRIPTED.models:
            raise ValueError(f"there is already a scripted policy called {name!r}")
        policies[name] = target
    return policies


def _resolve_bare(name: str) -> ModelName:
    in_short = [provider for provider in PROVIDERS if provider.in_short]
    for provider in in_short:
        model = provider.older_names.get(name, name)
        if model in provider.models:
            return ModelName(provider.name, model)
    known = _listed(name for each in in_short for name in (*each.models, *each.older_names))
    others = " or ".join(f"'{each.name}/…'" for each in PROVIDERS)
    raise ValueError(f"unknown model {name!r}: known are {known}; others are named {others}")


def _resolve_id(provider: Provider, model: str, further: tuple[str, ...]) -> ModelName:
    known = (*provider.models, *further)
    by_pattern = provider.id_pattern is not None and provider.id_pattern.fullmatch(model)
    if model not in known and not by_pattern:
        raise ValueError(f"{model!r} is not {provider.id_rule}; known are {_listed(known)}")
    return ModelName(provider.name, provider.older_names.get(model, model))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
