"""Arithmetic for models: evaluates one expression exactly. Nothing is executed, and everything is bounded.

Numbers are exact fractions, so `0.1 + 0.2` is 0.3; only roots and fractional powers are rounded. Limits are checked
before the computation: no accepted expression takes longer than a few milliseconds.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import (
    ROUND_HALF_UP,
    Context,
    Decimal,
    DecimalException,
    DivisionByZero,
    Overflow,
    Underflow,
)
from fractions import Fraction
from types import MappingProxyType

MAX_EXPRESSION_CHARACTERS = 1_000
MAX_NUMBER_DIGITS = 1_000
"""Digits of a number before or after the point, intermediate results included."""
MAX_EXPRESSION_DEPTH = 50
"""Nesting of parentheses, signs and functions. A chain such as `1 + 2 + 3` counts as one."""
_SHOWN_DIGITS = 28
"""Significant digits of a value with infinitely many, or very many, digits."""
_MAX_DECIMALS = 100
"""Decimals of a value that is shown completely."""

_MAX_BITS = math.floor(MAX_NUMBER_DIGITS * math.log2(10))
_TOKENS = re.compile(
    r"(?:\s+|(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?(?![\w.])|[A-Za-z]\w*|[-+*/%(),\[\]])*",
    re.ASCII,
)
_SPELLINGS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "**"})
_ROUNDING = Context(
    prec=_SHOWN_DIGITS + 22,
    Emin=-MAX_NUMBER_DIGITS,
    Emax=MAX_NUMBER_DIGITS,
    rounding=ROUND_HALF_UP,
    traps=[DivisionByZero, Overflow, Underflow],
)
_SHOWING = Context(prec=_SHOWN_DIGITS, rounding=ROUND_HALF_UP)

Number = Fraction


class CalculationError(Exception):
    """An expression without a value; the text gives the reason, for the model."""


def calculate(expression: str) -> str:
    """The value of an arithmetic expression in digits, followed by "(rounded)" if it is not exact.

    Supports + - * / // % ** (and ^), parentheses, and abs, ceil, floor, max, min, round, sqrt and sum. Raises
    `CalculationError`.
    """
    if len(expression) > MAX_EXPRESSION_CHARACTERS:
        raise CalculationError(
            f"The expression has {len(expression)} characters; at most {MAX_EXPRESSION_CHARACTERS} are taken."
        )
    sheet = _Sheet(" ".join(expression.translate(_SPELLINGS).split()))
    return _written(sheet.value(), exact=sheet.exact)


class _Sheet:
    """The evaluation of one expression. `exact` becomes false when a value is rounded."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.exact = True

    def value(self) -> Number:
        if not self._text:
            raise CalculationError("The expression is empty.")
        if not _TOKENS.fullmatch(self._text):
            raise CalculationError(
                "Only numbers, + - * / // % **, parentheses and the functions "
                f"{', '.join(sorted(_FUNCTIONS))} are taken, and numbers without separators of thousands."
            )
        try:
            tree = ast.parse(self._text, mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            raise CalculationError("This is not an arithmetic expression.") from None
        return self._work(tree, 0)

    def _work(self, node: ast.expr, depth: int) -> Number:
        if depth > MAX_EXPRESSION_DEPTH:
            raise CalculationError(f"The expression is nested deeper than {MAX_EXPRESSION_DEPTH}.")
        match node:
            case ast.BinOp():
                return self._chain(node, depth)
            case ast.UnaryOp(op=ast.UAdd() | ast.USub()):
                operand = self._work(node.operand, depth + 1)
                return -operand if isinstance(node.op, ast.USub) else operand
            case ast.Constant():
                return self._number(node)
            case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS:
                return self._call(name, node.args, depth)
            case _:
                written = self._text[node.col_offset : node.end_col_offset]
                raise CalculationError(f"{written[:60]!r} is not arithmetic.")

    def _chain(self, node: ast.BinOp, depth: int) -> Number:
        """A left-associative chain of operators, evaluated from its left end without recursion."""
        links: list[ast.BinOp] = []
        first: ast.expr = node
        while isinstance(first, ast.BinOp):
            links.append(first)
            first = first.left
        value = self._work(first, depth + 1)
        for link in reversed(links):
            value = self._apply(link.op, value, self._work(link.right, depth + 1))
        return value

    def _apply(self, op: ast.operator, left: Number, right: Number) -> Number:
        if isinstance(op, ast.Pow):
            return self._power(left, right)
        operation = _OPERATORS.get(type(op))
        if operation is None:
            raise CalculationError("An operator other than + - * / // % ** was used.")
        try:
            return _bounded(operation(left, right))
        except ZeroDivisionError:
            raise CalculationError("Division by zero.") from None

    def _number(self, node: ast.Constant) -> Number:
        """The number as written: `ast` would parse 0.1 as a float."""
        written = Decimal(self._text[node.col_offset : node.end_col_offset].replace("_", ""))
        if abs(written.adjusted()) > MAX_NUMBER_DIGITS:
            raise _too_long()
        return _bounded(Fraction(written))

    def _power(self, base: Number, exponent: Number) -> Number:
        if exponent.denominator != 1:
            return self._broken_power(base, exponent)
        times = int(exponent)
        if base == 0 and times < 0:
            raise CalculationError("Division by zero.")
        size = max(base.numerator.bit_length(), base.denominator.bit_length()) - 1
        if size * abs(times) > _MAX_BITS:
            raise _too_long()
        return _bounded(Fraction(base**times))

    def _broken_power(self, base: Number, exponent: Number) -> Number:
        if base < 0:
            raise CalculationError("A negative number has no power with a broken exponent.")
        if exponent == Fraction(1, 2):
            return self._root(base)
        self.exact = False
        return _from_decimal(lambda: _ROUNDING.power(_to_decimal(base), _to_decimal(exponent)))

    def _root(self, value: Number) -> Number:
        if value < 0:
            raise CalculationError("A negative number has no square root.")
        above, below = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if above * above == value.numerator and below * below == value.denominator:
            return Fraction(above, below)
        self.exact = False
        return _from_decimal(lambda: _ROUNDING.sqrt(_to_decimal(value)))

    def _call(self, name: str, arguments: Sequence[ast.expr], depth: int) -> Number:
        fewest, most = _FUNCTIONS[name]
        if name in {"max", "min", "sum"} and len(arguments) == 1:
            only = arguments[0]
            arguments = only.elts if isinstance(only, ast.List | ast.Tuple) else arguments
        if not fewest <= len(arguments) <= most:
            raise CalculationError(f"{name} does not take {len(arguments)} values.")
        values = [self._work(argument, depth + 1) for argument in arguments]
        if name == "sqrt":
            return self._root(values[0])
        if name == "round":
            return _rounded(values[0], values[1] if len(values) > 1 else Fraction(0))
        return _bounded(Fraction(_SIMPLE[name](values)))


_OPERATORS: Mapping[type[ast.operator], Callable[[Number, Number], Number | int]] = (
    MappingProxyType(
        {
            ast.Add: lambda left, right: left + right,
            ast.Sub: lambda left, right: left - right,
            ast.Mult: lambda left, right: left * right,
            ast.Div: lambda left, right: left / right,
            ast.FloorDiv: lambda left, right: left // right,
            ast.Mod: lambda left, right: left % right,
        }
    )
)
_SIMPLE: Mapping[str, Callable[[Sequence[Number]], Number | int]] = MappingProxyType(
    {
        "abs": lambda values: abs(values[0]),
        "ceil": lambda values: math.ceil(values[0]),
        "floor": lambda values: math.floor(values[0]),
        "max": max,
        "min": min,
        "sum": sum,
    }
)
_FUNCTIONS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "abs": (1, 1),
        "ceil": (1, 1),
        "floor": (1, 1),
        "max": (1, MAX_EXPRESSION_CHARACTERS),
        "min": (1, MAX_EXPRESSION_CHARACTERS),
        "round": (1, 2),
        "sqrt": (1, 1),
        "sum": (1, MAX_EXPRESSION_CHARACTERS),
    }
)
"""Minimum and maximum number of arguments of each function."""


