"""The command line against a whole stack: the real API, real workers, functions hosted by `perdure dev`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from perdure import Perdure
from tests.stack.driver import PERDURE, Dev, clean_environment

pytestmark = pytest.mark.timeout(90)

SHOP = '''
from perdure import Service

service = Service("shop")

@service.function
async def price(item: str) -> int:
    """What it costs."""
    return len(item)

@service.function(requires_approval=True)
async def pay(amount: int) -> str:
    return f"paid {amount}"
'''
BUY: list[dict[str, Any]] = [
    {"calls": [{"function": "shop_price", "input": {"item": "apple"}}]},
    {"result": {"total": 5}},
]
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def stack(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Generator[Dev]:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "shop.py").write_text(SHOP)
    dev = Dev(folder, real=True)
    dev.start_ready("--functions", "shop:service")
    yield dev
    dev.kill_all()


def perdure(folder: Path, *arguments: str, **environment: str) -> Done:
    return subprocess.run(
        [*PERDURE, *arguments],
        cwd=folder,
        env=clean_environment(PYTHONPATH="", **environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run(stack: Dev, script: object, *arguments: str) -> Done:
    prompt = script if isinstance(script, str) else json.dumps(script)
    return perdure(stack.folder, "run", prompt, "--model", "scripted/inline", *arguments)


def run_id(done: Done) -> str:
    return done.stderr.splitlines()[0].removeprefix("Run ")


def test_a_run_prints_its_result_as_json_and_nothing_else_on_stdout(stack: Dev) -> None:
    done = run(stack, BUY, "--function", "shop_price")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"total": 5}
    assert len(done.stderr.splitlines()) == 1


def test_follow_shows_every_event_in_order(stack: Dev) -> None:
    done = run(stack, BUY, "--follow")
    events = [line.split() for line in done.stderr.splitlines()[1:]]
    assert [int(event[0]) for event in events] == list(range(1, len(events) + 1))
    assert "call.finished" in {event[1] for event in events}
    assert json.loads(done.stdout) == {"total": 5}


def test_a_schema_file_is_held_against_the_result(stack: Dev) -> None:
    schema = stack.folder / "schema.json"
    schema.write_text(json.dumps({"type": "object", "required": ["total"]}))
    done = run(stack, BUY, "--schema", str(schema), "--metadata", "team=sales=eu")
    assert json.loads(done.stdout) == {"total": 5}
    kept = json.loads(perdure(stack.folder, "runs", "get", run_id(done)).stdout)
    assert kept["metadata"] == {"team": "sales=eu"}
    assert kept["resultSchema"]["required"] == ["total"]


def test_a_failed_run_exits_1_with_the_reason_in_one_line(stack: Dev) -> None:
    done = run(stack, "no script at all")
    assert (done.returncode, done.stdout) == (1, "")
    assert "failed: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_function_nobody_offers_is_refused_by_name(stack: Dev) -> None:
    done = run(stack, BUY, "--function", "shop_prize")
    assert done.returncode == 1
    assert "'shop_prize'" in done.stderr
    assert "Traceback" not in done.stderr


def test_runs_are_listed_newest_first_and_filtered(stack: Dev) -> None:
    first = run_id(run(stack, BUY, "--metadata", "list=yes"))
    second = run_id(run(stack, "no script", "--metadata", "list=yes"))
    every = perdure(stack.folder, "runs", "list", "--metadata", "list=yes").stdout.splitlines()
    assert [line.split()[:2] for line in every] == [[second, "failed"], [first, "done"]]
    done = perdure(
        stack.folder, "runs", "list", "--metadata", "list=yes", "--status", "done", "--json"
    )
    assert [each["id"] for each in json.loads(done.stdout)] == [first]


def test_a_detached_run_can_be_cancelled(stack: Dev) -> None:
    started = run(stack, [{"text": "late", "delayMs": 60_000}], "--detach")
    (made,) = started.stdout.splitlines()
    cancelled = perdure(stack.folder, "runs", "cancel", made, "--reason", "no longer wanted")
    assert cancelled.returncode == 0, cancelled.stderr
    assert json.loads(perdure(stack.folder, "runs", "get", made).stdout)["status"] == "cancelled"


def test_a_run_that_does_not_exist_is_one_line(stack: Dev) -> None:
    for command in ("get", "cancel"):
        done = perdure(stack.folder, "runs", command, "01NOSUCHRUN")
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1


def test_a_function_is_called_without_a_model(stack: Dev) -> None:
    done = perdure(stack.folder, "call", "shop.price", "--input", '{"item": "pear"}')
    assert (done.returncode, json.loads(done.stdout)) == (0, 4), done.stderr
    for wrong, said in (
        (("shop.price",), "item"),
        (("shop.prize", "--input", "{}"), "prize"),
        (("price",), "service.function"),
    ):
        done = perdure(stack.folder, "call", *wrong)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert said in line


def test_a_person_decides_on_the_command_line(stack: Dev) -> None:
    asked: list[str] = []
    for word in (("approve", "--input", '{"amount": 5}'), ("deny", "--reason", "too much")):
        script = [
            {"calls": [{"function": "shop_pay", "input": {"amount": 7}}]},
            {"text": "Settled."},
        ]
        made = run(stack, script, "--detach").stdout.strip()
        with Perdure(stack.connection["url"], stack.connection["apiKey"]) as client:
            handle = client.get_run(made)
            next(event for event in handle.events() if event.type == "call.interrupted")
            listed = perdure(stack.folder, "approvals", "list").stdout.splitlines()
            (line,) = [line for line in listed if "shop.pay" in line]
            assert '{"amount": 7}' in line
            decided = perdure(stack.folder, "approvals", word[0], line.split()[0], *word[1:])
            assert decided.returncode == 0, decided.stderr
            assert handle.poll(timeout=30).result == "Settled."
            asked += [str(call.result) for call in handle.calls()]
    assert asked[0] == "paid 5"
    assert "too much" in asked[1]


def test_a_run_has_its_limits_and_its_tags(stack: Dev) -> None:
    limits = ("--deadline", "2h", "--budget-tokens", "1", "--budget-usd", "0.5", "--priority", "1")
    steps = [{"calls": [{"function": "shop_price", "input": {"item": "a"}}]}, {"result": 1}]
    made = run(stack, steps, "--detach", "--tag", "cli", "--tag", "nightly", *limits)
    assert made.returncode == 0, made.stderr
    kept = json.loads(perdure(stack.folder, "runs", "get", made.stdout.strip()).stdout)
    assert (kept["tags"], kept["priority"], kept["budget"]["usd"]) == (["cli", "nightly"], 1, 0.5)
    assert kept["deadline"] > kept["createdAt"]
    with Perdure(stack.connection["url"], stack.connection["apiKey"]) as client:
        handle = client.get_run(made.stdout.strip())
        changes = (event.data for event in handle.events() if event.type == "run.status")
        next(change for change in changes if change["status"] == "paused")
        more = perdure(stack.folder, "runs", "resume", handle.id, "--budget-tokens", "90000")
        assert more.returncode == 0, more.stderr
        assert handle.poll(timeout=30).result == 1
    listed = perdure(stack.folder, "runs", "list", "--tag", "cli").stdout.splitlines()
    assert [line.split()[0] for line in listed] == [handle.id]
    hidden = run(stack, BUY, "--test", "--detach").stdout.strip()
    assert hidden not in perdure(stack.folder, "runs", "list").stdout
    assert hidden in perdure(stack.folder, "runs", "list", "--test").stdout


def test_a_run_of_a_configuration_needs_no_prompt(stack: Dev) -> None:
    with Perdure(stack.connection["url"], stack.connection["apiKey"]) as client:
        client.run_configs.put("greeting", "Greeting", initial_prompt='[{"text": "Hi {{name}}"}]')
    options = ("--config", "greeting", "--input", '{"name": "Ada"}', "--model", "scripted/inline")
    assert json.loads(perdure(stack.folder, "run", *options).stdout) == "Hi Ada"


def test_keys_are_made_listed_and_revoked(stack: Dev) -> None:
    made = perdure(stack.folder, "keys", "create", "reader", "--scope", "client")
    key = made.stdout.strip()
    assert perdure(stack.folder, "runs", "list", PERDURE_API_KEY=key).returncode == 0
    refused = perdure(stack.folder, "keys", "list", PERDURE_API_KEY=key)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    listed = perdure(stack.folder, "keys", "list").stdout
    (line,) = [line for line in listed.splitlines() if line.endswith("reader")]
    assert line.split()[1:3] == ["valid", "client"]
    assert key not in listed
    assert perdure(stack.folder, "keys", "revoke", line.split()[0]).returncode == 0
    assert "revoked" in perdure(stack.folder, "keys", "list").stdout


def test_usage_is_shown_by_day_and_model(stack: Dev) -> None:
    run(stack, BUY)
    lines = perdure(stack.folder, "usage", "--days", "1").stdout.splitlines()
    assert any(line.split()[1] == "scripted/inline" for line in lines)
    (used,) = [
        one
        for one in json.loads(perdure(stack.folder, "usage", "--json").stdout)
        if one["model"] == "scripted/inline"
    ]
    assert used["modelCalls"] > 0


def test_the_doctor_finds_a_running_stack_in_good_health(stack: Dev) -> None:
    done = perdure(stack.folder, "doctor")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert [line.split()[:2] for line in lines] == [
        ["ok", name] for name in ("python", "temporal", "connection", "api", "key", "model")
    ]
    assert stack.connection["clusterId"] in done.stdout
    assert stack.connection["apiKey"] not in done.stdout


def test_the_doctor_names_the_cure_for_a_wrong_key(stack: Dev) -> None:
    done = perdure(stack.folder, "doctor", PERDURE_API_KEY="sk_wrong")
    assert done.returncode == 1
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("BAD"))
    assert line.split()[1] == "key"
    assert "PERDURE_API_KEY" in line


@pytest.mark.usefixtures("processes")
def test_the_doctor_names_the_cure_where_nothing_runs(tmp_path: Path) -> None:
    done = perdure(tmp_path, "doctor")
    bad = [line for line in done.stdout.splitlines() if line.startswith("BAD")]
    assert done.returncode == 1
    assert [line.split()[1] for line in bad] == ["connection", "api", "key"]
    assert "`perdure dev`" in bad[0]


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    "arguments", [("run", "hello"), ("runs", "list"), ("worker", "nowhere:service")]
)
def test_what_is_missing_is_one_line_and_exit_1(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = perdure(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--metadata", "team"), "'team' is not KEY=VALUE"),
        (("--schema", "missing.json"), "cannot be read"),
        (("--schema", "shop.py"), "is not JSON"),
        (("--deadline", "soon"), "neither a duration"),
        (("--budget-usd", "-1"), "budget usd"),
        (("--input", "[1]"), "is no JSON object"),
    ],
)
def test_arguments_that_make_no_sense_are_usage_errors(
    stack: Dev, arguments: tuple[str, ...], said: str
) -> None:
    done = run(stack, BUY, *arguments)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())


def test_a_worker_takes_calls_until_it_is_asked_to_stop(stack: Dev, tmp_path: Path) -> None:
    (tmp_path / "bakery.py").write_text(SHOP.replace('"shop"', '"bakery"'))
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    worker = subprocess.Popen(
        [*PERDURE, "worker", "bakery:service", "--ready-file", str(ready)],
        cwd=tmp_path,
        env=clean_environment(
            PERDURE_URL=stack.connection["url"], PERDURE_API_KEY=stack.connection["apiKey"]
        ),
        stderr=subprocess.DEVNULL,
    )
    assert int(ready.read_text()) == worker.pid
    bake = [{"calls": [{"function": "bakery_price", "input": {"item": "bun"}}]}, {"result": 3}]
    assert json.loads(run(stack, bake, "--function", "bakery_price").stdout) == 3
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=20) == 0


@pytest.mark.usefixtures("processes")
def test_without_the_extra_it_says_how_to_get_it() -> None:
    code = (
        "import sys; sys.modules['typer'] = None; sys.argv = ['perdure', 'dev'];"
        "from perdure.cli.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "The command line needs two more packages: pip install 'perdure[cli]'\n"


@pytest.mark.usefixtures("processes")
def test_the_version_is_the_packages(tmp_path: Path) -> None:
    assert perdure(tmp_path, "--version").stdout == version("perdure") + "\n"
