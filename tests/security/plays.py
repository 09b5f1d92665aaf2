"""What is played in the vault: runs of every end, mistakes of every kind. Each play says what proves that it was played."""

from __future__ import annotations

import json
from typing import Any

from perdure.contract import MAX_CONTEXT_BYTES
from tests.security.vault import ECHO, Vault
from tests.support.running_stack import until

_HANDLER = {"function": {"service": "vault", "function": "on_status"}}


def _calls(name: str, *before: dict[str, Any]) -> str:
    call: dict[str, Any] = {"tool_use": f"vault_{name}", "input": {}}
    return json.dumps([*before, call, {"text": "worked"}])


async def ends(vault: Vault) -> list[str]:
    """Runs that end well, badly, not at all; the statuses they reach."""
    overloaded = {"status": 529, "times": 1}
    started = [
        await vault.run(_calls("look"), "look", onStatusChange=_HANDLER),
        await vault.run(_calls("fails"), "fails"),
        await vault.run(json.dumps([{**overloaded, "text": "late"}])),
        await vault.run(_calls("careful"), "careful"),
        await vault.run(ECHO),
        await vault.run("[]"),
    ]
    reached: list[str] = []
    for run in started:
        ended = await vault.until(run, "done", "failed", "paused")
        reached.append(ended["status"])
        await vault.search_everywhere(run)
    return reached


async def looks(vault: Vault) -> Any:
    """A run whose function says what it was given, asked for by a user with a token."""
    cluster = vault.cluster
    await vault.ask("PUT", cluster, body={"enableCustomAuth": True})
    token = {"authorization": f"custom {vault.canaries.known['token']}"}
    run = await vault.run(_calls("look"), "look", headers=token)
    await vault.until(run, "done")
    await vault.search_everywhere(run)
    calls = await vault.ask("GET", f"{cluster}/runs/{run}/calls")
    return calls.json()["items"][0]["result"]


async def hook(vault: Vault) -> list[str]:
    """A run with a webhook; what the webhook received, as text."""
    made = await vault.ask("POST", f"{vault.cluster}/webhook-secrets", keep=False)
    vault.canaries.add("webhook secret", made.json()["secret"])
    target = {"webhook": {"url": vault.receiver.url()}}
    run = await vault.run('[{"text": "done"}]', onStatusChange=target)
    await vault.until(run, "done")
    await until(lambda: len(vault.receiver.received) > 1)
    await vault.search_everywhere(run)
    return [repr(one) for one in vault.receiver.received]


async def keys(vault: Vault) -> int:
    """A key that is made and used; the status of its use."""
    made = await vault.ask("POST", f"{vault.cluster}/api-keys", body={"name": "new"}, keep=False)
    key = vault.canaries.add("new key", made.json()["key"])
    for what in ("api-keys", "audit", "webhook-secrets", "machines", "services", "usage", "events"):
        await vault.ask("GET", f"{vault.cluster}/{what}")
    answer = await vault.ask("GET", "/me", authorization=f"Bearer {key}")
    return answer.status_code


async def direct(vault: Vault) -> list[Any]:
    """Direct calls with a context, that succeed and fail; how they ended."""
    ended: list[Any] = []
    for name in ("look", "fails"):
        body = {
            "service": "vault",
            "function": name,
            "input": {},
            "context": {"secret": vault.canaries.known["context"]},
        }
        answer = await vault.ask("POST", f"{vault.cluster}/calls?wait=20", body=body)
        ended.append(answer.json()["status"])
    return ended


async def mistakes(vault: Vault) -> list[int]:
    """Requests that are refused although, or because, they hold a secret; their statuses."""
    runs, secret = f"{vault.cluster}/runs", vault.canaries.known["context"]
    given: dict[str, Any] = {"initialPrompt": "[]", "context": {"secret": secret}}
    wrong = f"Bearer {vault.canaries.known['wrong key']}"
    answers = [
        await vault.ask("POST", runs, body={**given, "context": secret}),
        await vault.ask("POST", runs, body={**given, "context": {"a": secret * MAX_CONTEXT_BYTES}}),
        await vault.ask("POST", runs, body={**given, "unknown": 1}),
        await vault.ask("POST", runs, body={**given, "model": "nobody/knows"}),
        await vault.ask("POST", runs, body=given, content_type="text/plain"),
        await vault.ask("POST", runs, body=given, authorization=wrong),
        await vault.ask("POST", runs, body=given, authorization=f"{wrong} and more"),
        await vault.ask("POST", runs, body={**given, "id": "run-one"}),
        await vault.ask("POST", runs, body={**given, "id": "run-one", "context": {"b": secret}}),
        await vault.ask("GET", runs, authorization=wrong, x_machine_sdk_version="0.30.61"),
    ]
    return [answer.status_code for answer in answers]
