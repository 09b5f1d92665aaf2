"""What must hold after whatever happened: the one checker of all scenarios.

Each rule looks at the evidence and yields a `Violation` for each thing that is not as it must be. Nothing here knows what
was killed, but for the function workers: what a dead one had begun may rightly begin again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from orchestrator.rules.lifecycle import TRANSITIONS, Trigger, is_final
from orchestrator.store.calls.rows import HEARTBEAT_TIMEOUT
from perdure.contract import MessageType, RunStatus
from tests.faults.checker.evidence import Evidence, Row
from tests.faults.checker.request_rules import requests

AFTER_THE_END = frozenset(
    {
        "call.late",
        "call.superseded",
        "delivery.dead",
        "delivery.resent",
        "message.added",
        "message.edited",
        "run.budget_changed",
        "run.feedback",
        "run.named",
        "run.retried",
        "step.dropped",
    }
)
"""Evidence and requests that may be noted on a run whose turn has ended; they are no work on it."""
_MOVES = {(before.value, after.value) for (before, _), after in TRANSITIONS.items()}
_REVIVALS = {
    (before.value, after.value)
    for (before, move), after in TRANSITIONS.items()
    if move is Trigger.REVIVE
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as it must be."""

    rule: str
    run: str
    text: str


Finds = Iterator[tuple[str, str]]
"""Pairs of a run and what is wrong with it."""


def check(evidence: Evidence) -> list[Violation]:
    """Every rule over all the evidence."""
    return [
        Violation(name, run, words) for name, rule in RULES.items() for run, words in rule(evidence)
    ]


def nothing_lost(evidence: Evidence) -> Finds:
    """Every acknowledged run exists once, in its cluster, and has ended or says what it waits for."""
    found = Counter(row["run"] for row in evidence.runs)
    for run, cluster in evidence.acknowledged.items():
        if found[run] != 1:
            yield run, f"was acknowledged and is there {found[run]} times"
            continue
        (row,) = evidence.of(evidence.runs, run)
        if row["cluster_id"] != cluster:
            yield run, f"is in cluster {row['cluster_id']}, not in its own"
        if not _rests(row):
            yield run, f"is {row['status']} and does not say what it waits for"


def _rests(row: Row) -> bool:
    status = RunStatus(row["status"])
    if status is RunStatus.PAUSED:
        return row["paused_reason"] is not None
    return is_final(status) or (status is RunStatus.RUNNING and row["waiting_for"] is not None)


def steps(evidence: Evidence) -> Finds:
    """Steps are gapless from 1, with one recorded reply each."""
    replies = Counter(
        (row["run"], row["step"]) for row in evidence.events if row["type"] == "step.recorded"
    )
    for row in evidence.runs:
        numbers = [step["step"] for step in evidence.of(evidence.steps, row["run"])]
        if numbers != list(range(1, row["step"] + 1)):
            yield row["run"], f"stands at step {row['step']} and has the steps {numbers}"
        for number in numbers:
            if replies[row["run"], number] != 1:
                yield row["run"], f"step {number} was recorded {replies[row['run'], number]} times"


def paid(evidence: Evidence) -> Finds:
    """A recorded reply is never paid again, and nothing is recorded that the model was not asked for."""
    asked: dict[tuple[str, int], list[int]] = defaultdict(list)
    for line in evidence.asked:
        asked[line["run"], line["step"]].append(line["at"])
    known = {line["run"] for line in evidence.asked}
    rewound = {row["run"] for row in evidence.runs if row["rewinds"]}
    for run in rewound & known:
        yield from _paid_over_again(evidence, run)
    for step in evidence.steps:
        if step["run"] not in known - rewound:
            continue  # another model answered, which keeps no ledger
        times = asked[step["run"], step["step"]]
        if not times:
            yield step["run"], f"step {step['step']} was recorded and never asked for"
        late = [at for at in times if at > step["created_at"] + 1]
        if late:
            yield step["run"], f"step {step['step']} was asked for again after it was recorded"


def _paid_over_again(evidence: Evidence, run: str) -> Finds:
    """Of a conversation that went back the ledger counts replies from there: each step was asked for in its own time."""
    times = sorted(line["at"] for line in evidence.of(evidence.asked, run))
    before = 0
    for step in evidence.of(evidence.steps, run):
        if not any(before <= at <= step["created_at"] + 1 for at in times):
            yield run, f"step {step['step']} was recorded and not asked for since the one before"
        before = step["created_at"] - 1


