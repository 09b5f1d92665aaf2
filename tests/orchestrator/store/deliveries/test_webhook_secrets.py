"""Secrets of webhooks: one takes over from another, and for a while both are valid."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import tables
from orchestrator.store.deliveries.webhook_secrets import MAX_SECRETS, WebhookSecretStore
from tests.support.stage import Stage

HOUR = 3_600_000


@pytest.fixture
def secrets(stage: Stage) -> WebhookSecretStore:
    return stage.store.webhook_secrets


async def _values(stage: Stage) -> list[bytes]:
    return [one.value for one in await stage.store.webhook_secrets.valid(stage.cluster_id)]


async def _add(stage: Stage, value: bytes, keep_ms: int = HOUR) -> str:
    record = await stage.store.webhook_secrets.rotate(stage.cluster_id, value, keep_ms=keep_ms)
    return record.id


async def test_the_old_secret_stays_valid_for_a_while(stage: Stage) -> None:
    await _add(stage, b"old")
    await _add(stage, b"new")
    assert await _values(stage) == [b"new", b"old"]
    new, old = await stage.store.webhook_secrets.valid(stage.cluster_id)
    assert new.expires_at is None
    assert old.expires_at == pytest.approx(new.created_at + HOUR, abs=1_000)
    await stage.alter(
        tables.webhook_secrets, tables.webhook_secrets.c.id == old.id, expires_at=old.created_at - 1
    )
    assert await _values(stage) == [b"new"]


async def test_without_an_overlap_the_new_one_stands_alone(stage: Stage) -> None:
    await _add(stage, b"old")
    await _add(stage, b"new", keep_ms=0)
    assert await _values(stage) == [b"new"]


async def test_a_later_change_shortens_an_overlap_and_never_lengthens_it(stage: Stage) -> None:
    await _add(stage, b"first")
    await _add(stage, b"second", keep_ms=HOUR)
    await _add(stage, b"third", keep_ms=9 * HOUR)
    third, second, first = await stage.store.webhook_secrets.valid(stage.cluster_id)
    assert third.expires_at is None
    assert second.expires_at == pytest.approx(third.created_at + 9 * HOUR, abs=1_000)
    assert first.expires_at == pytest.approx(second.created_at + HOUR, abs=1_000)


async def test_signatures_are_bounded(stage: Stage, secrets: WebhookSecretStore) -> None:
    ids = [await _add(stage, b"%d" % number) for number in range(MAX_SECRETS)]
    with pytest.raises(ConflictError) as caught:
        await _add(stage, b"one more")
    assert caught.value.code == "too_many_webhook_secrets"
    await secrets.delete(stage.cluster_id, ids[0])
    await _add(stage, b"one more")
    assert len(await _values(stage)) == MAX_SECRETS


async def test_a_deleted_secret_signs_nothing(stage: Stage, secrets: WebhookSecretStore) -> None:
    secret_id = await _add(stage, b"leaked")
    await secrets.delete(stage.cluster_id, secret_id)
    assert await _values(stage) == []
    with pytest.raises(NotFoundError):
        await secrets.delete(stage.cluster_id, secret_id)


async def test_secrets_are_their_clusters_own(stage: Stage, secrets: WebhookSecretStore) -> None:
    secret_id = await _add(stage, b"ours")
    other = await stage.store.keys.ensure_cluster("other")
    assert await secrets.valid(other) == []
    with pytest.raises(NotFoundError):
        await secrets.delete(other, secret_id)
    await secrets.rotate(other, b"theirs", keep_ms=0)
    assert await _values(stage) == [b"ours"]


async def test_changes_at_the_same_moment_leave_one_without_an_end(
    stage: Stage, elsewhere: Stage
) -> None:
    await asyncio.gather(*(_add(one, b"new") for one in (stage, elsewhere) * 2))
    found = await stage.store.webhook_secrets.valid(stage.cluster_id)
    assert len(found) == 4
    assert sum(one.expires_at is None for one in found) == 1
