"""Names of models, and how a name becomes a model."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from anthropic.types.model import Model as ClaudeId
from hypothesis import given, strategies as st

from orchestrator.llm.messages import ErrorAction, ModelError
from orchestrator.llm.model_names import (
    ModelName,
    auxiliary_model,
    parse_policies,
    resolve_model,
)
from orchestrator.llm.providers import ANTHROPIC, CLAUDE_HAIKU, CLAUDE_SONNET, PROVIDERS, Provider
from orchestrator.settings import Settings
from workers.models import open_models
from workers.models.scripted.model import ScriptedModel


def settings_with(**values: Any) -> Settings:
    return Settings.model_validate({"anthropic_api_key": None, **values})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("claude-sonnet-5-5", ("anthropic", "claude-sonnet-5-5")),
        ("anthropic/claude-opus-5-5", ("anthropic", "claude-opus-5-5")),
        ("anthropic/claude-not-yet-9", ("anthropic", "claude-not-yet-9")),
        ("claude-3-5-sonnet", ("anthropic", CLAUDE_SONNET)),
        ("claude-3-5-sonnet:beta", ("anthropic", CLAUDE_SONNET)),
        ("claude-3-haiku", ("anthropic", CLAUDE_HAIKU)),
        ("anthropic/claude-3-haiku", ("anthropic", CLAUDE_HAIKU)),
        ("scripted/inline", ("scripted", "inline")),
        ("scripted/analyst", ("scripted", "analyst")),
        ("scripted/mine", ("scripted", "mine")),
    ],
)
def test_a_name_says_which_model_of_which_provider(name: str, expected: tuple[str, str]) -> None:
    assert resolve_model(name, policies=["mine"]) == expected
    assert resolve_model(str(resolve_model(name, policies=["mine"])), policies=["mine"]) == expected


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("", "claude-sonnet-5-5"),
        ("claude-sonet-5", "claude-3-5-sonnet:beta"),
        ("anthropic/", "claude-haiku-5-5"),
        ("anthropic/gpt-9", "claude-haiku-5-5"),
        ("anthropic/claude-x y", "claude-haiku-5-5"),
        ("openai/gpt-9", "'anthropic' and 'scripted'"),
        ("/claude-sonnet-5-5", "'anthropic' and 'scripted'"),
        ("scripted/theirs", "inline, analyst, mine"),
        ("scripted/", "inline, analyst, mine"),
    ],
)
def test_a_refused_name_is_answered_with_what_is_known(name: str, known: str) -> None:
    with pytest.raises(ValueError, match="known are") as caught:
        resolve_model(name, policies=["mine"])
    assert known in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_either_a_model_or_refused(name: str) -> None:
    try:
        found = resolve_model(name)
    except ValueError:
        return
    assert found.provider in {"anthropic", "scripted"}
    assert resolve_model(str(found)) == found


def test_every_claude_id_of_the_table_is_known_to_the_installed_client() -> None:
    known = {name for part in get_args(ClaudeId) for name in get_args(part)}
    assert set(ANTHROPIC.models) <= known


def test_summaries_go_to_the_small_model_of_the_same_provider() -> None:
    assert auxiliary_model(ModelName("anthropic", CLAUDE_SONNET)) == ("anthropic", CLAUDE_HAIKU)
    assert auxiliary_model(ModelName("scripted", "inline")) == ("scripted", "inline")


def test_policies_are_read_from_one_line() -> None:
    assert parse_policies(" a=pkg.mod:fn , b-2=m:f,") == {"a": "pkg.mod:fn", "b-2": "m:f"}
    assert parse_policies("") == {}


@pytest.mark.parametrize("text", ["a", "a=b", "=m:f", "a b=m:f", "a=m:f,a=m:g", "inline=m:f"])
def test_a_policy_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="scripted policy"):
        parse_policies(text)


@pytest.mark.usefixtures("processes")
def test_the_providers_package_is_not_imported_before_a_run_asks_for_it() -> None:
    program = (
        "import sys, workers.models, workers.models.analyst.policy, orchestrator.llm.model_names;"
        "sys.exit('anthropic' in sys.modules)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, timeout=50, check=False)
    assert done.returncode == 0


async def test_each_model_is_opened_once_and_the_default_name_of_the_settings_opens() -> None:
    settings = settings_with()
    models = open_models(settings)
    name = resolve_model(settings.model)
    assert name == ("scripted", "analyst")
    assert await models.get(name) is await models.get(name)
    assert isinstance(await models.get(name), ScriptedModel)
    await models.aclose()


async def test_claude_opens_with_a_key_and_without_one_says_what_to_do() -> None:
    name = ModelName("anthropic", CLAUDE_SONNET)
    models = open_models(settings_with(anthropic_api_key="key", anthropic_base_url="http://[::1]"))
    sonnet, haiku = await models.get(name), await models.get(auxiliary_model(name))
    assert sonnet is not haiku
    await models.aclose()
    for key in (None, " "):
        with pytest.raises(ModelError, match="set ANTHROPIC_API_KEY") as caught:
            await open_models(settings_with(anthropic_api_key=key)).get(name)
        assert caught.value.action is ErrorAction.FAIL


async def test_an_unknown_provider_or_policy_fails() -> None:
    models = open_models(settings_with(scripted_policies="lost=no.such.module:policy"))
    for name, said in (
        (ModelName("openai", "x"), "openai"),
        (ModelName("scripted", "nobody"), "known are inline, analyst, lost"),
        (ModelName("scripted", "lost"), "cannot be loaded from no.such.module:policy"),
    ):
        with pytest.raises(ModelError, match=said) as caught:
            await models.get(name)
        assert caught.value.action is ErrorAction.FAIL


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_a_provider_of_the_registry_is_complete(provider: Provider) -> None:
    """What the rest of the product relies on: a further provider is one entry, one setting and one module."""
    assert [each.name for each in PROVIDERS].count(provider.name) == 1
    assert provider.key_setting is None or provider.key_setting in Settings.model_fields
    assert provider.small_model is None or provider.small_model in provider.models
    assert provider.models
    assert provider.id_rule
    assert all(provider.price_of(model) is not None for model in provider.models)
    assert all(model in provider.models for model in provider.older_names.values())
    module, _, function = provider.open.partition(":")
    pool = getattr(importlib.import_module(module), function)(settings_with(anthropic_api_key="k"))
    assert callable(pool.model(provider.models[0]).generate)
