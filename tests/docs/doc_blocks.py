"""The fenced blocks of the documentation, and what their first lines ask to be done with them.

    ```python                 compiled
    ```python runnable        run as a script of its own against a live stack
    ```python pytest          run by pytest against a live stack
    ```python file=NAME       written to a file that the stack and the scripts can import
    ```text after a script    its output
    ```bash with curl         sent as a request
    ```json after a curl      the answer's fields

In an output or an answer `…` stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its page, its line there, its language, the words after that, its text."""

    page: str
    line: int
    language: str
    options: tuple[str, ...]
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file_name(self) -> str | None:
        """Where `file=` says that the block goes."""
        given = [word.removeprefix("file=") for word in self.options if word.startswith("file=")]
        return given[0] if given else None


def pages() -> list[Path]:
    """The README and everything under `docs/`."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    text = page.read_text()
    for found in _FENCE.finditer(text):
        language, *words = found["info"].split() or [""]
        yield Block(
            page=str(page.relative_to(REPOSITORY)),
            line=text.count("\n", 0, found.start()) + 1,
            language=language,
            options=tuple(words),
            text=found["text"],
        )


def all_blocks() -> list[Block]:
    """The blocks of all pages."""
    return [block for page in pages() for block in blocks_of(page)]


def with_next(wanted: str, word: str = "") -> list[tuple[Block, Block | None]]:
    """Blocks of a language (with that word), each with the block that comes right after it on its page."""
    blocks = all_blocks()
    following = [*blocks[1:], None]
    return [
        (block, after if after is not None and after.page == block.page else None)
        for block, after in zip(blocks, following, strict=True)
        if block.language == wanted and (not word or word in block.options)
    ]


def fits(documented: str, real: str) -> bool:
    """Whether the text is as documented, `…` in place of anything."""
    parts = (re.escape(part) for part in documented.strip().split("…"))
    return re.fullmatch(".*".join(parts), real.strip(), re.DOTALL) is not None


def misfits(documented: object, real: object, where: str = "") -> list[str]:
    """Where a JSON answer is not as documented; it may have more fields than the documentation shows."""
    if isinstance(documented, str) and isinstance(real, str) and fits(documented, real):
        return []
    if documented == "…":
        return []
    if isinstance(documented, dict) and isinstance(real, dict):
        return [
            problem
            for key, value in documented.items()  # pyright: ignore[reportUnknownVariableType]
            for problem in (
                misfits(value, real[key], f"{where}/{key}")  # pyright: ignore[reportUnknownArgumentType]
                if key in real
                else [f"{where}/{key} is not there"]
            )
        ]
    if isinstance(documented, list) and isinstance(real, list):
        return _misfits_of_lists(documented, real, where)  # pyright: ignore[reportUnknownArgumentType]
    return [] if documented == real else [f"{where} is {real!r}, not {documented!r}"]


def _misfits_of_lists(documented: list[object], real: list[object], where: str) -> list[str]:
    if documented and documented[-1] == "…":
        documented, real = documented[:-1], real[: len(documented) - 1]
    if len(documented) != len(real):
        return [f"{where} has {len(real)} items, not {len(documented)}"]
    return [
        problem
        for index, (wanted, found) in enumerate(zip(documented, real, strict=True))
        for problem in misfits(wanted, found, f"{where}/{index}")
    ]
