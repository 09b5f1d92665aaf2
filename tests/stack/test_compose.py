"""`docker-compose.yml` and `Dockerfile`, held against the Compose schema and against what they promise."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.settings import Settings
from orchestrator.temporal.client import TASK_QUEUE

TOP = Path(__file__).parents[2]
COMPOSE = TOP / "docker-compose.yml"
LONG_RUNNING = ("postgres", "temporal", "api", "workers")
OURS = ("api", "workers", "keys")
CompletedText = subprocess.CompletedProcess[str]


def load() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE.read_text())


def services() -> dict[str, Any]:
    return load()["services"]


def validate(file: Path) -> CompletedText:
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.usefixtures("processes")
def test_it_satisfies_the_compose_schema() -> None:
    done = validate(COMPOSE)
    assert done.returncode == 0, done.stdout


@pytest.mark.usefixtures("processes")
def test_the_schema_would_notice_a_misspelt_field(tmp_path: Path) -> None:
    broken = load()
    broken["services"]["api"]["restrat"] = "always"
    file = tmp_path / "compose.json"
    file.write_text(json.dumps(broken))
    done = validate(file)
    assert done.returncode == 1
    assert "restrat" in done.stdout


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_what_keeps_running_is_checked_and_restarted(name: str) -> None:
    service = services()[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_no_rights_to_spare(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_everything_that_is_waited_for_exists_and_can_be_waited_for() -> None:
    known = services()
    for service in known.values():
        for name, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in known[name]
            else:
                assert known[name]["restart"].startswith("on-failure")


def test_every_mounted_volume_and_config_is_declared() -> None:
    compose = load()
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in compose["volumes"]
        for config in service.get("configs", ()):
            assert config["source"] in compose["configs"]


def test_every_password_must_be_given_and_none_is_written_down() -> None:
    text = COMPOSE.read_text()
    mentions = re.findall(r"\$\{(\w*PASSWORD)([^}]*)\}", text)
    assert mentions
    assert all(rest.startswith(":?") for _, rest in mentions)
    assert not re.search(r"PASSWORD: *[\"']?[A-Za-z0-9]", text)


def test_only_the_api_is_published_and_only_on_this_machine() -> None:
    published = {
        name: service["ports"] for name, service in services().items() if "ports" in service
    }
    assert published == {"api": ["${PERDURE_PUBLISH:-127.0.0.1:8787}:8787"]}


def test_every_variable_is_one_that_the_settings_read() -> None:
    read = {f"PERDURE_{name}".upper() for name in Settings.model_fields} | {"ANTHROPIC_API_KEY"}
    for name in OURS:
        assert set(services()[name]["environment"]) <= read
    image = set(re.findall(r"\b(PERDURE_\w+)=", (TOP / "Dockerfile").read_text()))
    assert image
    assert image <= read


def test_the_workers_are_asked_for_on_the_queue_they_poll() -> None:
    question = services()["workers"]["healthcheck"]["test"][1]
    assert f"--task-queue {TASK_QUEUE} " in question


@pytest.mark.usefixtures("processes")
def test_scripts_in_the_file_are_valid_shell() -> None:
    for name in ("temporal-schema", "temporal-namespace"):
        script = load()["configs"][name]["content"].replace("$$", "$")
        subprocess.run(["/bin/sh", "-n"], input=script, text=True, check=True)


def test_the_image_runs_as_a_user_without_rights_from_pinned_packages() -> None:
    dockerfile = (TOP / "Dockerfile").read_text()
    assert re.search(r"^USER 10001$", dockerfile, re.MULTILINE)
    assert dockerfile.rindex("FROM") < dockerfile.index("USER 10001") < dockerfile.index("CMD [")
    assert "-c constraints.txt" in dockerfile
    assert "HEALTHCHECK" in dockerfile


def test_the_image_is_built_from_everything_it_installs() -> None:
    kept = {
        line[1:].rstrip("/")
        for line in (TOP / ".dockerignore").read_text().splitlines()
        if line[0] == "!"
    }
    needed = {
        "api",
        "orchestrator",
        "workers",
        "sdk",
        "constraints.txt",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    }
    assert kept == needed
    assert all((TOP / name).exists() for name in kept)
