"""A state folder of version 0.1.0 opens, and every run in it goes on: with its result, in order, nothing twice."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, cast

import httpx2
import pytest

from perdure import AuthenticationError, Budget, Perdure, Run, RunCancelledError, RunConfigReference
from tests.compatibility.upgrade import functions
from tests.compatibility.upgrade.conftest import OldState
from tests.compatibility.upgrade.scripts import CONFIG, calls, says, script
from tests.stack.driver import eventually

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("processes")]

SECONDS = 90.0
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*")
FINISHED_BY_THEMSELVES: dict[str, tuple[object, list[tuple[str, object]]]] = {
    "parked": ({"pieces": 1}, [("pack", {"packed": "long ago"})]),
    "waiting": ("sent", [("pack", {"packed": "a"})]),
    "queued": ("six", [("pack", {"packed": "a"}), ("count", 5)]),
    "of-ada": ("known", [("whoami", "ada")]),
    "at-work": ("four", [("count_slowly", 4)]),
    "answered": ("five", [("count_slowly", 5)]),
    "refused": ("at last", []),
    "thinking": ("three and four", [("count", 3), ("count", 4)]),
}
"""Results, and the calls with theirs."""


def outcome(run: Run[Any]) -> tuple[object, list[tuple[str, object]]]:
    """The result of the turn, and the results of the run's calls."""
    result = run.poll(SECONDS).result
    return result, [(call.function, call.result) for call in run.calls()]


def statuses(run: Run[Any]) -> list[str]:
    return [e.data["status"] for e in run.events() if e.type == "run.status"]


def executions(function: str, **given: object) -> list[functions.Made]:
    return [one for one in functions.made if (one.function, one.input) == (function, given)]


def delivered(run_id: str) -> list[tuple[int, str]]:
    """What the handlers were called with since the upgrade."""
    return [(c.transition, c.status.value) for c in functions.changes if c.run_id == run_id]


@pytest.mark.parametrize("run_id", FINISHED_BY_THEMSELVES)
def test_a_run_that_waited_or_worked_goes_on_by_itself(old: OldState, run_id: str) -> None:
    run = old.run(run_id)
    assert outcome(run) == FINISHED_BY_THEMSELVES[run_id]
    assert statuses(run) == ["running", "done"]


def test_a_call_that_waited_is_made_once_with_its_context(old: OldState) -> None:
    old.run("parked").poll(SECONDS)
    (made,) = executions("pack", order="long ago")
    assert made.context == {"user": "bo"}
    old.run("of-ada").poll(SECONDS)
    (made,) = executions("whoami")
    assert made.auth == {"user": "ada"}


def test_a_call_at_work_when_its_worker_died_is_made_again(old: OldState) -> None:
    old.run("at-work").poll(SECONDS)
    assert [one.attempt for one in executions("count_slowly", item="gear")] == [2]


def test_a_result_that_no_workflow_had_seen_counts(old: OldState) -> None:
    old.run("answered").poll(SECONDS)
    attempts = [one.attempt for one in executions("count_slowly", item="wheel")]
    assert attempts == ([] if old.killed else [2])


def test_a_model_that_was_unavailable_is_asked_again_with_the_next_number(old: OldState) -> None:
    run = old.run("refused")
    run.poll(SECONDS)
    assert [e.data["attempt"] for e in run.events() if e.type == "step.attempted"] == [2, 3]


def test_recorded_model_replies_are_not_asked_for_again(old: OldState) -> None:
    run = old.run("thinking")
    run.poll(SECONDS)
    assert [e.data["step"] for e in run.events() if e.type == "step.recorded"] == [1, 2, 3]
    assert not executions("count", item="cog")


def test_requests_that_no_worker_had_read_are_carried_out(old: OldState) -> None:
    if not old.killed:
        assert outcome(old.run("cancelled")) == ("sent", [("pack", {"packed": "a"})])
        return
    with pytest.raises(RunCancelledError, match="not needed"):
        old.run("cancelled").poll(SECONDS)
    assert outcome(old.run("accepted")) == ("three", [("count", 3)])
    assert outcome(old.run("conversation")) == ("a second turn", [("count", 3)])
    assert outcome(old.run("approved")) == ("settled", [("wire", "5 wired")])
    assert outcome(old.run("resumed")) == ("seven", [("count", 4), ("count", 3)])


def test_a_finished_conversation_goes_on(old: OldState) -> None:
    run = old.run("conversation")
    if not old.killed:
        run.send(script(says("a second turn")))
    assert run.poll(SECONDS).result == "a second turn"
    run.send(script(calls("stock_count", item="cog"), says("a third")))
    assert run.poll(SECONDS).result == "a third"
    assert (run.snapshot.turn, len(run.calls())) == (3, 2)


def test_a_message_of_a_finished_run_is_edited(old: OldState) -> None:
    run = old.run("edited")
    first = run.messages()[0]
    run.edit_message(first, script(says("other words")))
    assert run.poll(SECONDS).result == "other words"
    assert len(run.messages()) == 2
    assert {one.replaced_by for one in run.messages(with_replaced=True)} == {None, first.id}


def test_a_finished_run_begins_again(old: OldState) -> None:
    run = old.run("retried")
    run.retry()
    assert run.poll(SECONDS).result == "three"
    assert [call.status.value for call in run.calls()].count("success") == 2


