"""API keys on the command line, directly in the store: `python -m api.keys ensure|create|list|revoke`.

For operators, who need a first key. A key is shown once; the store has only its hash.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

from orchestrator.errors import OrchestratorError
from orchestrator.settings import Settings
from orchestrator.store.store import Store, open_store
from orchestrator.store.tenants.api_keys import DEFAULT_SCOPES, hash_key, parse_scopes
from perdure.contract import Scope


async def ensure(store: Store, cluster: str, name: str, key_file: Path) -> dict[str, object]:
    """Ensure that the file holds a valid key of the cluster with all scopes. Only its owner can read the file."""
    cluster_id = await store.keys.ensure_cluster(cluster)
    record = await store.keys.identify(hash_key(_read(key_file)))
    if record is None or record.cluster_id != cluster_id:
        record, key = await store.keys.create(cluster_id, name, scopes=Scope)
        _write_private(key_file, key)
    if parse_scopes(record.scopes) != frozenset(Scope):
        await store.keys.grant_scopes(record.id, Scope)
    return {"clusterId": cluster_id, "keyFile": str(key_file)}


def _read(key_file: Path) -> str:
    return key_file.read_text().strip() if key_file.exists() else ""


def _write_private(path: Path, key: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")


async def _create(store: Store, args: argparse.Namespace) -> dict[str, object]:
    cluster_id = await store.keys.ensure_cluster(args.cluster)
    scopes = _scopes(args.scopes)
    record, key = await store.keys.create(
        cluster_id, args.name, scopes=scopes, created_by="command line"
    )
    return {
        "clusterId": cluster_id,
        "id": record.id,
        "name": record.name,
        "scopes": record.scopes.split(","),
        "key": key,
    }


def _scopes(text: str) -> frozenset[Scope]:
    """Parse scopes. Raises `ValueError` for an unknown scope."""
    known = ", ".join(Scope)
    names = [word.strip() for word in text.split(",") if word.strip()]
    if not names or not {*names} <= {*Scope}:
        raise ValueError(f"--scopes accepts {known}, separated by commas, not {text!r}")
    return frozenset(Scope(word) for word in names)


async def _list(store: Store, args: argparse.Namespace) -> list[dict[str, object]]:
    cluster_id = await store.keys.ensure_cluster(args.cluster)
    return [
        {
            "id": record.id,
            "name": record.name,
            "scopes": record.scopes.split(","),
            "createdAt": record.created_at,
            "revokedAt": record.revoked_at,
        }
        for record in await store.keys.all_of(cluster_id)
    ]


async def _revoke(store: Store, args: argparse.Namespace) -> dict[str, object]:
    cluster_id = await store.keys.ensure_cluster(args.cluster)
    await store.keys.revoke(cluster_id, args.id)
    return {"id": args.id, "revoked": True}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m api.keys", description=__doc__)
    parser.add_argument("--cluster", default="default", help="name of the cluster (tenant)")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("ensure", "create a key unless the file holds a valid one"),
        ("create", "create a key and print it"),
        ("list", "list the cluster's keys"),
        ("revoke", "make a key worthless"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--cluster", default=argparse.SUPPRESS, help="name of the cluster")
        if name in {"ensure", "create"}:
            command.add_argument("--name", default="default", help="what the key is for")
        if name == "create":
            command.add_argument(
                "--scopes",
                default=",".join(sorted(DEFAULT_SCOPES)),
                help=f"scopes of the key: {', '.join(Scope)}; separated by commas",
            )
        if name == "ensure":
            command.add_argument("--key-file", type=Path, required=True)
        if name == "revoke":
            command.add_argument("id", help="the key's id, as listed")
    return parser


async def _main(args: argparse.Namespace) -> None:
    settings = Settings()
    store = await open_store(
        settings.store_url, listen_url=settings.database_listen_url, plain_sql=settings.plain_sql
    )
    try:
        match args.command:
            case "ensure":
                answer: object = await ensure(store, args.cluster, args.name, args.key_file)
            case "create":
                answer = await _create(store, args)
            case "list":
                answer = await _list(store, args)
            case _:
                answer = await _revoke(store, args)
    finally:
        await store.aclose()
    sys.stdout.write(json.dumps(answer) + "\n")


def main() -> int:
    """Run the command line; returns 1, with one line on stderr, if it fails."""
    try:
        asyncio.run(_main(_parser().parse_args()))
    except (OrchestratorError, OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
