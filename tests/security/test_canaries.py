"""Secrets in `context`, keys and headers reach the functions, and are in no request, log, event, error, file or history."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.faults.ground.postgres import killable_postgres
from tests.security import plays
from tests.security.canaries import Canaries, forms_of
from tests.security.vault import Vault, expected, opened

pytestmark = pytest.mark.timeout(150)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the plays came to, and everything that may be searched."""

    canaries: Canaries
    played: dict[str, Any]
    places: dict[str, bytes]

    def places_like(self, word: str) -> dict[str, bytes]:
        return {name: content for name, content in self.places.items() if word in name}


async def played(folder: Path, *, database_url: str = "", data: Path | None = None) -> Evidence:
    """Play everything, end the stack, gather what is left of it."""
    async with opened(folder, database_url=database_url) as vault:
        named: list[Callable[[Vault], Awaitable[Any]]] = [
            plays.hook,
            plays.looks,
            plays.keys,
            plays.direct,
            plays.ends,
            plays.mistakes,
        ]
        came = await asyncio.gather(*(play(vault) for play in named))
        done: dict[str, Any] = {
            play.__name__: outcome for play, outcome in zip(named, came, strict=True)
        }
        places = {
            "requests to the model": vault.requests(),
            "webhooks": repr(done["hook"]).encode(),
            "answers of the API": b"".join(vault.answers),
            **_printed_by_commands(vault),
            **vault.files(folder / "data"),  # while it runs: journals and all
        }
    if database_url:  # what it holds in memory is in its files only then
        with psycopg.connect(database_url, autocommit=True) as postgres:
            postgres.execute("CHECKPOINT")
    for left in {folder / "data", data or folder / "data"}:
        places |= {f"{name}, ended": text for name, text in vault.files(left).items()}
    return Evidence(vault.canaries, done, places | vault.logs())


def _printed_by_commands(vault: Vault) -> dict[str, bytes]:
    commands = (
        ("runs", "list"),
        ("runs", "get", "run-one"),
        ("doctor",),
        ("usage",),
        ("keys", "list"),
    )
    return {f"perdure {' '.join(words)}": vault.command(*words) for words in commands}


@pytest.fixture(scope="module")
def evidence(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return asyncio.run(played(tmp_path_factory.mktemp("vault")))


def test_it_was_all_played(evidence: Evidence) -> None:
    known, done = evidence.canaries, evidence.played
    assert done["looks"] == expected(known, "context", "auth context"), "secrets reach functions"
    assert done["ends"] == ["done", "done", "done", "paused", "failed", "failed"]
    assert done["direct"] == ["success", "failure"]
    assert done["keys"] == 200
    assert done["mistakes"] == [422, 413, 422, 422, 415, 401, 401, 201, 422, 401]
    assert len(known.known) == 12


def test_what_is_no_secret_is_found_where_it_belongs(evidence: Evidence) -> None:
    """Or the search would prove nothing."""
    assert b"vault_look" in evidence.places["requests to the model"]
    for word, place in ((b"vault_look", "perdure.db"), (b"vault", "temporal.db")):
        assert any(word in content for content in evidence.places_like(place).values()), place
    for process in ("api", "workers", "functions", "temporal"):
        assert evidence.places[f"log of {process}"], process
    assert b"DEBUG" in evidence.places["log of functions"]
    assert b"perdure runs get one" not in evidence.places["perdure runs get run-one"]


@pytest.mark.parametrize(
    "place", ["requests", "webhooks", "answers", "perdure ", "log of ", "file perdure", "file "]
)
def test_no_secret_is_there(evidence: Evidence, place: str) -> None:
    searched = evidence.places_like(place)
    assert searched
    assert evidence.canaries.in_places(searched) == []


def test_a_secret_is_found_in_whatever_form() -> None:
    known = Canaries()
    secret = known.new("context")
    for number, form in enumerate(forms_of(secret)):
        assert known.in_places({"there": b"x" * number + form}) == ["context in there"]
    assert known.in_places({"there": secret[:-1].encode()}) == []


@pytest.mark.usefixtures("processes")
@pytest.mark.security
def test_no_secret_is_in_a_file_of_postgresql(tmp_path: Path) -> None:
    with killable_postgres() as postgres:
        found = asyncio.run(
            played(tmp_path, database_url=postgres.url, data=postgres.socket.parent)
        )
    assert found.played["looks"] == expected(found.canaries, "context", "auth context")
    assert any(b"vault_look" in content for content in found.places_like("base/").values())
    assert found.canaries.in_places(found.places) == []
