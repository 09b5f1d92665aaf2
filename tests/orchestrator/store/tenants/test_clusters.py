"""Clusters: named once, changed, their context kept in versions, deleted so that nobody knows them any more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import tables
from orchestrator.store.tenants.api_keys import hash_key
from perdure.contract import Scope
from tests.support.stage import Stage


async def test_a_cluster_is_made_with_a_name_of_its_own(stage: Stage) -> None:
    named = await stage.store.clusters.create("sales", "All of it.")
    unnamed = await stage.store.clusters.create(None, None)
    assert (named.name, named.description, named.custom_auth) == ("sales", "All of it.", False)
    assert unnamed.name == f"cluster-{unnamed.id.lower()}"
    with pytest.raises(ConflictError, match="'sales' already") as caught:
        await stage.store.clusters.create("sales", None)
    assert caught.value.code == "cluster_name_taken"


async def test_clusters_are_listed_a_page_at_a_time(stage: Stage) -> None:
    made = [
        stage.cluster_id,
        *[(await stage.store.clusters.create(name, None)).id for name in "abc"],
    ]
    first = await stage.store.clusters.page(after="", limit=3)
    rest = await stage.store.clusters.page(after=first[-1].id, limit=3)
    assert [record.id for record in [*first, *rest]] == made


async def test_only_what_is_named_changes(stage: Stage) -> None:
    clusters = stage.store.clusters
    before = await clusters.change(stage.cluster_id, {"description": "x", "debug": True})
    after = await clusters.change(stage.cluster_id, {"custom_auth": True})
    assert (after.description, after.debug, after.custom_auth) == ("x", True, True)
    assert before.updated_at is not None
    assert after.updated_at is not None
    assert after.updated_at > before.updated_at
    await clusters.create("other", None)
    with pytest.raises(ConflictError):
        await clusters.change(stage.cluster_id, {"name": "other"})
    with pytest.raises(NotFoundError):
        await clusters.change("unknown", {"debug": True})


async def test_each_new_context_is_stored_as_a_version(stage: Stage, elsewhere: Stage) -> None:
    clusters = stage.store.clusters
    texts: list[Any] = ["first", "first", "second", None]
    for text in texts:
        await clusters.change(stage.cluster_id, {"additional_context": text})
    await clusters.change(stage.cluster_id, {"debug": True})
    kept = await clusters.context_versions(stage.cluster_id, before=None, limit=10)
    assert [(one.version, one.content) for one in kept] == [(3, None), (2, "second"), (1, "first")]
    older = await clusters.context_versions(stage.cluster_id, before=3, limit=1)
    assert [one.version for one in older] == [2]
    assert (await clusters.get(stage.cluster_id)).additional_context is None
    racing = [
        place.store.clusters.change(stage.cluster_id, {"additional_context": f"text {number}"})
        for number, place in enumerate([stage, elsewhere] * 4)
    ]
    await asyncio.gather(*racing)
    kept = await clusters.context_versions(stage.cluster_id, before=None, limit=20)
    assert [one.version for one in kept] == list(range(11, 0, -1))


async def test_a_deleted_cluster_is_unknown_and_its_keys_are_worthless(stage: Stage) -> None:
    clusters, keys = stage.store.clusters, stage.store.keys
    _, key = await keys.create(stage.cluster_id, "ci")
    await clusters.delete(stage.cluster_id)
    assert await keys.identify(hash_key(key)) is None
    for work in (
        clusters.get(stage.cluster_id),
        clusters.change(stage.cluster_id, {"debug": True}),
        clusters.delete(stage.cluster_id),
    ):
        with pytest.raises(NotFoundError, match="no cluster"):
            await work
    assert await clusters.page(after="", limit=10) == []
    again = await keys.ensure_cluster("test")
    assert again != stage.cluster_id, "its name is free again"


async def test_a_key_made_in_a_deleted_cluster_is_worthless_too(stage: Stage) -> None:
    await stage.store.clusters.delete(stage.cluster_id)
    _, late = await stage.store.keys.create(stage.cluster_id, "late")
    assert await stage.store.keys.identify(hash_key(late)) is None


async def test_runs_of_a_deleted_cluster_are_found_until_they_are_cancelled(stage: Stage) -> None:
    other = Stage(stage.store, await stage.store.keys.ensure_cluster("other"))
    await other.run()
    pending, working = await stage.run(), await stage.run()
    await stage.called(working)
    await stage.finished()
    assert await stage.store.clusters.orphans() == []
    await stage.store.clusters.delete(stage.cluster_id)
    assert set(await stage.store.clusters.orphans()) == {pending, working}
    for ref in (pending, working):
        await stage.store.runs.cancel(ref, "The cluster was deleted.")
    assert await stage.store.clusters.orphans() == []
    assert (await stage.get_run(pending)).status == "cancelled"
    assert (await stage.get_run(working)).cancel_reason == "The cluster was deleted."


async def test_a_key_has_the_scopes_that_it_was_given(stage: Stage) -> None:
    keys = stage.store.keys
    plain, _ = await keys.create(stage.cluster_id, "plain")
    narrow, secret = await keys.create(
        stage.cluster_id, "narrow", scopes=[Scope.MACHINE], created_by="plain"
    )
    assert plain.scopes == "admin,client,machine"
    assert await keys.identify(hash_key(secret)) == narrow
    assert (narrow.scopes, narrow.created_by) == ("machine", "plain")
    await keys.grant_scopes(narrow.id, Scope)
    found = await keys.identify(hash_key(secret))
    assert found is not None
    assert found.scopes == "admin,client,machine,management"
    assert (await keys.identify(hash_key("x"))) is None


async def test_keys_are_listed_a_page_at_a_time_and_revoked_once(stage: Stage) -> None:
    keys = stage.store.keys
    made = [(await keys.create(stage.cluster_id, name))[0] for name in "abc"]
    first = await keys.page(stage.cluster_id, after="", limit=2)
    assert first == made[:2]
    assert await keys.page(stage.cluster_id, after=first[-1].id, limit=2) == made[2:]
    await keys.revoke(stage.cluster_id, made[0].id)
    await stage.alter(tables.api_keys, tables.api_keys.c.id == made[0].id, revoked_at=7)
    await keys.revoke(stage.cluster_id, made[0].id)
    (row,) = await stage.rows(tables.api_keys, tables.api_keys.c.id == made[0].id)
    assert row["revoked_at"] == 7, "when it was revoked stays true"
