"""The command `perdure`. It needs the extra `cli`; the library does not."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command line; exits 2 with one line when the extra is not installed."""
    if find_spec("typer") is None or find_spec("rich") is None:
        sys.stderr.write("The command line needs two more packages: pip install 'perdure[cli]'\n")
        sys.exit(2)
    from perdure.cli.app import build_app  # noqa: PLC0415 - only after the check

    build_app(next(iter(sys.argv[1:]), None))()


if __name__ == "__main__":
    main()
