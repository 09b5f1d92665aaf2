"""What `make bench` makes of its samples, and that the pages show what it measured."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.report import growth
from benchmarks.report.figures import Figure, Report, quantile
from benchmarks.report.growth import Costs
from benchmarks.report.pages import BEGIN, END, GROWTH, MEASURED, README, readme_part, replaced
from benchmarks.report.targets import verdict
from benchmarks.sections.interleaving import in_turn
from benchmarks.sides.sides import Side


class _Side:
    """Takes a second more each time; fails the n-th time."""

    def __init__(self, name: str, seconds: float, fails_at: int = 0) -> None:
        self.name = name
        self._seconds = seconds
        self._fails_at = fails_at
        self.plays = 0

    async def play(self, steps: int, runs: int = 1) -> float:
        self.plays += 1
        if self.plays == self._fails_at:
            raise RuntimeError("it broke")
        return self._seconds + self.plays


async def _play(side: Side) -> float:
    return await side.play(1)


def _report(**figures: float) -> Report:
    rows = [Figure("s", name, "postgresql", value) for name, value in figures.items()]
    return Report({"processors": 2}, rows)


@pytest.mark.parametrize(
    ("samples", "share", "value"),
    [
        ([3, 1, 2], 0.5, 2),
        ([1, 2, 3, 4], 0.5, 2.5),
        (list(range(1, 101)), 0.95, 95),
        (list(range(1, 21)), 0.95, 19),
        ([7], 0.95, 7),
        ([1, 2], 0.95, 2),
    ],
)
def test_a_quantile_is_a_sample_that_so_many_do_not_exceed(
    samples: list[float], share: float, value: float
) -> None:
    assert quantile(samples, share) == value


def test_a_ratio_is_computed_round_by_round(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report({})
    report.sheet("s", "sqlite").ratio("step_ratio", [2, 30, 4], [1, 10, 4], "perdure / raw")
    (row,) = report.rows
    assert (row.value, row.low, row.high, row.samples) == (2, 1, 3, 3)
    assert Figure(**json.loads(capsys.readouterr().out)) == row


@pytest.mark.parametrize(
    ("figure", "value", "word"),
    [
        ("step_ratio", 1.4, "aim"),
        ("step_ratio", 1.9, "must"),
        ("step_ratio", 1.91, "MISSED"),
        ("hosted_rate_ratio_50", 1.3, "aim"),
        ("hosted_rate_ratio_50", 1.2, "aim missed"),
        ("hosted_to_pydantic_ai_temporal_rate_50", 0.9, "MISSED"),
        ("raw_ms_per_step_20", 1e9, ""),
    ],
)
def test_a_figure_is_held_against_its_target(figure: str, value: float, word: str) -> None:
    assert verdict(figure, value).word == word


async def test_a_side_that_fails_is_left_out_and_the_others_keep_their_rounds() -> None:
    good, bad = _Side("good", 0), _Side("bad", 10, fails_at=2)
    taken = await in_turn([good, bad], _play, rounds=3)
    assert taken.of == {"good": [1, 2, 3]}
    assert taken.failed == {"bad": "RuntimeError: it broke"}
    assert bad.plays == 2


async def test_no_round_begins_when_the_time_is_over() -> None:
    taken = await in_turn([_Side("a", 0)], _play, rounds=9, seconds=0)
    assert taken.of == {"a": [1]}


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    report = Report(
        {"processors": 2}, [Figure("s", "f", "sqlite", 1.5, 1, 2, "ms", 3)], {"raw": "x"}
    )
    report.save(tmp_path / "figures")
    assert Report.load(tmp_path / "figures") == report


def test_sections_measured_again_replace_the_old_ones_and_no_others() -> None:
    old = Report({}, [Figure("a", "x", "sqlite", 1), Figure("b", "y", "sqlite", 2)])
    new = Report({}, [Figure("a", "x", "sqlite", 3), Figure("a", "x", "postgresql", 4)])
    values = [(row.figure, row.store, row.value) for row in old.with_new(new).rows]
    assert values == [("x", "sqlite", 3), ("x", "postgresql", 4), ("y", "sqlite", 2)]


def test_needs_are_costs_times_steps() -> None:
    one = Costs(
        _report(
            cpu_ms_per_step_api=12,
            cpu_ms_per_step_workers=6,
            temporal_store_writes_per_step=8,
            temporal_actions_per_step=2,
            temporal_actions_per_step_thinking=4,
        ),
        "",
    )
    assert growth.api_processes(one, 100) == 2  # 1.2 cores, of each of which 0.6 may be used
    assert growth.worker_processes(one, 100) == 3  # 500 model calls at once, 200 each
    assert growth.worker_processes(one, 1) == 1
    assert growth.shards(one, 10_000) == 1_600  # 80,000 writes a second of 5 ms, a quarter busy
    assert growth.actions_per_month(one, 1) == pytest.approx(10.368)  # with a model that thinks
    assert growth.price_per_month(one, 1) == pytest.approx(250 + 225 + 0.368 * 40)
    assert growth.resource_units(one, 10_000) == 80


def test_what_was_not_measured_is_a_dash() -> None:
    one = Costs(_report(), "")
    assert math.isnan(growth.price_per_month(one, 1))
    assert math.isnan(growth.shards(one, 1))
    assert "| rows inserted | – | – |" in growth.growth_tables(_report())


def test_a_page_without_its_marks_is_refused() -> None:
    assert replaced(f"a{BEGIN}old{END}b", "new") == f"a{BEGIN}\n\nnew\n\n{END}b"
    with pytest.raises(ValueError, match="unpack"):
        replaced("no marks", "new")


@pytest.mark.parametrize(("page", "made"), [(README, readme_part), (GROWTH, growth.growth_tables)])
def test_the_pages_show_what_was_measured(page: Path, made: Callable[[Report], str]) -> None:
    text = page.read_text()
    assert text == replaced(text, made(Report.load(MEASURED)))


def test_a_target_without_a_figure_is_named() -> None:
    assert "step_ratio" in _report(step_ratio_hosted=1).unmeasured()
    assert "step_ratio" not in _report(step_ratio=99).unmeasured()
    failed = Report({}, [Figure("s", "step_ratio", "sqlite", None, note="why")])
    assert "step_ratio" in failed.unmeasured()
