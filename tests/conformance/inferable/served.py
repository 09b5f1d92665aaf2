"""What the page on the Inferable manner says is served."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "inferable.md"
_ROW = re.compile(r"\| (⊤ )?(GET|POST|PUT|DELETE) `([^`]+)` \|(?: ([\d.]+) \|)? (yes|no) \|")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A row of a table of endpoints."""

    method: str
    path: str
    version: str
    served: bool

    @override
    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def endpoints() -> list[Endpoint]:
    """Every row; those of the version that is proved have no version of their own."""
    return [
        Endpoint(
            method,
            path if at_top else f"/clusters/:clusterId{path}",
            version or "",
            served == "yes",
        )
        for at_top, method, path, version, served in _ROW.findall(PAGE.read_text())
    ]
