"""`perdure dev` as a whole: the real command, the real Temporal server, stand-ins for the API and the workers."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.stack.driver import Dev, eventually, is_alive

pytestmark = pytest.mark.timeout(90)


def test_json_is_one_line_on_stdout_and_nothing_else(dev: Dev) -> None:
    process = dev.start_ready()
    assert set(dev.connection) == {"url", "apiKey", "clusterId", "temporalAddress"}
    process.terminate()
    rest, _ = process.communicate(timeout=30)
    assert rest == ""
    assert process.returncode == 0


def test_key_and_connection_are_for_the_owner_alone(dev: Dev) -> None:
    dev.start_ready()
    for name in ("connection.json", "api-key"):
        assert stat.S_IMODE((dev.state / name).stat().st_mode) == 0o600
    assert json.loads((dev.state / "connection.json").read_text()) == dev.connection
    assert stat.S_IMODE(dev.state.stat().st_mode) == 0o700


def test_people_are_shown_address_key_model_and_how_to_stop(dev: Dev) -> None:
    process = dev.start(as_json=False)
    connection_file = dev.state / "connection.json"
    eventually(connection_file.exists)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    connection = json.loads(connection_file.read_text())
    assert connection["url"] in output
    assert connection["apiKey"] in output
    assert "scripted/analyst" in output
    assert "no ANTHROPIC_API_KEY" in output
    assert f"kill {process.pid}" in output
    assert process.returncode == 0


def test_with_an_anthropic_key_it_says_that_claude_answers(dev: Dev) -> None:
    process = dev.start(as_json=False, environment={"ANTHROPIC_API_KEY": "for-no-one"})
    eventually((dev.state / "connection.json").exists)
    process.terminate()
    output, _ = process.communicate(timeout=30)
    assert "Claude" in output
    assert "for-no-one" not in output


@pytest.mark.parametrize("name", ["api", "workers"])
def test_a_part_that_is_killed_comes_back_and_it_is_logged(dev: Dev, name: str) -> None:
    dev.start_ready()
    old = dev.pids()[name]
    subprocess.run(["kill", "-9", str(old)], check=True)
    assert is_alive(dev.new_pid(name, old))
    line = next(line for line in dev.errors.splitlines() if line.startswith(f"{name} was ended"))
    assert "SIGKILL (signal 9)" in line
    assert str(dev.state / "logs" / f"{name}.log") in line


def test_every_part_dies_with_a_killed_supervisor_and_the_next_start_works(dev: Dev) -> None:
    first = dev.start_ready()
    temporal = dev.connection["temporalAddress"]
    key = dev.connection["apiKey"]
    pids = dev.pids()
    assert set(pids) == {"temporal", "api", "workers"}
    first.kill()
    for pid in pids.values():
        eventually(lambda pid=pid: not is_alive(pid))
    dev.start_ready()
    assert dev.connection["temporalAddress"] == temporal
    assert dev.connection["apiKey"] == key


def test_a_second_start_in_the_same_folder_names_the_first(dev: Dev, tmp_path: Path) -> None:
    first = dev.start_ready()
    second = dev.start()
    output, _ = second.communicate(timeout=30)
    assert (second.returncode, output) == (1, "")
    assert len(dev.errors.splitlines()) == 1
    assert f"process {first.pid}" in dev.errors
    assert dev.connection["url"] in dev.errors
    assert "--state-dir" in dev.errors
    assert first.poll() is None


def test_sigterm_stops_everything_and_leaves_nothing(dev: Dev) -> None:
    process = dev.start_ready()
    pids = dev.pids()
    process.terminate()
    assert process.wait(timeout=30) == 0
    assert not any(is_alive(pid) for pid in pids.values())
    assert dev.pids() == {}


def test_a_second_signal_kills_what_does_not_stop(dev: Dev) -> None:
    process = dev.start_ready(STANDIN_WORKERS_STUBBORN="1")
    stubborn = dev.pids()["workers"]
    process.send_signal(signal.SIGINT)
    eventually(lambda: "Stopping" in dev.errors)
    assert is_alive(stubborn)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=5) == 0
    assert not is_alive(stubborn)


def test_a_signal_during_the_start_ends_it_cleanly(dev: Dev) -> None:
    process = dev.start(environment={"STANDIN_MISSING": "temporal"})
    eventually(lambda: dev.recorded() and "workers" in dev.pids())
    pids = dev.pids()
    process.terminate()
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "")
    assert not any(is_alive(pid) for pid in pids.values())


def test_a_folder_of_the_user_called_api_is_not_mistaken_for_ours(dev: Dev) -> None:
    package = dev.folder / "api"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("raise SystemExit('not this one')")
    dev.start_ready()
    assert "not this one" not in (dev.state / "logs" / "api.log").read_text()


def test_a_temporal_of_the_users_own_is_used_and_none_is_started(dev: Dev) -> None:
    dev.start_ready(PERDURE_TEMPORAL_ADDRESS="temporal.example:7233")
    assert dev.connection["temporalAddress"] == "temporal.example:7233"
    assert set(dev.pids()) == {"api", "workers"}
    assert "temporal temporal.example:7233" in (dev.state / "logs" / "api.log").read_text()


def test_functions_take_calls_when_the_stack_is_ready(dev: Dev) -> None:
    (dev.folder / "shop.py").write_text(
        "from perdure import Service\n"
        "service = Service('shop')\n"
        "@service.function\n"
        "def price(item: str) -> int:\n"
        '    """What it costs."""\n'
        "    return 3\n"
    )
    process = dev.start_ready("--functions", "shop:service")
    assert "Serving shop" in (dev.state / "logs" / "functions.log").read_text()
    functions = dev.pids()["functions"]
    process.terminate()
    assert process.wait(timeout=30) == 0
    assert not is_alive(functions)


def test_functions_that_do_not_load_hinder_nobody_and_it_is_logged(dev: Dev) -> None:
    dev.start_ready("--functions", "nowhere:service")
    assert "functions exited with code 1" in dev.errors
    assert "no module 'nowhere'" in (dev.state / "logs" / "functions.log").read_text()


def test_temporals_own_interface_is_served_where_it_is_wanted(dev: Dev) -> None:
    process = dev.start("--ui", as_json=False)
    eventually((dev.state / "connection.json").exists)
    assert process.stdout
    line = next(line for line in process.stdout if line.startswith("  Temporal"))
    address = line.split()[1]

    def answers() -> bool:
        try:
            return httpx2.get(address, trust_env=False).status_code == 200
        except httpx2.HTTPError:  # it comes up after the server itself
            return False

    assert eventually(answers)
