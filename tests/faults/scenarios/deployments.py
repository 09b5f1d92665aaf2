"""A deployment of Temporal workers whose workflow does not fit the histories of runs under way, and the way back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.faults.checker.evidence import gather
from tests.faults.checker.invariants import Violation
from tests.faults.checker.outcome import Outcome, judge
from tests.faults.ground.ground import Ground, laid_out
from tests.faults.ground.load import Scale, a_moment, all_delivered, begin, ended, seconds_back
from tests.support.running_stack import until

_WRONG_SECONDS = 10.0
_NOTICED_SECONDS = 5.0
_LOG_TEXT = "nondeterminism"


async def changed_workflow(folder: Path, scale: Scale) -> Outcome:
    """Workers of changed code take runs over: it is noticed, no run fails by it, and all go on with the right code."""
    async with laid_out(folder) as ground, ground.client() as client:
        await begin(ground, client, scale)
        await a_moment(ground)
        began = time.monotonic()
        await asyncio.to_thread(ground["workers"].stop)
        wrong = ground.add_changed_workers()
        await wrong.start()
        noticed = await _noticed(ground)
        await asyncio.sleep(_WRONG_SECONDS)
        await asyncio.to_thread(wrong.stop)
        wrong_for = time.monotonic() - began
        back = await seconds_back(ground, ground["workers"].start)
        await ended(ground, client)
        await all_delivered(ground)
        evidence = await gather(ground)
        evidence.is_code_changed = True
    failed = sum(one.broken_tasks for one in evidence.executions)
    note = f"wrong code for {wrong_for:.0f} s, {failed} workflow tasks failed"
    more = [] if noticed and failed else [Violation("noticed", "", "nothing was said of it")]
    return judge("changed workflow code", evidence, back=back, note=note, more=more)


async def _noticed(ground: Ground) -> bool:
    """Whether the log of the wrong workers says what is wrong."""
    said = ground["changed-workers"].output
    try:
        await until(lambda: _LOG_TEXT in said().lower(), seconds=_NOTICED_SECONDS)
    except AssertionError:
        return False
    return True
