"""The pages that show measured figures: `python -m benchmarks.report.pages` brings them up to date from `measured.jsonl`.

What stands between the two marks of a page is made here and nowhere else.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.report.figures import Report
from benchmarks.report.growth import growth_tables

_HERE = Path(__file__).parents[1]
MEASURED = _HERE / "report" / "measured.jsonl"
README = _HERE / "README.md"
GROWTH = _HERE.parent / "docs" / "operate" / "growth.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def readme_part(report: Report) -> str:
    """The machine in a sentence, and the table of all figures."""
    said = report.machine
    machine = (
        f"{said['processors']:g} cores, Python {said['python']}, load average {said['load_before']:g} before,"
        f" {said['minutes']:g} minutes in all."
    )
    return "\n\n".join(filter(None, (machine, report.table(), report.sides())))


def replaced(page: str, part: str) -> str:
    """The page with another text between its marks. Raises ValueError where a mark is missing."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{part}\n\n{END}{after}"


def rewrite_pages(report: Report) -> None:
    """Bring the pages up to date."""
    for path, part in ((README, readme_part(report)), (GROWTH, growth_tables(report))):
        path.write_text(replaced(path.read_text(), part))


if __name__ == "__main__":
    rewrite_pages(Report.load(MEASURED))