def test_approvals_that_waited_are_decided(old: OldState) -> None:
    pending = {one.run_id: one for one in old.client.approvals()}
    assert {"denied", "asking", "mixed"} <= pending.keys()
    if not old.killed:
        old.client.approve(pending["approved"])
    old.client.deny(pending["denied"], "not ours")
    old.client.approve(pending["asking"], {"amount": 120})
    old.client.approve(pending["mixed"])
    assert old.run("approved").poll(SECONDS).result == "settled"
    assert len(executions("wire", amount=5)) == 1
    assert outcome(old.run("asking")) == ("settled", [("refund", "120 refunded")])
    assert old.run("denied").poll(SECONDS).result == "settled"
    expected = [("count", 4), ("pack", {"packed": "b"}), ("wire", "7 wired")]
    assert outcome(old.run("mixed")) == ("all three", expected)
    assert not executions("count", item="nail")


def test_runs_paused_for_money_go_on_when_resumed(old: OldState) -> None:
    more = Budget(steps=10)
    if not old.killed:
        old.run("resumed").resume(more)
    old.run("over-budget").resume(more)
    old.run("unpaid").resume()
    for run_id in ("resumed", "over-budget"):
        assert outcome(old.run(run_id)) == ("seven", [("count", 4), ("count", 3)])
    assert outcome(old.run("unpaid")) == ("paid", [])


def test_status_changes_that_waited_reach_their_handler_in_order(old: OldState) -> None:
    eventually(lambda: len(delivered("announced")) == 2)
    assert delivered("announced") == [(1, "running"), (2, "done")]


@pytest.mark.parametrize("run_id", ["waiting", "thinking", "parked"])
def test_status_changes_that_were_delivered_are_not_delivered_again(
    old: OldState, run_id: str
) -> None:
    old.run(run_id).poll(SECONDS)
    eventually(lambda: delivered(run_id))
    assert delivered(run_id) == [(2, "done")]


def test_status_changes_that_waited_reach_their_webhook_in_order_and_signed(old: OldState) -> None:
    """The secret was made by the old version."""
    eventually(
        lambda: {one.status.value for one in old.run("posted").deliveries()} == {"delivered"},
        patience=SECONDS,
    )
    secret = old.facts["webhookSecret"]
    changes = [received.verified(secret) for received in old.receiver.received]
    assert [(c["runId"], c["transition"], c["status"]) for c in changes] == [
        ("posted", 1, "running"),
        ("posted", 2, "done"),
    ]


def test_a_direct_call_that_waited_is_made(old: OldState) -> None:
    again = old.client.call(
        "away.pack", {"order": "direct"}, idempotency_key="direct", context={"n": 1}
    )
    assert again.id == old.facts["direct"]
    assert again.poll(SECONDS).result == {"packed": "direct"}
    (made,) = executions("pack", order="direct")
    assert made.context == {"n": 1}


def test_a_cached_result_is_used_again(old: OldState) -> None:
    again = old.client.call("stock.price", {"item": "lamp"})
    assert again.poll(SECONDS).result == 2.0
    assert again.snapshot.cached_from == old.facts["price"]
    assert not executions("price", item="lamp")


def test_the_same_id_is_the_same_run(old: OldState) -> None:
    again = old.client.create_run(
        script(says("ready")),
        id="announced",
        model="scripted/inline",
        on_status_change=functions.notice,
    )
    assert again.snapshot.created_at == old.run("announced").snapshot.created_at


def test_what_was_finished_reads_as_before(old: OldState) -> None:
    headers = {"Authorization": f"Bearer {old.api_key}"}
    base = f"{old.url}/clusters/{old.cluster_id}/"
    with httpx2.Client(base_url=base, headers=headers) as http:
        for path, before in old.facts["reads"].items():
            now = http.get(path).raise_for_status().json()
            assert timeless(now) == timeless(before), path


def timeless(value: Any) -> Any:
    """Without times: the old ones were moved."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {name: timeless(each) for name, each in fields.items()}
    if isinstance(value, list):
        return [timeless(each) for each in cast("list[Any]", value)]
    return "a time" if isinstance(value, str) and TIME.fullmatch(value) else value


def greeting(client: Perdure, config: str | RunConfigReference) -> object:
    run = client.create_run(config=config, input={"name": "Ada"}, model="scripted/inline")
    return run.poll(SECONDS).result


def assert_refused(client: Perdure) -> None:
    with pytest.raises(AuthenticationError):
        client.identity()


def test_keys_configurations_and_notes_are_in_force(old: OldState) -> None:
    with Perdure(old.url, old.facts["clerk"], old.cluster_id) as clerk:
        assert clerk.identity().scopes == ["client"]
        assert greeting(clerk, CONFIG) == "Good day Ada."
        assert greeting(clerk, RunConfigReference(id=CONFIG, version=1)) == "Hello Ada."
    with Perdure(old.url, old.facts["former"], old.cluster_id) as revoked:
        assert_refused(revoked)
    assert old.client.clusters.get().additional_context == "Prices are in euros."
    note = old.client.function_notes.get("stock.count")
    assert note.additional_context == "Counts are of last night."


def test_nothing_is_doubled_and_no_number_is_left_out(old: OldState) -> None:
    """Holds at any moment, and for all runs; those that the other tests finished included."""
    for run in old.client.list_runs():
        history = run.timeline(limit=500).activity
        assert [one.version for one in history] == list(range(1, len(history) + 1))
        ended = Counter(one.data["callId"] for one in history if one.type == "call.finished")
        steps = Counter(one.data["step"] for one in history if one.type == "step.recorded")
        assert {*ended.values(), *steps.values()} <= {1}, run.id
    attempts = Counter((one.call_id, one.attempt, str(one.input)) for one in functions.made)
    assert {*attempts.values()} == {1}
