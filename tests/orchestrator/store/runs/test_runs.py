"""Runs: made once, seen by their own cluster alone, listed without a gap, ended once."""

from __future__ import annotations

import asyncio

import pytest
from typing_extensions import override

from orchestrator.errors import ConflictError, InvalidRequestError, NotFoundError
from orchestrator.rules.lifecycle import Trigger
from orchestrator.store import tables
from orchestrator.store.conversation.step_input import TranscriptCursor
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.store.records import RunRecord
from orchestrator.store.runs.filters import RunFilter
from orchestrator.store.runs.repository import RunStore
from orchestrator.workflows.interface import RunRef
from orchestrator.workflows.wakeups import Wakeup, WakeupKind
from perdure.contract import MessageType, RunStatus
from tests.support.stage import HANDLER, Stage, new_run, text_of


async def test_a_new_run_is_pending_with_its_message_event_and_request(stage: Stage) -> None:
    ref = await stage.run(metadata={"team": "sales"}, context={"user": 7}, message_id="first")
    run = await stage.get_run(ref)
    assert (run.status, run.turn, run.version, run.transition) == ("pending", 1, 1, 0)
    assert (run.wake_wanted, run.wake_read) == (1, 0)
    assert object_from_json(run.metadata) == {"team": "sales"}
    assert await stage.messages(ref) == [("human", {"message": "go"})]
    assert await stage.events(ref) == [
        {"name": "a run", "model": "scripted/inline", "messageId": "first"}
    ]


# -- made once -------------------------------------------------------------------------------------


@pytest.mark.parametrize("same", [{"run_id": "chosen"}, {"idempotency_key": "k"}])
async def test_the_same_request_again_is_the_same_run(stage: Stage, same: dict[str, str]) -> None:
    first, is_new = await stage.store.runs.create(new_run(stage.cluster_id, **same))
    again, is_new_again = await stage.store.runs.create(new_run(stage.cluster_id, **same))
    assert (is_new, is_new_again) == (True, False)
    assert again == first
    assert len(await stage.messages(RunRef(stage.cluster_id, first.id))) == 1


@pytest.mark.parametrize("same", [{"run_id": "chosen"}, {"idempotency_key": "k"}])
async def test_another_request_under_the_same_name_is_refused(
    stage: Stage, same: dict[str, str]
) -> None:
    await stage.store.runs.create(new_run(stage.cluster_id, **same))
    with pytest.raises(InvalidRequestError) as caught:
        await stage.store.runs.create(new_run(stage.cluster_id, **same, request_hash="other"))
    assert caught.value.code == "idempotency_mismatch"


async def test_the_id_of_one_run_with_the_key_of_another_is_refused(stage: Stage) -> None:
    await stage.run(run_id="first", request_hash="1")
    await stage.run(run_id="second", request_hash="2", idempotency_key="k")
    for request_hash in ("1", "2"):
        mixed = new_run(stage.cluster_id, "first", idempotency_key="k", request_hash=request_hash)
        with pytest.raises(InvalidRequestError) as caught:
            await stage.store.runs.create(mixed)
        assert caught.value.code == "idempotency_mismatch"


