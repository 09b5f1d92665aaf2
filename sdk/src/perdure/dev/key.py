"""The key of the local stack: made once by the server's own command, kept in the state folder."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from perdure.dev.child import Child, start
from perdure.dev.errors import NotReadyError
from perdure.dev.state import StateFolder


class KeyGiven(BaseModel):
    """What the command answers: whose key it is, and where it stands."""

    model_config = ConfigDict(alias_generator=to_camel)

    cluster_id: str
    key_file: Path

    def read(self) -> str:
        return self.key_file.read_text().strip()


async def ensure_key(
    command: tuple[str, ...], state: StateFolder, environment: dict[str, str]
) -> KeyGiven:
    """Have the store created or migrated, and the key made if there is none that counts.

    Raises `NotReadyError` with the last lines the command wrote.
    """
    child = Child(
        name="keys",
        argv=(
            *command,
            *("--cluster", "default", "--name", "dev", "--key-file", str(state.key_file)),
        ),
        environment=environment,
    )
    with state.open_log(child.name) as log:
        process = await start(child, log, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    try:
        return KeyGiven.model_validate_json(output)
    except ValidationError as error:
        raise NotReadyError(
            "The store could not be opened, or no API key be made in it. Its log:"
            f" {state.log_file(child.name)}",
            state.log_tail(child.name),
        ) from error
