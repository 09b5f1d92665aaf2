"""Which functions fit some words best."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from orchestrator.llm.messages import Tool
from orchestrator.llm.tool_search import rank_tools, split_words

SHOP = [
    Tool("billing_createInvoice", "Create an invoice for a customer.", {}),
    Tool("billing_cancel_invoice", "Cancel an invoice that was not paid.", {}),
    Tool("crm_findCustomer", "Look a customer up by name or e-mail.", {}),
    Tool("stock_count", "How many pieces of a product lie in the warehouse.", {}),
    Tool(
        "mail_send",
        "Send a message.",
        {"properties": {"recipient": {"type": "string", "description": "Address of the reader"}}},
    ),
]


def _names(query: str) -> list[str]:
    return [tool.name for score, tool in rank_tools(query, SHOP) if score > 0]


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("create invoices", "billing_createInvoice"),
        ("Please CANCEL the invoice 17", "billing_cancel_invoice"),
        ("customers e-mail", "crm_findCustomer"),
        ("how many products are in our warehouses?", "stock_count"),
        ("address of the recipient", "mail_send"),
    ],
)
def test_the_function_that_is_meant_comes_first(query: str, best: str) -> None:
    assert _names(query)[0] == best


def test_words_that_no_function_has_find_nothing_and_change_no_order() -> None:
    assert _names("zebra") == []
    assert [tool.name for _, tool in rank_tools("", SHOP)] == sorted(tool.name for tool in SHOP)


def test_a_rare_word_says_more_than_a_common_one() -> None:
    tools = [Tool(f"s_order{n}", "order", {}) for n in range(9)] + [Tool("s_refund", "refund", {})]
    assert rank_tools("order refund", tools)[0][1].name == "s_refund"


@given(st.permutations(SHOP), st.text(max_size=40))
def test_the_order_is_the_same_whatever_order_the_functions_come_in(
    shop: list[Tool], query: str
) -> None:
    assert rank_tools(query, shop) == rank_tools(query, SHOP)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("createInvoice", ("create", "invoice")),
        ("create_invoice-v2", ("create", "invoice", "v2")),
        ("HTTPServer", ("http", "server")),
        ("listOrders", ("list", "order")),
        ("bus class", ("bus", "class")),
        ("Straße ÄpfelZählen", ("strasse", "äpfel", "zählen")),
        ("請求書", ("請求", "求書")),
        ("—", ()),
    ],
)
def test_words_are_read_as_people_read_them(text: str, found: tuple[str, ...]) -> None:
    assert split_words(text) == found


def test_scripts_without_spaces_are_matched() -> None:
    tools = [Tool("a_x", "顧客の請求書を作成する", {}), Tool("a_y", "在庫を数える", {})]
    assert rank_tools("請求書", tools)[0][1].name == "a_x"


def test_no_function_is_an_empty_ranking() -> None:
    assert rank_tools("anything", []) == []
