"""Stands for the command that makes the key: writes the file once, answers in one line."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    options = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    if refusal := os.environ.get("STANDIN_KEYS_FAIL"):
        sys.exit(refusal)
    key_file = Path(options["--key-file"])
    if not key_file.exists():
        descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(f"sk_standin_{os.getpid()}\n")
    print(json.dumps({"clusterId": options["--cluster"], "keyFile": str(key_file)}))  # noqa: T201


main(sys.argv[1:])
