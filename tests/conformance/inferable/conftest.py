"""The unmodified npm client against a running stack: every scenario is a Node process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.inferable.node import find_node, install
from tests.support.running_stack import REPOSITORY, World

HERE = Path(__file__).parent
SCENARIO_SECONDS = 45


class Scenario:
    """A Node process that says what it does, a JSON value per line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def read(self, word: str) -> Any:
        """What it says under that word, which must be its next. Its last one is `end`."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the scenario ended before it said {word!r}, with {self._process.wait()}"
        said: dict[str, Any] = json.loads(line)
        assert list(said) == [word], said
        return said[word]

    def send(self, word: str) -> None:
        """Let it go on."""
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()


@dataclass(frozen=True, slots=True)
class Client:
    """What the npm package needs to know."""

    world: World
    node: list[str]
    environment: dict[str, str]

    @contextmanager
    def play(self, name: str, *arguments: str) -> Generator[Scenario]:
        """Start a scenario; end it in any case."""
        process = subprocess.Popen(
            [*self.node, str(HERE / "scenarios" / f"{name}.cjs"), *arguments],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield Scenario(process)
                assert process.wait(SCENARIO_SECONDS) == 0
            finally:
                process.kill()

    def result_of(self, name: str, *arguments: str) -> Any:
        """What a scenario found out."""
        with self.play(name, *arguments) as scenario:
            return scenario.read("end")


@pytest.fixture(scope="session")
def inferable_modules() -> Path:
    """The package, from npm."""
    return install(HERE / "package.json", REPOSITORY / ".cache")


@pytest.fixture(scope="session")
def client(world: World, inferable_modules: Path) -> Client:
    """The package at the address of the stack."""
    return client_of(world, inferable_modules)


def client_of(world: World, modules: Path) -> Client:
    """The package, set up as its users do: by an address and a key."""
    node, _ = find_node()
    kept = {name: text for name, text in os.environ.items() if not name.startswith("INFERABLE_")}
    environment = {
        **kept,
        "NODE_PATH": str(modules),
        "ENDPOINT": world.url,
        "API_KEY": world.api_key,
        "CLUSTER_ID": world.cluster_id,
    }
    return Client(world, node, environment)
