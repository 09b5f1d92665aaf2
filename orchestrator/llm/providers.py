"""The registry of model providers: which models they serve, for which key, at which price, and what opens them.

Pure, and without any provider's package: the API validates model names by it, the workers open models by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from orchestrator.llm.prices import CLAUDE_PRICES, FREE, Price


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider of models. A model is named `<provider>/<model id>`."""

    name: str
    title: str
    """Its name for people."""
    key_setting: str | None
    """The field of `Settings` that holds its key; None if it needs none."""
    models: tuple[str, ...]
    """Known model ids, newest first."""
    prices: Mapping[str, Price]
    """Published prices by model id."""
    small_model: str | None
    """The model for summaries and names; None: a run's own model."""
    open: str
    """`module:function` that opens the provider in a worker process. It takes the `Settings` and returns a
    `workers.models.ModelPool`. The module is imported when a run first uses the provider."""
    id_pattern: re.Pattern[str] | None = None
    """Matches further ids that the provider serves; None: only the known ones."""
    id_rule: str = ""
    """What a model id of this provider is, for error texts."""
    older_names: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names that older clients send, and the model that serves them today."""
    default_price: Price | None = None
    """Of models without a published price."""
    in_short: bool = False
    """Whether its model ids can be given without its name in front."""

    def price_of(self, model_id: str) -> Price | None:
        """The published price of a model, or None if it is unknown."""
        return self.prices.get(model_id, self.default_price)


CLAUDE_SONNET = "claude-sonnet-5-5"
CLAUDE_HAIKU = "claude-haiku-5-5"

ANTHROPIC = Provider(
    name="anthropic",
    title="Claude",
    key_setting="anthropic_api_key",
    models=(
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
    ),
    prices=CLAUDE_PRICES,
    small_model=CLAUDE_HAIKU,
    open="workers.models.anthropic.client:open_anthropic",
    id_pattern=re.compile(r"claude-[A-Za-z0-9][A-Za-z0-9._:@-]*"),
    id_rule="the id of a Claude model: it begins with 'claude-'",
    older_names=MappingProxyType(
        {
            "claude-3-5-sonnet": CLAUDE_SONNET,
            "claude-3-5-sonnet:beta": CLAUDE_SONNET,
            "claude-3-haiku": CLAUDE_HAIKU,
        }
    ),
    in_short=True,
)
SCRIPTED = Provider(
    name="scripted",
    title="A scripted model",
    key_setting=None,
    models=("inline", "analyst"),
    prices=MappingProxyType({}),
    small_model=None,
    open="workers.models.scripted.model:open_scripted",
    id_rule="a scripted policy",
    default_price=FREE,
)
"""Models without a provider: policies that answer from a script. The setting `scripted_policies` adds policies."""

PROVIDERS = (ANTHROPIC, SCRIPTED)


def find_provider(name: str) -> Provider | None:
    """The provider of this name, or None."""
    return next((provider for provider in PROVIDERS if provider.name == name), None)
