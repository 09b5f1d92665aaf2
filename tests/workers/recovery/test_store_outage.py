"""An activity that finds the store away comes back soon, and says nothing of what it was about to write."""

from __future__ import annotations

import dataclasses

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput
from typing_extensions import override

from workers.recovery.store_outage import StoreOutageInterceptor


class _Body(ActivityInboundInterceptor):
    """An activity that meets this error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    @override
    async def execute_activity(self, input: ExecuteActivityInput) -> object:
        raise self._error


async def _raised(error: Exception, *, attempt: int = 1) -> Exception:
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, attempt=attempt)
    chain = StoreOutageInterceptor().intercept_activity(_Body(error))
    given = ExecuteActivityInput(fn=_raised, args=(), executor=None, headers={})
    with pytest.raises(type(error) if isinstance(error, IntegrityError) else ApplicationError) as e:
        await environment.run(chain.execute_activity, given)
    return e.value


@pytest.mark.parametrize(("attempt", "soon"), [(1, True), (20, True), (21, False)])
async def test_it_comes_back_in_a_second_unless_the_outage_is_a_long_one(
    attempt: int, soon: bool
) -> None:
    error = OperationalError("UPDATE runs SET x = 'secret'", {"x": "secret"}, ValueError("secret"))
    raised = await _raised(error, attempt=attempt)
    assert isinstance(raised, ApplicationError)
    assert (raised.type, raised.non_retryable) == ("StoreAway", False)
    delay = raised.next_retry_delay
    assert (None if delay is None else delay.total_seconds()) == (1.0 if soon else None)
    assert "secret" not in str(raised)
    assert raised.__cause__ is None


async def test_what_is_no_outage_is_left_as_it_is() -> None:
    error = IntegrityError("INSERT", {}, ValueError("twice"))
    assert await _raised(error) is error
