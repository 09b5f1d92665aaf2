"""What the client's users see of the server: all of it as their own server had it, or better."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import time
from typing import Any

import httpx2
import pytest

from tests.conformance.inferable.conftest import Client

pytestmark = pytest.mark.timeout(90)


@pytest.mark.parametrize("ending", ["", "/"], ids=["address", "address with a slash"])
def test_a_run_over_two_services_is_done_and_lists_its_messages(
    client: Client, ending: str
) -> None:
    found = client.result_of("two_services", ending)

    done = found["done"]
    expected = {
        "status": "done",
        "result": {"count": 3},
        "failureReason": None,
        "metadata": {"team": "sales"},
        "attachedFunctions": ["default_sayHello", "orders_count"],
        "name": "two services",
        "test": False,
        "userId": None,
        "feedbackScore": None,
    }
    assert expected.items() <= done.items()
    context = {"authContext": None, "runContext": {"foo": "bar"}, "approved": False}
    assert found["seen"] == [context]
    kinds = [message["type"] for message in found["messages"]]
    assert kinds == ["human", "agent", "invocation-result", "invocation-result", "agent"]
    results = [m["data"]["result"]["result"] for m in found["messages"] if "id" in m["data"]]
    assert sorted(results, key=str) == ["Hello John", {"orders": 3}]
    assert found["messages"][-1]["data"] == {"done": True, "result": {"count": 3}}
    assert found["again"] == "done"


def _returned(value: Any) -> dict[str, Any]:
    return {"result": value, "resultType": "resolution", "status": "success"}


def test_whatever_a_function_returns_or_throws_reaches_the_run(client: Client) -> None:
    found = client.result_of("results")

    assert (found["status"], found["result"]) == ("done", "Seen.")
    named: dict[str, dict[str, Any]] = found["named"]
    assert named["results_returnsUndefined"] == _returned(None)
    assert named["results_returnsNull"] == _returned(None)
    assert named["results_returnsZero"] == _returned(0)
    assert named["results_returnsFalse"] == _returned(False)
    assert named["results_returnsEmptyText"] == _returned("")
    assert named["results_returnsAnObject"] == _returned({"nested": [1, {"two": None}]})
    thrown: dict[str, object] = {
        "throwsAnError": "TypeError: the stock is empty",
        "throwsText": "Error: only text",
        "throwsAnObject": {},
        "retriesOnStallOnly": "Error: raised",
    }
    for name, words in thrown.items():
        assert named[f"results_{name}"]["result"] == words
        assert named[f"results_{name}"]["resultType"] == "rejection"
    assert found["tries"] == 1, "what raised is not tried again for retries on stall"


def test_a_function_asks_for_an_approval_and_is_leased_again_for_a_yes(client: Client) -> None:
    found = client.result_of("approval")

    assert found["paused"] == "still open", "a run that is paused has not ended"
    assert found["said"] == {"status": 204, "body": None}
    assert (found["status"], found["handed"]) == ("done", [False, True])
    assert found["result"] == _returned("paid")
    assert found["again"] == 409, "a second word would have the function called again"
    assert found["unknown"] == [404, "string"]
    denied = found["denied"]
    assert (denied["status"], denied["handed"]) == ("done", [False])
    assert denied["result"]["resultType"] == "rejection"
    assert denied["result"]["result"] == "This call was denied by a person."


def test_fourteen_calls_at_once_all_run_although_one_is_slow(client: Client) -> None:
    found = client.result_of("many_calls")

    assert found["status"] == "done"
    assert sorted(found["calls"]) == list(range(14)), "each once"
    assert found["most"] > 1, "it does not come back for another before all it took are done"
    assert found["ms"] < 10_000, "nor does it wait its ten seconds between two questions"


def test_a_forgotten_service_is_registered_again(client: Client) -> None:
    found = client.result_of("forgotten")

    assert (found["first"], found["second"]) == ("done", "done")
    assert (found["times"], found["gone"]) == (2, 1)


def test_a_handler_function_is_notified_of_every_transition_in_their_statuses(
    client: Client,
) -> None:
    found = client.result_of("handlers")

    for name in ("done", "failed", "cancelled"):
        changes = found[name]
        final = "done" if name == "done" else "failed"
        assert [change["status"] for change in changes] == ["running", final]
        assert all(change["parsed"] for change in changes), "it fits their own schema"
        assert all(change["metadata"] == {"team": "sales"} for change in changes)
        assert all(change["context"]["runContext"] == {"secret": 7} for change in changes)
    assert found["done"][-1]["result"] == {"n": 1}
    assert found["cancelled"][-1]["failureReason"] == "enough"
    assert (found["shown"]["status"], found["shown"]["failureReason"]) == ("failed", "enough")


def test_a_message_begins_the_next_turn_of_a_run_that_takes_one(client: Client) -> None:
    found = client.result_of("follow_up")

    assert (found["first"], found["sent"], found["second"]) == ("first", 201, "second")
    assert found["refused"]["status"] == 400
    assert found["refused"]["message"].startswith("The run is not interactive")
    assert found["listed"] == [[run_id, "done"] for run_id in found["ids"]]


def test_a_refusal_says_what_was_wrong(client: Client) -> None:
    found = client.result_of("refusals")

    stranger = found["stranger"]
    assert (stranger["message"], stranger["status"]) == ("Failed to register machine", 401)
    assert stranger["body"]["error"]["message"] == "The API key is unknown or revoked."
    unknown = found["unknown"]
    assert (unknown["message"], unknown["status"]) == ("Failed to get existing run", 404)
    for name in ("schema", "form", "prompt"):
        assert (found[name]["message"], found[name]["status"]) == ("Failed to create run", 400)
    assert found["schema"]["body"]["errors"][0]["path"] == "/resultSchema/properties/n/type"
    (issue,) = found["form"]["body"]["bodyErrors"]["issues"]
    assert (issue["path"], issue["code"]) == (["initialPrompt"], "invalid_type")
    assert found["prompt"]["body"]["message"].startswith("initialPrompt or configId is required")
    assert found["timeout"] == "undefined"


def test_a_result_that_is_posted_twice_is_answered_and_not_accepted(client: Client) -> None:
    found = client.result_of("posted_twice")

    assert (found["again"], found["body"]) == (204, "")
    assert (found["status"], found["finished"], found["superseded"]) == ("done", 1, True)


def test_a_blob_is_stored_for_people_and_not_shown_to_the_model(client: Client) -> None:
    found = client.result_of("blobs")

    assert (found["status"], found["shown"]) == ("done", {"n": 1})
    assert found["blob"] == {"name": "table", "type": "application/json", "encoding": "base64"}
    assert found["data"] == {"rows": [1, 2]}


def test_a_mock_answers_without_a_machine_and_its_run_is_in_no_list(client: Client) -> None:
    found = client.result_of("tests_and_mocks")

    assert (found["done"], found["calls"]) == (["done", True], 0)
    assert found["shown"] == {"price": 7}
    assert found["listed"] == [False, True]


def test_structured_output_is_a_value_or_the_reason_for_none(client: Client) -> None:
    found = client.result_of("structured_output")

    assert found["good"] == {"success": True, "data": {"legs": 8}}
    assert found["bad"]["success"] is False
    assert found["bad"]["error"]


def test_a_custom_token_opens_the_runs_of_its_owner(client: Client) -> None:
    found = client.result_of("custom_auth")

    assert (found["status"], found["contexts"]) == ("done", [{"userId": "user-ada"}])
    expected = {
        "made": 201,
        "own": 200,
        "earlier": 200,
        "other": 404,
        "nobody": 401,
        "services": 401,
    }
    assert found["statuses"] == expected
    assert found["judged"] == 3, "once for each token"


def test_what_later_clients_send_is_understood(client: Client) -> None:
    found = client.result_of("later_versions")

    assert found["registered"] == 200
    assert found["started"] == {"id": "later-1", "status": "pending", "result": None}
    assert (found["general"], found["asked"], found["cancelled"]) == (204, 204, 204)
    assert (found["message"], found["approved"]) == ("May I look?", True)
    assert (found["result"], found["metadata"]) == ({"ok": True}, {"team": "later"})
    kind, result = found["chosen"]
    assert kind == "rejection"
    assert "only 'approval' is supported" in result
    assert found["direct"] == "pending"


def test_an_api_that_is_killed_and_comes_back_costs_no_run(client: Client) -> None:
    with client.play("restarted") as scenario:
        scenario.read("waits")
        pid = client.world.kill("api")
        _until_back(client, pid)
        scenario.send("go on")
        scenario.read("works")
        client.world.kill("api")
        scenario.send("go on")
        found = scenario.read("end")

    assert (found["first"], found["second"]) == ("done", "done")
    assert found["ms"] < 5_000, "who waited is handed calls by the new process"
    assert (found["before"], found["after"]) == (2, 4), "what could not be answered is asked again"


def _until_back(client: Client, old: int) -> None:
    """Until another process serves at the API's address."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        recorded = json.loads((client.world.state_dir / "processes.json").read_text())
        if any(one["name"] == "api" and one["pid"] != old for one in recorded):
            with contextlib.suppress(httpx2.TransportError):
                httpx2.get(f"{client.world.url}/live")
                return
        time.sleep(0.02)
    raise AssertionError("the API did not come back")


def test_a_run_with_one_call_is_seen_done_within_a_moment(
    client: Client, record_property: Any
) -> None:
    milliseconds: list[int] = client.result_of("latency")

    median = statistics.median(milliseconds)
    record_property("median_ms", median)
    print(f"median {median} ms of {sorted(milliseconds)}, load {os.getloadavg()[0]:.1f}")  # noqa: T201
    assert median < 1_000
