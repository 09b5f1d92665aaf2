"""What an error says of the request's fields."""

from __future__ import annotations

from perdure import ApiError
from perdure.contract import FieldProblem


def test_one_field_that_the_detail_speaks_of_is_only_named() -> None:
    error = ApiError(422, "unknown_function", "No such.", [problem("/function", "No such.")])
    assert str(error) == "No such. [422 unknown_function] at /function"


def test_a_query_parameter_has_no_pointer_to_name() -> None:
    error = ApiError(422, "invalid_request", "Too much.", [problem("", "Too much.")])
    assert str(error) == "Too much. [422 invalid_request]"


def test_several_fields_have_a_line_each() -> None:
    error = ApiError(422, "x", "Two are wrong.", [problem("/a", "Bad."), problem("/b", "Worse.")])
    assert str(error) == "Two are wrong. [422 x]\n  /a: Bad.\n  /b: Worse."


def problem(pointer: str, detail: str) -> FieldProblem:
    return FieldProblem(pointer=pointer, detail=detail)
