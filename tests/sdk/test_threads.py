from __future__ import annotations

import subprocess
import sys

_EATER = """
import asyncio, resource
from perdure.threads import in_daemon_thread

resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

def eat():
    eaten = []
    while True:
        eaten.append(bytearray(1 << 16))

async def main():
    try:
        await asyncio.wait_for(in_daemon_thread(eat), 30)
    except MemoryError as error:
        print(len(await in_daemon_thread(lambda: bytearray(1 << 28))), error.__traceback__ is None)

asyncio.run(main())
"""


def test_a_function_that_ate_all_memory_leaves_it_to_whoever_comes_next() -> None:
    """What it raised is kept until it was answered; what it had eaten is not."""
    said = subprocess.run(
        [sys.executable, "-c", _EATER], capture_output=True, text=True, check=True, timeout=50
    )
    assert said.stdout.split() == [str(1 << 28), "False"]
    assert not said.stderr