def results(evidence: Evidence) -> Finds:
    """One result per call, shown to the model once."""
    finished = Counter(row["callId"] for row in evidence.events if row["type"] == "call.finished")
    taken_back = Counter(
        row["callId"] for row in evidence.events if row["type"] == "call.superseded"
    )
    shown = Counter(
        row["id"] for row in evidence.messages if row["type"] == MessageType.INVOCATION_RESULT.value
    )
    kept_results = Counter(row["call_key"] for row in evidence.results)
    for call in _function_calls(evidence):
        expected = int(call["result_type"] is not None)
        if kept_results[call["key"]] != expected:
            yield call["run"], f"call {call['id']} has {kept_results[call['key']]} results"
        if not expected or _is_late(evidence, call):
            continue
        if not 1 <= finished[call["id"]] <= 1 + taken_back[call["id"]]:
            yield call["run"], f"call {call['id']} finished {finished[call['id']]} times"
        times = shown[f"{call['id']}:result"]
        if call["shown"] and times != 1 and not (_is_replaced(evidence, call) and times == 0):
            yield call["run"], f"the result of {call['id']} was not shown exactly once"


def _is_replaced(evidence: Evidence, call: Row) -> bool:
    """Whether the conversation went back to before the call: nobody summarizes a long result of it any more."""
    return any(
        row["replaced_by"] is not None
        and row["step"] == call["step"]
        and row["type"] == MessageType.AGENT.value
        for row in evidence.of(evidence.messages, call["run"])
    )


def _is_late(evidence: Evidence, call: Row) -> bool:
    return any(
        row["type"] == "call.late" and row["callId"] == call["id"]
        for row in evidence.of(evidence.events, call["run"])
    )


def answered(evidence: Evidence) -> Finds:
    """A run that is done has an answer to every call the model made."""
    ended = {row["run"] for row in evidence.runs if row["status"] == RunStatus.DONE.value}
    for call in _function_calls(evidence):
        if call["run"] in ended and not (call["result_type"] and call["shown"]):
            yield call["run"], f"is done, and call {call['id']} was never answered"


def executions(evidence: Evidence) -> Finds:
    """A function begins no more often than it may, is counted each time, and begins again only for a reason."""
    begun: dict[str, list[Row]] = defaultdict(list)
    for line in evidence.diary:
        if line["kind"] == "begun":
            begun[line["call"]].append(line)
    retried = {
        (row["callId"], row["attempt"]) for row in evidence.events if row["type"] == "call.retried"
    }
    for call in _function_calls(evidence):
        lines = begun.pop(call["id"], [])
        yield from _executions_of(call, lines, evidence.dead, retried)
    for call_id, lines in begun.items():
        yield lines[0]["run"], f"call {call_id} was executed and is in no store"


def _executions_of(
    call: Row, lines: list[Row], dead: set[int], retried: set[tuple[str, int]]
) -> Finds:
    count, run = len(lines), call["run"]
    if call["max_attempts"] and count > call["max_attempts"]:
        yield run, f"call {call['id']} began {count} times, {call['max_attempts']} are allowed"
    if count > call["attempts"]:
        yield run, f"call {call['id']} began {count} times, {call['attempts']} are reported"
    for line, again in pairwise(lines):
        if again["at"] - line["at"] >= HEARTBEAT_TIMEOUT * 1000:
            continue  # nobody could receive its heartbeats for so long
        if line["pid"] not in dead and (call["id"], line["attempt"]) not in retried:
            yield run, f"call {call['id']} began again although nobody died in it"
    numbers = [line["attempt"] for line in lines]
    if len(set(numbers)) != len(numbers):
        yield run, f"call {call['id']} began twice for one lease"


def numbering(evidence: Evidence) -> Finds:
    """Events are numbered without a gap, and so are transitions."""
    for row in evidence.runs:
        events = evidence.of(evidence.events, row["run"])
        versions = [event["version"] for event in events]
        if versions != list(range(1, row["version"] + 1)):
            yield row["run"], f"is at version {row['version']} and has the events {versions}"
        numbers = [event["transition"] for event in _moves_of(evidence, row)]
        if numbers != list(range(1, row["transition"] + 1)):
            yield row["run"], f"is at transition {row['transition']} and has {numbers}"


def moves(evidence: Evidence) -> Finds:
    """Each transition is one that the table knows, begins where the former ended, and the last one is where the run is."""
    for row in evidence.runs:
        made = _moves_of(evidence, row)
        if made and made[-1]["status"] != row["status"]:
            yield row["run"], f"is {row['status']}, its last transition says otherwise"
        for move in made:
            if (move["previous"], move["status"]) not in _MOVES:
                yield row["run"], f"went from {move['previous']} to {move['status']}"
        for before, after in pairwise(made):
            if before["status"] != after["previous"]:
                yield row["run"], f"was {before['status']} and left {after['previous']}"


