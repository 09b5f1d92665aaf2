"""A peer's own virtual environment, and its packages from npm, under `.cache/peers/`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.errors import PeerError
from tests.conformance.inferable.node import install as install_node_packages

FOLDER = Path(__file__).parent
CACHE = FOLDER.parents[1] / ".cache" / "peers"
_INSTALL_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Environment:
    """What a peer's scripts run in."""

    python: Path
    node_modules: Path | None = None


def make_environment(folder: Path) -> Environment:
    """The environment with what a peer's folder pins; made unless it is there. Raises `PeerError`.

    Needs the registries the first time, and some minutes. A change of the pins or of Python makes it anew.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    place = CACHE / folder.name
    requirements = folder / "requirements.txt"
    digest = hashlib.sha256(f"{sys.version}\n{requirements.read_text()}".encode()).hexdigest()
    made = place / ".ready"
    with _alone(place):
        if not made.exists() or made.read_text() != digest:
            shutil.rmtree(place, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(place)])
            quietly = ("--quiet", "--no-input", "--no-compile", "--disable-pip-version-check")
            pip = [str(place / "bin" / "python"), "-m", "pip", "install", *quietly]
            _run([*pip, "-r", str(requirements)])
            made.write_text(digest)
        return Environment(place / "bin" / "python", _node_modules(folder))


def _node_modules(folder: Path) -> Path | None:
    manifest = folder / "package.json"
    if not manifest.exists():
        return None
    try:
        return install_node_packages(manifest, CACHE / "node")
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        raise PeerError(f"does not install: {_last_line(str(error))}") from error


@contextmanager
def _alone(place: Path) -> Generator[None]:
    """Two benchmarks at once make an environment one after the other."""
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str]) -> None:
    try:
        subprocess.run(
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_INSTALL_SECONDS,
            env={**os.environ, "PIP_NO_INPUT": "1"},
            text=True,
        )
    except subprocess.CalledProcessError as error:
        raise PeerError(f"does not install: {_last_line(error.stdout)}") from error
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"does not install within {_INSTALL_SECONDS} s") from error


def _last_line(text: str) -> str:
    lines = text.strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if line.startswith("ERROR")), lines[-1])[:300]