class _Overtaken(RunStore):
    """Each time it is asked whose a name is, that run has just been deleted."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.store.database)
        self._stage = stage

    @override
    async def existing(
        self, cluster_id: str, run_id: str | None, idempotency_key: str | None, request_hash: str
    ) -> RunRecord | None:
        await self._stage.store.deletion.delete(RunRef(cluster_id, "first"))
        return await super().existing(cluster_id, run_id, idempotency_key, request_hash)


async def test_a_name_whose_run_was_deleted_a_moment_ago_is_free(stage: Stage) -> None:
    await stage.run(run_id="first", idempotency_key="k")
    second = new_run(stage.cluster_id, "second", idempotency_key="k")
    run, is_new = await _Overtaken(stage).create(second)
    assert (run.id, is_new) == ("second", True)


async def test_of_many_who_ask_at_once_one_makes_the_run(stage: Stage, elsewhere: Stage) -> None:
    wanted = [new_run(stage.cluster_id, idempotency_key="k") for _ in range(8)]
    made = await asyncio.gather(
        *(
            place.store.runs.create(new)
            for new, place in zip(wanted, [stage, elsewhere] * 4, strict=True)
        )
    )
    assert sum(is_new for _, is_new in made) == 1
    assert len({record.id for record, _ in made}) == 1


async def test_a_run_of_an_unknown_cluster_is_an_error_and_not_a_repeat(stage: Stage) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        await stage.store.runs.create(new_run("no-such-cluster"))


# -- seen by its own cluster alone -----------------------------------------------------------------


async def test_another_clusters_run_looks_like_an_unknown_one(stage: Stage) -> None:
    ref = await stage.run(run_id="theirs")
    ours = await stage.store.keys.ensure_cluster("ours")
    runs, messages = stage.store.runs, stage.store.messages
    for foreign in (RunRef(ours, ref.run_id), RunRef(ours, "nowhere")):
        for attempt in (
            runs.get(foreign),
            runs.events(foreign, after=0, limit=10),
            runs.cancel(foreign, "mine now"),
            runs.resume(foreign),
            runs.request_wakeup(foreign),
            runs.end_turn(foreign, Trigger.CANCEL, ""),
            messages.add(foreign, "message", MessageType.HUMAN, "hi"),
            messages.page(foreign, after=0, limit=10),
            stage.store.steps.begin(foreign, 0, lost=[], attempt=1, cursor=TranscriptCursor()),
            stage.store.calls.read_pending_requests(foreign),
        ):
            with pytest.raises(NotFoundError, match=f"no run '{foreign.run_id}'"):
                await attempt
    assert await runs.page(ours, RunFilter()) == []
    assert (await stage.get_run(ref)).version == 1


async def test_the_same_id_in_another_cluster_is_another_run(stage: Stage) -> None:
    ours = await stage.store.keys.ensure_cluster("ours")
    first = await stage.run(run_id="chosen", idempotency_key="k")
    second, is_new = await stage.store.runs.create(
        new_run(ours, "chosen", idempotency_key="k", request_hash="other")
    )
    assert is_new
    assert second.key != (await stage.get_run(first)).key


# -- numbered --------------------------------------------------------------------------------------


async def test_versions_have_no_gap_whoever_writes_at_the_same_time(
    stage: Stage, elsewhere: Stage
) -> None:
    ref = await stage.run()
    await asyncio.gather(*(place.send(ref, "more") for place in [stage, elsewhere] * 10))
    events = await stage.store.runs.events(ref, after=0, limit=100)
    assert [event.version for event in events] == list(range(1, 22))
    run = await stage.get_run(ref)
    assert (run.version, run.wake_wanted) == (21, 21)


async def test_events_are_read_from_where_one_left_off(stage: Stage) -> None:
    ref = await stage.finished()
    every = await stage.store.runs.events(ref, after=0, limit=100)
    some = await stage.store.runs.events(ref, after=0, limit=2)
    rest = await stage.store.runs.events(ref, after=some[-1].version, limit=100)
    assert [*some, *rest] == every
    assert await stage.store.runs.events(ref, after=every[-1].version, limit=5) == []


async def test_transitions_are_numbered_over_all_turns(stage: Stage) -> None:
    ref = await stage.finished()
    await stage.send(ref, "and?")
    await stage.think(ref, text_of("more"))
    moves = await stage.events(ref, "run.status")
    assert [(m["transition"], m["turn"], m["previous"], m["status"]) for m in moves] == [
        (1, 1, "pending", "running"),
        (2, 1, "running", "done"),
        (3, 2, "done", "pending"),
        (4, 2, "pending", "running"),
        (5, 2, "running", "done"),
    ]
    assert (await stage.get_run(ref)).transition == 5


# -- listed ----------------------------------------------------------------------------------------


async def _pages(stage: Stage, limit: int) -> list[list[RunRecord]]:
    pages: list[list[RunRecord]] = []
    before = None
    while True:
        page = await stage.store.runs.page(stage.cluster_id, RunFilter(before=before, limit=limit))
        if not page:
            return pages
        pages.append(page)
        before = (page[-1].created_at, page[-1].key)


async def test_pages_show_every_run_once_newest_first(stage: Stage) -> None:
    made = [(await stage.run()).run_id for _ in range(7)]
    runs = tables.runs
    await stage.alter(runs, runs.c.key > 2, created_at=5_000)  # made in the same millisecond
    await stage.alter(runs, runs.c.key <= 2, created_at=4_999)
    pages = await _pages(stage, 3)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [run.id for page in pages for run in page] == made[::-1]


async def test_a_run_made_meanwhile_moves_no_page(stage: Stage) -> None:
    made = [(await stage.run()).run_id for _ in range(4)]
    first = await stage.store.runs.page(stage.cluster_id, RunFilter(limit=2))
    await stage.run()
    before = (first[-1].created_at, first[-1].key)
    second = await stage.store.runs.page(stage.cluster_id, RunFilter(before=before, limit=2))
    assert [run.id for run in [*first, *second]] == made[::-1]


async def test_runs_are_listed_by_status(stage: Stage) -> None:
    pending, done = await stage.run(), await stage.finished()
    for status, ref in ((RunStatus.PENDING, pending), (RunStatus.DONE, done)):
        found = await stage.store.runs.page(stage.cluster_id, RunFilter(status=status))
        assert [run.id for run in found] == [ref.run_id]


@pytest.mark.parametrize(
    "value", ["O'Neill", 'say "hi"', "a:b=c,d", "naïve ☃ 😀", "100%_\\", "", " ", "NULL", "1"]
)
async def test_metadata_is_matched_character_by_character(stage: Stage, value: str) -> None:
    ref = await stage.run(metadata={"k'e\"y:": value, "other": "x"})
    await stage.run(metadata={"k'e\"y:": value + "x", "other": "x"})
    await stage.run(metadata={"other": value})
    found = await stage.store.runs.page(
        stage.cluster_id, RunFilter(metadata=(("k'e\"y:", value), ("other", "x")))
    )
    assert [run.id for run in found] == [ref.run_id]


async def test_all_metadata_pairs_must_match(stage: Stage) -> None:
    ref = await stage.run(metadata={"team": "sales", "region": "north"})
    await stage.run(metadata={"team": "sales"})
    both = RunFilter(metadata=(("team", "sales"), ("region", "north")))
    assert [run.id for run in await stage.store.runs.page(stage.cluster_id, both)] == [ref.run_id]
    crossed = RunFilter(metadata=(("team", "north"),))
    assert await stage.store.runs.page(stage.cluster_id, crossed) == []


# -- ended -----------------------------------------------------------------------------------------


async def test_a_run_that_never_started_is_cancelled_at_once(stage: Stage) -> None:
    ref = await stage.run()
    run = await stage.store.runs.cancel(ref, "not needed")
    assert (run.status, run.failure_reason, run.transition) == ("cancelled", "not needed", 1)
    assert run.finished_at is not None
    assert await stage.event_types(ref) == ["run.created", "run.status"]


async def test_a_cancel_of_a_running_run_is_a_request(stage: Stage) -> None:
    ref = await stage.run()
    await stage.begin_step(ref)
    run = await stage.store.runs.cancel(ref, "enough")
    assert (run.status, run.cancel_reason) == ("running", "enough")
    assert run.wake_wanted > run.wake_read
    await stage.store.runs.end_turn(ref, Trigger.CANCEL, "")
    run = await stage.get_run(ref)
    assert (run.status, run.failure_reason) == ("cancelled", "enough")
    assert run.wake_wanted == run.wake_read


async def test_a_second_cancel_is_no_error_and_changes_nothing(stage: Stage) -> None:
    ref = await stage.run()
    await stage.begin_step(ref)
    first = await stage.store.runs.cancel(ref, "first")
    second = await stage.store.runs.cancel(ref, "second")
    assert (second.cancel_reason, second.version) == ("first", first.version)
    await stage.store.runs.end_turn(ref, Trigger.CANCEL, "")
    third = await stage.store.runs.cancel(ref, "third")
    assert (third.status, third.failure_reason) == ("cancelled", "first")


async def test_a_paused_run_is_cancelled_at_once(stage: Stage) -> None:
    ref = await stage.run()
    await stage.begin_step(ref)
    await stage.store.steps.abort_turn(ref, 1, Trigger.PAUSE, "no money", attempt=1)
    assert (await stage.store.runs.cancel(ref, "enough")).status == "cancelled"


async def test_a_cancel_after_the_end_comes_too_late(stage: Stage) -> None:
    ref = await stage.finished()
    with pytest.raises(ConflictError) as caught:
        await stage.store.runs.cancel(ref, "enough")
    assert caught.value.code == "run_is_final"
    assert (await stage.get_run(ref)).cancel_reason is None


async def test_only_a_paused_run_can_be_resumed(stage: Stage) -> None:
    ref = await stage.run()
    with pytest.raises(ConflictError) as caught:
        await stage.store.runs.resume(ref)
    assert caught.value.code == "run_is_not_paused"
    await stage.begin_step(ref)
    await stage.store.steps.abort_turn(ref, 1, Trigger.PAUSE, "no money", attempt=1)
    assert (await stage.get_run(ref)).paused_reason == "no money"
    run = await stage.store.runs.resume(ref)
    assert (run.status, run.paused_reason) == ("running", None)
    assert run.wake_wanted > run.wake_read


async def test_a_turn_that_ended_by_itself_is_not_ended_again(stage: Stage) -> None:
    ref = await stage.finished(on_status_change=HANDLER)
    await stage.store.runs.end_turn(ref, Trigger.FAIL, "too late")
    run = await stage.get_run(ref)
    assert (run.status, run.failure_reason) == ("done", None)


async def test_ending_a_turn_wakes_the_delivery_where_there_is_a_handler(stage: Stage) -> None:
    with_handler, without = await stage.run(on_status_change=HANDLER), await stage.run()
    woken: list[Wakeup] = []
    stage.store.database.on_wakeups = woken.extend
    await stage.store.runs.end_turn(with_handler, Trigger.FAIL, "why")
    await stage.store.runs.end_turn(without, Trigger.FAIL, "why")
    assert woken == [Wakeup(WakeupKind.DELIVERY, with_handler)]
    assert (await stage.get_run(without)).failure_reason == "why"


async def test_a_run_that_was_to_be_cancelled_does_not_fail_instead(stage: Stage) -> None:
    ref = await stage.run()
    await stage.begin_step(ref)
    await stage.store.runs.cancel(ref, "enough")
    await stage.store.runs.end_turn(ref, Trigger.FAIL, "the model could not be reached")
    run = await stage.get_run(ref)
    assert (run.status, run.failure_reason) == ("cancelled", "enough")


async def test_of_a_cancel_and_a_reply_that_race_one_wins(stage: Stage, elsewhere: Stage) -> None:
    for _ in range(6):
        ref = await stage.run()
        question = await stage.begin_step(ref)
        _, cancel = await asyncio.gather(
            stage.record(question, text_of("the answer")),
            elsewhere.store.runs.cancel(ref, "enough"),
            return_exceptions=True,
        )
        run = await stage.get_run(ref)
        if isinstance(cancel, ConflictError):
            assert (run.status, run.result) == ("done", '"the answer"')
        else:
            assert (run.status, run.failure_reason) == ("cancelled", "enough")
        assert len(await stage.events(ref, "run.status")) == 2


async def test_what_databases_refuse_in_reasons_is_written_as_escapes(stage: Stage) -> None:
    ref = await stage.run()
    run = await stage.store.runs.cancel(ref, "NUL \0 and \ud800")
    assert run.failure_reason == "NUL \\u0000 and \\ud800"
    assert (await stage.events(ref, "run.status"))[0]["reason"] == "NUL \\u0000 and \\ud800"
