"""`serve` in a process of its own, as `perdure worker` and `service.run()` start it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perdure import ConfigurationError
from perdure.worker.worker import load_services
from tests.sdk.api_double import KEY, ApiDouble

SERVICE = """
import os, time
from perdure import Service

service = Service("sales")
other = Service("stock")
number = 3

@service.function
def slow(seconds: float) -> str:
    time.sleep(seconds)
    return "finished"

@service.function(timeout=5)
def leave() -> None:
    os._exit(7)

if __name__ == "__main__":
    service.run()
"""
SERVE = (
    "from perdure.worker.worker import load_services, serve; serve(load_services('shop:service'))"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text(SERVICE)
    (tmp_path / "broken.py").write_text("import no_such_module_at_all")
    (tmp_path / "empty.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("shop", "broken", "empty"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@contextmanager
def worker(folder: Path, api: ApiDouble, *arguments: str) -> Generator[subprocess.Popen[str]]:
    environment = {**os.environ, "PERDURE_URL": api.url, "PERDURE_API_KEY": KEY}
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("arguments", [("-c", SERVE), ("shop.py",)], ids=["serve", "run"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_calls_finish_and_ends_it_cleanly(
    api: ApiDouble, folder: Path, arguments: tuple[str, ...], number: signal.Signals
) -> None:
    with worker(folder, api, *arguments) as process:
        api.call("sales.slow", {"seconds": 0.5})
        api.wait_until(lambda: bool(api.beats), timeout=20)
        process.send_signal(number)
        code, errors = finish(process)
    assert (code, api.result()["result"]) == (0, "finished")
    assert "Serving sales" in errors
    assert "Traceback" not in errors


@pytest.mark.usefixtures("processes")
def test_a_second_signal_ends_it_at_once(api: ApiDouble, folder: Path) -> None:
    with worker(folder, api, "shop.py") as process:
        api.call("sales.slow", {"seconds": 60})
        api.wait_until(lambda: bool(api.beats), timeout=20)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        while "to finish" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        code, _ = finish(process)
    assert code == -signal.SIGTERM
    assert not api.results


@pytest.mark.usefixtures("processes")
def test_it_waits_for_an_api_that_is_not_there_yet_and_can_be_stopped_meanwhile(
    api: ApiDouble, folder: Path
) -> None:
    api.stop()
    with worker(folder, api, "shop.py") as waiting, worker(folder, api, "shop.py") as stopped:
        for process in (waiting, stopped):
            assert process.stderr is not None
            assert "waits for the API" in process.stderr.readline()
        stopped.terminate()
        assert finish(stopped)[0] == 0
        api.start()
        api.call("sales.slow", {"seconds": 0})
        assert api.result(timeout=20)["result"] == "finished"
        waiting.terminate()
        assert finish(waiting)[0] == 0


@pytest.mark.usefixtures("processes")
def test_a_function_that_takes_the_process_with_it_was_acknowledged_before(
    api: ApiDouble, folder: Path
) -> None:
    with worker(folder, api, "shop.py") as process:
        api.call("sales.leave", {})
        assert finish(process)[0] == 7
    assert api.beats == {"call-1": 1}
    assert not api.results


@pytest.mark.usefixtures("processes")
def test_a_wrong_key_is_logged_and_waited_out(api: ApiDouble, folder: Path) -> None:
    api.fault("POST /machines", 401, times=1000)
    with worker(folder, api, "shop.py") as process:
        assert process.stderr is not None
        assert "rejects the API key" in process.stderr.readline()
        assert process.poll() is None
        process.terminate()
        assert finish(process)[0] == 0


@pytest.mark.usefixtures("processes")
def test_functions_that_are_refused_end_it_with_the_reason(api: ApiDouble, folder: Path) -> None:
    api.fault("POST /machines", 422, times=1000)
    with worker(folder, api, "shop.py") as process:
        code, errors = finish(process)
    assert code == 1
    assert "scripted 422" in errors


def test_services_are_found_by_name(folder: Path) -> None:
    assert [service.name for service in load_services("shop:service")] == ["sales"]
    assert [service.name for service in load_services("shop:service,other")] == ["sales", "stock"]
    assert [service.name for service in load_services("shop")] == ["sales", "stock"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nowhere:service", "no module 'nowhere'"),
        ("nowhere.deep:service", "no module 'nowhere.deep'"),
        ("shop:nothing", "shop:nothing is no Service: the module has no such name"),
        ("shop:number", "has a int there"),
        ("empty", "has no Service in it"),
    ],
)
def test_a_name_that_leads_nowhere_is_explained(folder: Path, target: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load_services(target)


def test_an_import_that_fails_inside_the_users_module_is_the_users_error(folder: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        load_services("broken:service")
