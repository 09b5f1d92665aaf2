"""The few words of curl that the documentation uses, as a request: machines without curl can check the pages too."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2


@dataclass(frozen=True, slots=True)
class Command:
    """A request as curl would send it."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str | None

    def send(self) -> httpx2.Response:
        """The answer, read to its end."""
        with httpx2.Client(timeout=60, trust_env=False) as client:
            return client.request(
                self.method, self.url, headers=dict(self.headers), content=self.body
            )


def read_command(text: str, environment: Mapping[str, str]) -> Command:
    """Read one command line. Raises ValueError for what is no curl, KeyError for an unknown variable."""
    joined = text.replace("\\\n", " ")
    program, *words = shlex.split(joined)
    if program != "curl":
        raise ValueError(f"{program} is not curl")
    given = _parser().parse_args([_filled(word, environment) for word in words])
    headers = dict(header.split(": ", 1) for header in given.header)
    if given.json is not None:
        headers |= {"Content-Type": "application/json", "Accept": "application/json"}
    method = given.request or ("GET" if given.json is None else "POST")
    return Command(method, given.url, headers, given.json)


def _filled(word: str, environment: Mapping[str, str]) -> str:
    return re.sub(r"\$([A-Z_]+)", lambda name: environment[name[1]], word)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="curl", exit_on_error=False)
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-N", action="store_true")
    parser.add_argument("-X", dest="request")
    parser.add_argument("-H", dest="header", action="append", default=[])
    parser.add_argument("--json")
    parser.add_argument("url")
    return parser
