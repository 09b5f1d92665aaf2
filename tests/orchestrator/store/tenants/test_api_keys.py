"""API keys: shown once, kept as hashes, worthless once revoked."""

from __future__ import annotations

import asyncio
import re

import pytest

from orchestrator.errors import NotFoundError
from orchestrator.store import tables
from orchestrator.store.tenants.api_keys import hash_key
from tests.support.stage import Stage


async def test_a_key_identifies_its_cluster(stage: Stage) -> None:
    keys = stage.store.keys
    record, key = await keys.create(stage.cluster_id, "ci")
    found = await keys.identify(hash_key(key))
    assert found == record
    assert (record.cluster_id, record.name, record.revoked_at) == (stage.cluster_id, "ci", None)


async def test_of_a_key_only_its_hash_is_stored(stage: Stage) -> None:
    _, key = await stage.store.keys.create(stage.cluster_id, "ci")
    assert re.fullmatch(r"sk_[\w-]{43}", key)
    (row,) = await stage.rows(tables.api_keys)
    assert key not in str(row)
    assert row["key_hash"] == hash_key(key)
    assert await stage.store.keys.identify(key) is None


async def test_no_two_keys_are_alike(stage: Stage) -> None:
    made = {(await stage.store.keys.create(stage.cluster_id, "same"))[1] for _ in range(5)}
    assert len(made) == 5


async def test_a_revoked_key_identifies_nobody(stage: Stage) -> None:
    keys = stage.store.keys
    record, key = await keys.create(stage.cluster_id, "ci")
    other, other_key = await keys.create(stage.cluster_id, "dev")
    await keys.revoke(stage.cluster_id, record.id)
    await keys.revoke(stage.cluster_id, record.id)
    assert await keys.identify(hash_key(key)) is None
    assert await keys.identify(hash_key(other_key)) == other
    listed = await keys.all_of(stage.cluster_id)
    assert [(one.name, one.revoked_at is None) for one in listed] == [("ci", False), ("dev", True)]


async def test_nobody_revokes_or_sees_the_keys_of_another_cluster(stage: Stage) -> None:
    keys = stage.store.keys
    record, key = await keys.create(stage.cluster_id, "ci")
    ours = await keys.ensure_cluster("ours")
    for key_id in (record.id, "unknown"):
        with pytest.raises(NotFoundError, match=f"no API key '{key_id}'"):
            await keys.revoke(ours, key_id)
    assert await keys.all_of(ours) == []
    assert await keys.identify(hash_key(key)) == record


async def test_a_cluster_is_made_once_whoever_asks(stage: Stage, elsewhere: Stage) -> None:
    made = await asyncio.gather(
        *(place.store.keys.ensure_cluster("new") for place in [stage, elsewhere] * 4)
    )
    assert len(set(made)) == 1
    assert made[0] != stage.cluster_id
    assert await stage.store.keys.ensure_cluster("test") == stage.cluster_id
