"""Keys from the command line, as whoever runs the server makes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.keys import ensure, main
from orchestrator.settings import Settings
from orchestrator.store.store import open_store
from orchestrator.store.tenants.api_keys import hash_key, parse_scopes
from perdure.contract import Scope


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["python -m api.keys", *words])
    return main()


@pytest.mark.parametrize(
    ("words", "scopes"),
    [
        ([], ["admin", "client", "machine"]),
        (["--scopes", "machine, client"], ["client", "machine"]),
        (["--scopes", "management"], ["management"]),
    ],
)
def test_a_key_is_made_with_the_scopes_that_are_named(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    scopes: list[str],
) -> None:
    monkeypatch.setenv("PERDURE_DATABASE_URL", settings.store_url)
    assert run(monkeypatch, "create", "--name", "ci", *words) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["scopes"] == scopes
    assert run(monkeypatch, "list") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["id"], listed["scopes"]) == (made["id"], scopes)
    assert made["key"] not in str(listed)


@pytest.mark.parametrize("words", ["", "owner", "client,owner"])
def test_what_is_no_scope_is_refused_with_those_there_are(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
) -> None:
    monkeypatch.setenv("PERDURE_DATABASE_URL", settings.store_url)
    assert run(monkeypatch, "create", "--scopes", words) == 1
    assert "machine, client, admin, management" in capsys.readouterr().err


async def test_the_local_stacks_key_has_every_scope_also_when_it_is_of_an_older_version(
    settings: Settings, tmp_path: Path
) -> None:
    store = await open_store(settings.store_url)
    try:
        cluster = await store.keys.ensure_cluster("default")
        old, secret = await store.keys.create(cluster, "dev")
        key_file = tmp_path / "api-key"
        key_file.write_text(secret)
        await ensure(store, "default", "dev", key_file)
        assert key_file.read_text() == secret, "whoever has the key keeps it"
        found = await store.keys.identify(hash_key(secret))
        assert found is not None
        assert (found.id, parse_scopes(found.scopes)) == (old.id, frozenset(Scope))
        key_file.unlink()
        await ensure(store, "default", "dev", key_file)
        made = await store.keys.identify(hash_key(key_file.read_text().strip()))
        assert made is not None
        assert parse_scopes(made.scopes) == frozenset(Scope)
        assert key_file.stat().st_mode & 0o777 == 0o600
    finally:
        await store.aclose()
