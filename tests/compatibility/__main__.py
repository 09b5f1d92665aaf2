"""Compare the code with the frozen baseline, and freeze additions: `python -m tests.compatibility [--add]`."""

from __future__ import annotations

import argparse
import sys

from tests.compatibility.baseline import SECTIONS, frozen_file, read_baseline
from tests.compatibility.comparison import Json, as_text, breaking_changes, with_additions


def main() -> int:
    """Print breaking changes (exit code 1). With `--add`, freeze the additions of sections without breaking changes."""
    parser = argparse.ArgumentParser(prog="python -m tests.compatibility", description=__doc__)
    parser.add_argument(
        "--add",
        action="store_true",
        help="freeze additions; never changes or removes an entry, and skips sections with breaking changes",
    )
    asked = parser.parse_args()
    broken = [line for section in SECTIONS for line in _compare(section, add=asked.add)]
    sys.stdout.writelines(f"{line}\n" for line in broken)
    return 1 if broken else 0


def _compare(section: str, *, add: bool) -> list[str]:
    is_new = not frozen_file(section).exists()
    frozen: Json = {} if is_new else read_baseline(section)
    found = SECTIONS[section](frozen)
    broken = [] if is_new else [f"{section}: {line}" for line in breaking_changes(frozen, found)]
    if add and not broken:
        frozen_file(section).write_text(as_text(with_additions(frozen, found)))
    return broken


if __name__ == "__main__":
    sys.exit(main())
