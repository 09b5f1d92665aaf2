"""`perdure keys`: the cluster's API keys."""

from __future__ import annotations

from typing import Annotated

import typer

from perdure import Perdure, Scope
from perdure.cli.output import plain_errors, write_result, write_status

keys = typer.Typer(no_args_is_help=True, help="List, create and revoke API keys.")


@keys.command("list")
def list_keys() -> None:
    """Show the keys without their values."""
    with plain_errors(), Perdure() as client:
        for key in client.api_keys.list():
            scopes = ",".join(scope.value for scope in key.scopes)
            write_result(
                f"{key.id}  {'revoked' if key.revoked_at else 'valid':<7}  {scopes}  {key.name}"
            )


@keys.command("create")
def create_key(
    name: str,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="May be repeated; default: those of the key in use.")
    ] = None,
) -> None:
    """Create a key and print it. Its value cannot be shown again."""
    with plain_errors(), Perdure() as client:
        write_result(client.api_keys.create(name, scope).key)


@keys.command("revoke")
def revoke_key(key_id: str) -> None:
    """Revoke a key. It stops working within 2 seconds."""
    with plain_errors(), Perdure() as client:
        client.api_keys.revoke(key_id)
        write_status(f"{key_id} is revoked.")
