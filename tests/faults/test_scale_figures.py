"""The figures of what is long or many are right, and what is not flat is called so."""

from __future__ import annotations

import pytest

from tests.faults.scenarios.scale_figures import Sample, Stretch, milliseconds, percentile, stretch


def _samples(*, last_pause: float = 0.1, last_cpu: float = 0.03, mib: float = 0.0) -> list[Sample]:
    """A hundred things, one look each; the last twenty may take longer and more."""
    looks, at, cpu = list[Sample](), 0.0, 0.0
    for done in range(101):
        looks.append(Sample(done, at, {"api": cpu}, {"api": 100 + (mib if done > 80 else 0)}))
        is_late = done >= 80
        at += last_pause if is_late else 0.1
        cpu += last_cpu if is_late else 0.03
    return looks


def _broken(found: Stretch) -> list[str]:
    return [one.text for one in found.broken("r", most=1.15, most_mib=20)]


def test_the_first_and_the_last_are_compared() -> None:
    found = stretch(_samples(last_pause=0.2, last_cpu=0.06, mib=30), 20)
    assert found.first.ms == pytest.approx(100)
    assert found.last.ms == pytest.approx(200)
    assert found.first.cpu["api"] == pytest.approx(30)
    assert found.dearer == pytest.approx(2)
    assert found.grown == {"api": 30}
    assert "100.0 -> 200.0 ms (2.00x)" in found.text()


def test_what_is_flat_breaks_nothing() -> None:
    assert _broken(stretch(_samples(), 20)) == []


@pytest.mark.parametrize(
    ("looks", "words"),
    [
        (_samples(last_pause=0.12), "the last cost 1.20 times the time of the first"),
        (_samples(last_cpu=0.036), "the last cost 1.20 times the processor of the first"),
        (_samples(mib=21), "api grew by 21 MiB"),
    ],
)
def test_what_grows_is_a_violation(looks: list[Sample], words: str) -> None:
    assert _broken(stretch(looks, 20)) == [words]


def test_percentiles() -> None:
    hundredths = [number / 100 for number in range(101)]
    assert percentile(hundredths, 95) == pytest.approx(0.95)
    assert milliseconds(hundredths) == "p50 500, p95 950, most 1000 ms"
