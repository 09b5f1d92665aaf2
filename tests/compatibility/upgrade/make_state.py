"""Makes the old state folders that `test_old_state.py` opens: runs in every state that an upgrade meets.

It runs in a checkout of the old version, so that the old code writes everything. Make the checkout at `/srv/perdure`
with its own `.venv`, copy this folder there, then::

    unshare --uts sh -c 'hostname perdure && .venv/bin/python -m tests.compatibility.upgrade.make_state FOLDER'

`FOLDER/killed.tar.xz`: every process was killed with SIGKILL, while the Temporal workers were frozen and could not
see the last requests. `FOLDER/postgresql.tar.xz`: the same, with the store on PostgreSQL. `FOLDER/stopped.tar.xz`: the
stack was stopped with SIGTERM. Each holds the state folder without its logs, a dump of the PostgreSQL, and
`facts.json`: what the test must know. Host name and paths (in stack traces) are written into the databases; theirs
tell nothing about the machine.
"""

from __future__ import annotations

import asyncio
import json
import platform
import sys
import tarfile
import tempfile
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2

from perdure import AsyncPerdure, AsyncRun, Budget, Handler, Scope, Webhook
from tests.compatibility.upgrade import functions
from tests.compatibility.upgrade.old_stack import (
    PATIENCE,
    OldStack,
    event,
    open_client,
    running_postgres,
    status,
    until,
)
from tests.compatibility.upgrade.scripts import (
    CHECKOUT,
    CONFIG,
    HOST,
    PAYLOAD_KEY,
    RESULT_SCHEMA,
    STATES,
    WEBHOOK_URL,
    calls,
    says,
    script,
)

READ = ("", "/messages?replaced=all", "/timeline?limit=500", "/calls", "/deliveries", "/blobs")


async def run(client: AsyncPerdure, name: str, *steps: object, **options: Any) -> AsyncRun[Any]:
    """Create the run of that id, of a script."""
    return await client.create_run(script(*steps), id=name, model="scripted/inline", **options)


async def make_tenant(stack: OldStack, client: AsyncPerdure) -> None:
    """Keys, secrets, notes, the cluster's context, a run configuration of two versions."""
    clerk = await client.api_keys.create("clerk", [Scope.CLIENT])
    former = await client.api_keys.create("former", [Scope.CLIENT])
    await client.api_keys.revoke(former.id)
    secret = await client.webhook_secrets.create()
    stack.facts |= {"clerk": clerk.key, "former": former.key, "webhookSecret": secret.secret}
    await client.clusters.update(additional_context="Prices are in euros.", enable_custom_auth=True)
    await client.function_notes.put("stock.count", "Counts are of last night.")
    for word in ("Hello", "Good day"):
        await client.run_configs.put(
            CONFIG,
            "Greeting",
            initial_prompt=script(says(word + " {{name}}.")),
            input_schema={"type": "object", "properties": {"name": {"type": "string"}}},
        )


async def make_finished(stack: OldStack, client: AsyncPerdure) -> None:
    """Runs that are over: one is only read, the others go on in a next turn."""
    finished = await run(
        client,
        "finished",
        calls("stock_count", item="bolt"),
        {"result": {"pieces": 4}},
        result_schema=RESULT_SCHEMA,
        tags=["upgrade"],
        metadata={"team": "stock"},
        context={"user": "bo"},
        on_status_change=functions.watch,
    )
    await finished.poll(PATIENCE)
    message = await finished.send(script({"result": {"pieces": 0}}))
    await finished.poll(PATIENCE)
    await finished.edit_message(message, script({"result": {"pieces": 5}}))
    await finished.poll(PATIENCE)
    await finished.feedback(0.5, "half right")
    failed = await run(client, "failed", {"error": {"status": 400}})
    await status(failed, "failed")
    for name in ("conversation", "edited", "retried"):
        one = await run(client, name, calls("stock_count", item="nut"), says("three"))
        await one.poll(PATIENCE)
    priced = await client.call("stock.price", {"item": "lamp"}, idempotency_key="price")
    await priced.poll(PATIENCE)
    stack.facts["price"] = priced.id


async def make_waiting(stack: OldStack, client: AsyncPerdure) -> None:
    """Runs that wait for a function worker, for a person, for money, and for the receivers of status changes."""
    packing = calls("away_pack", order="a")
    for name in ("waiting", "cancelled"):
        one = await run(client, name, packing, says("sent"), on_status_change=functions.watch)
        await event(one, "run.waiting")
    queued = await run(client, "queued", packing)
    await queued.send(script(calls("stock_count", item="screw"), says("six")))
    direct = await client.call(
        "away.pack", {"order": "direct"}, idempotency_key="direct", context={"n": 1}
    )
    stack.facts["direct"] = direct.id
    async with open_client(stack, custom_token="token-of-ada") as ada:
        await run(ada, "of-ada", calls("away_whoami"), says("known"))
    for name in ("approved", "denied"):
        one = await run(client, name, calls("till_wire", amount=5), says("settled"))
        await status(one, "paused")
    asking = await run(client, "asking", calls("till_refund", amount=250), says("settled"))
    await status(asking, "paused")
    mixed = await run(
        client,
        "mixed",
        {
            "calls": [
                *calls("stock_count", item="nail")["calls"],
                *calls("away_pack", order="b")["calls"],
                *calls("till_wire", amount=7)["calls"],
            ]
        },
        says("all three"),
    )
    await status(mixed, "paused")
    await event(mixed, "call.finished")
    for name in ("over-budget", "resumed"):
        steps = (calls("stock_count", item="bolt"), calls("stock_count", item="nut"), says("seven"))
        one = await run(client, name, *steps, budget=Budget(steps=1))
        await status(one, "paused")
    unpaid = await run(client, "unpaid", says("paid") | {"error": {"status": 402, "times": 1}})
    await status(unpaid, "paused")
    announced = await run(
        client, "announced", says("ready"), on_status_change=Handler(functions.notice)
    )
    await announced.poll(PATIENCE)
    posted = await run(client, "posted", says("ready"), on_status_change=Webhook(WEBHOOK_URL))
    await posted.poll(PATIENCE)


