"""The calculator: exact where fractions are, and never longer at work than a reply may wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from orchestrator.llm.calculator import (
    MAX_EXPRESSION_CHARACTERS,
    MAX_NUMBER_DIGITS,
    CalculationError,
    calculate,
)

Sum = tuple[str, Fraction]
"""An expression and its value, worked out by fractions."""


def _decimal(text: str) -> Sum:
    return text, Fraction(text)


def _joined(parts: tuple[Sum, str, Sum]) -> Sum:
    (left, first), operator, (right, second) = parts
    if second == 0 and operator not in {"+", "-", "*"}:
        return left, first
    return f"({left} {operator} {right})", Fraction(OPERATIONS[operator](first, second))


OPERATIONS: dict[str, Callable[[Fraction, Fraction], Fraction | int]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "//": lambda left, right: left // right,
    "%": lambda left, right: left % right,
}
numbers = st.from_regex(r"(0|[1-9][0-9]{0,5})(\.[0-9]{1,4})?", fullmatch=True).map(_decimal)
operators = st.sampled_from(sorted(OPERATIONS))
sums = st.recursive(
    numbers, lambda inner: st.tuples(inner, operators, inner).map(_joined), max_leaves=12
)


@given(sums)
def test_it_agrees_with_fractions(one: Sum) -> None:
    expression, expected = one
    if len(expression) > MAX_EXPRESSION_CHARACTERS:
        return
    said = calculate(expression)
    if said.endswith(" (rounded)"):
        got = Fraction(said.removesuffix(" (rounded)"))
        assert expected != 0
        assert abs(got - expected) <= abs(expected) / 10**27
    else:
        assert Fraction(said) == expected


@given(st.text("0123456789.+-*/%()^eE, _absqrtminound[]", max_size=60))
def test_whatever_is_written_it_answers_or_refuses_at_once(expression: str) -> None:
    began = time.perf_counter()
    try:
        said = calculate(expression)
    except CalculationError as error:
        said = str(error)
    assert said
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("0.1 + 0.2", "0.3"),
        ("19.99 * 3 - 5", "54.97"),
        ("1 / 3", "0.3333333333333333333333333333 (rounded)"),
        ("2 / 3 * 3", "2"),
        ("2^10", "1024"),
        ("2 ** -2", "0.25"),
        ("-2 ** 2", "-4"),
        ("7 // -2", "-4"),
        ("-7 % 3", "2"),
        ("sqrt(16 / 25)", "0.8"),
        ("sqrt(2)", "1.414213562373095048801688724 (rounded)"),
        ("27 ** (1/3)", "3 (rounded)"),
        ("round(2.5)", "3"),
        ("round(-2.675, 2)", "-2.68"),
        ("round(1234, -2)", "1200"),
        ("floor(-1.5) + ceil(1.2)", "0"),
        ("abs(-3) + max(1, 2) + min(4, 5) + sum([1, 2, 3])", "15"),
        ("1_000 × 3 ÷ 2", "1500"),
        ("5 − 7", "-2"),
        ("1e-30", "0.000000000000000000000000000001"),
        ("1e999 / 1e998", "10"),
        ("0.5e3", "500"),
        ("\n 1 +\n 1 ", "2"),
    ],
)
def test_values(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    ("bomb", "says"),
    [
        ("9**9**9", "digits"),
        ("9**9**9**9**9", "digits"),
        ("10**1000", "digits"),
        ("(10**500)**2.5", "digits"),
        ("2**-3400.5", "digits"),
        ("1e1000000000", "digits"),
        ("1e-900 * 1e-900", "digits"),
        ("9" * 400 + "**3", "digits"),
        ("(" * 400 + "1" + ")" * 400, "not an arithmetic"),
        ("-" * 900 + "1", "nested deeper"),
        ("abs(" * 60 + "1" + ")" * 60, "nested deeper"),
        ("1" * (MAX_EXPRESSION_CHARACTERS + 1), "at most 1000"),
        ("round(1, 1e900)", "whole number of digits"),
    ],
)
def test_bombs_are_refused_before_they_cost_anything(bomb: str, says: str) -> None:
    began = time.perf_counter()
    with pytest.raises(CalculationError, match=says):
        calculate(bomb)
    assert time.perf_counter() - began < 1.0


def test_a_long_chain_is_no_deep_one() -> None:
    assert calculate("+".join(["1"] * 500)) == "500"


def test_the_longest_number_is_written_whole() -> None:
    assert len(calculate(f"10**{MAX_NUMBER_DIGITS - 1}")) == MAX_NUMBER_DIGITS


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "empty"),
        ("1 / 0", "Division by zero"),
        ("5 % 0", "Division by zero"),
        ("0 ** -1", "Division by zero"),
        ("sqrt(-1)", "no square root"),
        ("(-8) ** (1/3)", "negative number"),
        ("1,000 + 1", "not arithmetic"),
        ("1 2", "not an arithmetic"),
        ("(1", "not an arithmetic"),
        ("__import__('os')", "Only numbers"),
        ("x + 1", "'x' is not arithmetic"),
        ("eval(1)", "not arithmetic"),
        ("abs.real(1)", "Only numbers"),
        ("(lambda: 1)()", "Only numbers"),
        ("1 if 1 else 2", "not arithmetic"),
        ("not not 1", "not arithmetic"),
        ("0x10", "Only numbers"),
        ("1j", "Only numbers"),
        ("1 < 2", "Only numbers"),
        ("abs(1, 2)", "does not take 2"),
        ("min()", "does not take 0"),
        ("max([])", "does not take 0"),
        ("round(1, 0.5)", "whole number of digits"),
        ("1 @ 2", "Only numbers"),
        ("\0", "Only numbers"),
        ("1 + ¾", "Only numbers"),
    ],
)
def test_what_is_no_arithmetic_is_refused_with_a_reason(expression: str, says: str) -> None:
    with pytest.raises(CalculationError, match=says):
        calculate(expression)