def _moves_of(evidence: Evidence, run: Row) -> list[Row]:
    events = evidence.of(evidence.events, run["run"])
    return [event for event in events if event["type"] == "run.status"]


def deliveries(evidence: Evidence) -> Finds:
    """Every transition of a run with a handler is delivered, in order, at least once."""
    delivered: dict[str, list[int]] = defaultdict(list)
    for line in evidence.diary:
        if line["kind"] == "on_status":
            delivered[line["run"]].append(line["transition"])
    for row in evidence.runs:
        if row["on_status_change"] is None:
            continue
        wanted = list(range(1, row["transition"] + 1))
        first = list(dict.fromkeys(delivered[row["run"]]))
        if first != wanted:
            yield row["run"], f"made the transitions {wanted}, its handler heard {first}"
        planned = [one["transition"] for one in evidence.of(evidence.deliveries, row["run"])]
        if planned != wanted:
            yield row["run"], f"made the transitions {wanted} and has deliveries for {planned}"


def totals(evidence: Evidence) -> Finds:
    """The totals of a run are the sums of its steps."""
    columns = (
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "cost_micros",
    )
    for row in evidence.runs:
        own = evidence.of(evidence.steps, row["run"])
        for column in columns:
            total = sum(step[column] for step in own)
            if row[column] != total:
                yield row["run"], f"says {row[column]} {column}, its steps add up to {total}"
        if row["model_calls"] != len(own):
            yield row["run"], f"says {row['model_calls']} model calls and has {len(own)} steps"


def quiet_ends(evidence: Evidence) -> Finds:
    """Nothing is done on a run between a turn's end and the next turn."""
    for row in evidence.runs:
        ended = False
        for event in evidence.of(evidence.events, row["run"]):
            if event["type"] == "run.status":
                if ended and (event["previous"], event["status"]) not in _REVIVALS:
                    yield row["run"], f"had ended and went on to {event['status']}"
                ended = is_final(RunStatus(event["status"]))
            elif ended and event["type"] not in AFTER_THE_END:
                yield row["run"], f"had ended, then came {event['type']}"


def tenants(evidence: Evidence) -> Finds:
    """Who has the key of one cluster is shown its runs, all of them and no others."""
    homes = {row["run"]: row["cluster_id"] for row in evidence.runs}
    for cluster, shown in evidence.listed.items():
        for run in shown:
            if homes.get(run) != cluster:
                yield run, f"is shown to cluster {cluster}"
        for run, home in homes.items():
            if home == cluster and run not in shown:
                yield run, "is not shown to its own cluster"
    for call in evidence.calls:
        if call["cluster_id"] != homes[call["run"]]:
            yield call["run"], f"call {call['id']} is another cluster's"
    yield from _leased_elsewhere(evidence, homes)


def _leased_elsewhere(evidence: Evidence, homes: dict[str, str]) -> Finds:
    for line in evidence.diary:
        worker = evidence.workers.get(line["pid"])
        if worker is not None and worker != homes.get(line["run"], worker):
            yield line["run"], f"a function worker of cluster {worker} was given something of it"


def histories(evidence: Evidence) -> Finds:
    """No workflow failed or lost its thread, none is open for a run that has ended, no call counted twice."""
    ended = {row["run"] for row in evidence.runs if is_final(RunStatus(row["status"]))}
    calls = {row["id"] for row in evidence.calls}
    counted: Counter[tuple[str, str]] = Counter()
    for one in evidence.executions:
        if one.status in {"FAILED", "TERMINATED", "TIMED_OUT"}:
            yield one.run, f"a workflow of it {one.status.lower()}"
        if one.broken_tasks and not evidence.is_code_changed:
            yield one.run, f"{one.broken_tasks} workflow tasks did not fit their history"
        if one.status == "RUNNING" and one.run in ended:
            yield one.run, "has ended and its workflow is still open"
        for call, times in one.completed.items():
            counted[one.run, call] += times if call in calls else 0
    for (run, call), times in counted.items():
        if times > 1:
            yield run, f"call {call} was completed {times} times at the engine"


def _function_calls(evidence: Evidence) -> Iterable[Row]:
    return [call for call in evidence.calls if call["kind"] == "function"]


RULES: dict[str, Callable[[Evidence], Finds]] = {
    rule.__name__: rule
    for rule in (
        nothing_lost,
        steps,
        paid,
        results,
        answered,
        executions,
        numbering,
        moves,
        deliveries,
        totals,
        quiet_ends,
        tenants,
        requests,
        histories,
    )
}
