"""How long a run with one call takes through the npm client: `python -m tests.conformance.inferable.latency`.

A stack of its own, a scripted model, fifteen runs. On an idle machine the median stays under 250 ms.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

from tests.conformance.inferable.conftest import HERE, client_of
from tests.conformance.inferable.node import install
from tests.support.running_stack import REPOSITORY, start_world


def main() -> None:
    """Print the figures."""
    modules = install(HERE / "package.json", REPOSITORY / ".cache")
    with tempfile.TemporaryDirectory() as folder:
        world = start_world(Path(folder))
        try:
            found: list[int] = client_of(world, modules).result_of("latency")
        finally:
            world.stop()
    median = statistics.median(found)
    load = os.getloadavg()[0]
    sys.stdout.write(
        f"median {median} ms, fastest {min(found)}, slowest {max(found)}, load {load:.1f}\n"
    )


if __name__ == "__main__":
    main()