async def make_working(stack: OldStack, client: AsyncPerdure) -> None:
    """Runs in the middle of a model step and of a function."""
    at_work = await run(client, "at-work", calls("stock_count_slowly", item="gear"), says("four"))
    await event(at_work, "call.started")
    answered = await run(
        client, "answered", calls("stock_count_slowly", item="wheel"), says("five")
    )
    await event(answered, "call.started")
    busy = {"status": 529, "times": 2, "retryAfter": 4}
    refused = await run(client, "refused", says("at last") | {"error": busy})
    await event(refused, "run.waiting")
    thinking = await run(
        client,
        "thinking",
        calls("stock_count", item="cog"),
        calls("stock_count", item="axle") | {"delayMs": 100},
        says("three and four") | {"delayMs": 15_000},
        on_status_change=functions.watch,
    )
    await event(thinking, "step.recorded", step=2)
    await until(stack.is_thinking)


async def make_unread(client: AsyncPerdure) -> None:
    """Requests that no Temporal worker has read: the last words before the end."""
    await run(client, "accepted", calls("stock_count", item="pin"), says("three"))
    functions.released["wheel"].set()
    answered = await client.get_run("answered")
    await event(answered, "call.finished")
    await (await client.get_run("cancelled")).cancel("not needed")
    await (await client.get_run("conversation")).send(script(says("a second turn")))
    await (await client.get_run("resumed")).resume(Budget(steps=10))
    (wire,) = await (await client.get_run("approved")).approvals()
    await client.approve(wire, reason="by hand")


async def read_all(stack: OldStack) -> dict[str, Any]:
    """What the API answers about the runs that are only read."""
    url, cluster = stack.connection["url"], stack.connection["clusterId"]
    headers = {"Authorization": f"Bearer {stack.connection['apiKey']}"}
    paths = [f"runs/finished{part}" for part in READ]
    paths += ["runs/failed", "runs/failed/timeline", f"run-configs/{CONFIG}?withPreviousVersions=1"]
    async with httpx2.AsyncClient(base_url=f"{url}/clusters/{cluster}/", headers=headers) as http:
        return {path: (await http.get(path)).raise_for_status().json() for path in paths}


async def make(folder: Path, name: str) -> None:
    """The state of that name, in the folder."""
    with ExitStack() as exits:
        database_url = None
        if name == "postgresql":
            database_url = exits.enter_context(running_postgres(folder))
        sealed = {} if name == "stopped" else {"PERDURE_PAYLOAD_KEY": PAYLOAD_KEY}
        stack = OldStack.start(folder / "state", database_url, **sealed)
        try:
            await make_all(stack, killed=name != "stopped")
        finally:
            if stack.process.poll() is None:
                stack.kill()
    (folder / "facts.json").write_text(json.dumps(stack.facts, indent=1))


async def make_all(stack: OldStack, *, killed: bool) -> None:
    """Make all runs, then end the stack."""
    stack.register_away()
    functions.released.clear()
    async with AsyncExitStack() as exits:
        client = await exits.enter_async_context(open_client(stack))
        await make_tenant(stack, client)
        for service in (functions.stock, functions.till, functions.default):
            await exits.enter_async_context(service.running(client))
        await run(
            client,
            "parked",
            calls("away_pack", order="long ago"),
            {"result": {"pieces": 1}},
            result_schema=RESULT_SCHEMA,
            context={"user": "bo"},
            deadline=timedelta(days=30),
            on_status_change=functions.watch,
        )
        await make_finished(stack, client)
        await until(stack.is_parked, 300)
        await make_waiting(stack, client)
        stack.facts["reads"] = await read_all(stack)
        await make_working(stack, client)
        if killed:
            stack.freeze_workers()
            await make_unread(client)
            stack.kill()
        else:
            await asyncio.to_thread(stack.stop)
        stack.facts["endedAt"] = int(datetime.now(UTC).timestamp() * 1000)
        functions.released["gear"].set()


def pack(folder: Path, archive: Path) -> None:
    """The state without logs, which name processes and ports, and the facts."""
    kept = [folder / "facts.json", *folder.glob("store.sql"), *folder.glob("state/**/*")]
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for path in sorted(kept):
            name = path.relative_to(folder)
            if path.is_file() and "logs" not in name.parts:
                tar.add(path, str(name), filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def main() -> None:
    if (platform.node(), Path.cwd()) != (HOST, CHECKOUT):
        sys.exit(__doc__)
    target, *chosen = sys.argv[1:]
    for name in chosen or STATES:
        with tempfile.TemporaryDirectory(dir=CHECKOUT.parent) as folder:
            asyncio.run(make(Path(folder), name))
            pack(Path(folder), Path(target) / f"{name}.tar.xz")


if __name__ == "__main__":
    main()
