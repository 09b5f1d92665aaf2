from __future__ import annotations

import subprocess
import sys

import pytest

_EATER = """
import asyncio, resource
from perdure.sync.loop_thread import in_daemon_thread

resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

def eat():
    eaten = []
    while True:
        eaten.append(bytearray(1 << 16))

def nibble():
    return [bytearray(1 << 16) for _ in range(1 << 10)]

async def main():
    try:
        await asyncio.wait_for(in_daemon_thread(eat), 30)
    except MemoryError as error:
        print(len(await in_daemon_thread(nibble)), error.__traceback__ is None)

asyncio.run(main())
"""


@pytest.mark.usefixtures("processes")
def test_a_function_that_ate_all_memory_leaves_it_to_whoever_comes_next() -> None:
    """What it raised is kept until it was answered; what it had eaten is not.

    Whoever comes next asks for pieces of the same size: the C library may keep the address space of what was
    freed for such pieces, so one large piece would ask for what nobody promises.
    """
    said = subprocess.run(
        [sys.executable, "-c", _EATER], capture_output=True, text=True, check=False, timeout=50
    )
    assert not said.stderr
    assert said.stdout.split() == [str(1 << 10), "False"]
