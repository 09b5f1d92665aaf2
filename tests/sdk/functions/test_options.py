"""How functions are to be called, as it is said to the server; and the function that judges tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure import CachePolicy, Context, RetryPolicy, Service
from perdure.contract import FunctionConfig


def test_every_option_stands_in_the_registration() -> None:
    service = Service("sales")

    @service.function(
        name="look",
        description="Look it up.",
        timeout=5,
        retries=3,
        stall_retries=1,
        retry=RetryPolicy(initial_seconds=0.5, maximum_seconds=8),
        deadline=60,
        concurrency=2,
        total_concurrency=4,
        fan_out=6,
        cache=CachePolicy(key_path="$.id", ttl_seconds=30),
        private=True,
        requires_approval=True,
        approval_expires=timedelta(hours=1),
    )
    def look_up(key: int) -> int:
        return key

    assert look_up(7) == 7
    assert look_up.concurrency == 2
    assert (look_up.definition.name, look_up.definition.description) == ("look", "Look it up.")
    assert look_up.definition.config == FunctionConfig(
        timeout_seconds=5,
        retries=3,
        retry_count_on_stall=1,
        retry=RetryPolicy(initial_seconds=0.5, maximum_seconds=8),
        deadline_seconds=60,
        concurrency=4,
        fan_out=6,
        cache=CachePolicy(key_path="$.id", ttl_seconds=30),
        private=True,
        requires_approval=True,
        approval_expires_seconds=3600,
    )


def test_what_is_not_given_is_not_sent() -> None:
    service = Service("sales")

    @service.function
    def plain() -> None: ...

    config = plain.definition.config
    assert config is not None
    assert config.model_dump(exclude_unset=True) == {"private": False}


@pytest.mark.parametrize("options", [{"fan_out": 0}, {"total_concurrency": 0}, {"retries": 101}])
def test_a_value_over_its_limit_is_named(options: Any) -> None:
    def plain() -> None: ...

    with pytest.raises(ValueError, match="Function 'plain'"):
        Service("sales").function(**options)(plain)


def test_the_auth_function_has_the_name_that_the_server_asks_for() -> None:
    service = Service("default")

    @service.handle_custom_auth
    def who(token: str, context: Context) -> dict[str, str]:
        """Who it is."""
        return {"user": token}

    assert who.reference.function == "handleCustomAuth"
    assert who.definition.config == FunctionConfig(private=True)
    assert list(service.functions) == ["handleCustomAuth"]


def test_a_function_without_a_token_parameter_is_refused() -> None:
    def number(token: int) -> None: ...

    def two(token: str, other: str) -> None: ...

    with pytest.raises(TypeError, match="token: str"):
        Service("default").handle_custom_auth(number)
    with pytest.raises(TypeError, match="token: str"):
        Service("default").handle_custom_auth(two)


def test_another_service_cannot_judge_tokens() -> None:
    def who(token: str) -> None: ...

    with pytest.raises(ValueError, match=r"default\.handleCustomAuth"):
        Service("sales").handle_custom_auth(who)