def _bounded(value: Number | int) -> Number:
    value = Fraction(value)
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise _too_long()
    return value


def _too_long() -> CalculationError:
    return CalculationError(f"A number would have more than {MAX_NUMBER_DIGITS} digits.")


def _rounded(value: Number, digits: Number) -> Number:
    """Round to decimals, a half away from zero; negative digits round before the point."""
    if digits.denominator != 1 or abs(digits) > MAX_NUMBER_DIGITS:
        raise CalculationError(
            f"round takes a whole number of digits, -{MAX_NUMBER_DIGITS} to {MAX_NUMBER_DIGITS}."
        )
    scale = Fraction(10) ** int(digits)
    whole = math.floor(abs(value) * scale + Fraction(1, 2))
    return _bounded(Fraction(whole if value >= 0 else -whole) / scale)


def _to_decimal(value: Number) -> Decimal:
    return _ROUNDING.divide(Decimal(value.numerator), Decimal(value.denominator))


def _from_decimal(work: Callable[[], Decimal]) -> Number:
    try:
        return _bounded(Fraction(work()))
    except (DecimalException, ValueError, OverflowError):
        raise _too_long() from None


def _written(value: Number, *, exact: bool) -> str:
    decimals = _decimals(value)
    if exact and decimals is not None:
        digits = str(abs(value.numerator) * 10**decimals // value.denominator).zfill(decimals + 1)
        point = len(digits) - decimals
        fraction = f".{digits[point:]}" if decimals else ""
        return f"{'-' if value < 0 else ''}{digits[:point]}{fraction}"
    shown = _SHOWING.divide(Decimal(value.numerator), Decimal(value.denominator))
    return f"{_plain(shown)} (rounded)"


def _decimals(value: Number) -> int | None:
    """Number of decimals of the value; None if infinite, or too many to be shown."""
    twos = (value.denominator & -value.denominator).bit_length() - 1
    rest, fives = value.denominator >> twos, 0
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    decimals = max(twos, fives)
    return decimals if rest == 1 and decimals <= _MAX_DECIMALS else None


def _plain(value: Decimal) -> str:
    """Format without trailing zeros; with an exponent only if there are many digits."""
    short = value.normalize(_SHOWING)
    return f"{short:f}" if -_SHOWN_DIGITS < short.adjusted() < _SHOWN_DIGITS else str(short)
