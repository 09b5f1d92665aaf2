"""The scripted analyst against a real SQLite database, led through its steps as a run would lead it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import BaseModel

from orchestrator.llm.messages import (
    AssistantTurn,
    ModelRequest,
    ModelResponse,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    UserTurn,
)
from orchestrator.llm.prompts import GIVE_UP_TOOL, RESULT_TOOL, own_tools
from orchestrator.schema import as_tool_schema
from workers.models.analyst.answer import Quarter
from workers.models.analyst.policy import analyst
from workers.models.scripted.model import ScriptedModel

QUERY_TOOL = Tool(
    "sales_query_orders",
    "Run one read-only SQL query on the orders database.",
    {"type": "object", "properties": {"sql": {"type": "string"}}, "required": ["sql"]},
)
OTHER_TOOL = Tool("mail_send", "Send a mail.", {"type": "object", "properties": {}})

DEMO_TABLES = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, region TEXT);
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL NOT NULL);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers (id),
  product_id INTEGER REFERENCES products (id), quantity INTEGER NOT NULL, ordered_on TEXT NOT NULL
);
INSERT INTO customers VALUES (1, 'Acme', 'north'), (2, 'O''Brien & Sons', 'west'), (3, 'Zenith', 'south');
INSERT INTO products VALUES (1, 'Anvil', 100.0), (2, 'Rope', 2.5);
"""

Order = tuple[int, int, int, str]
BEFORE = "2025-05-10"
NOW = "2025-08-10"


class Finding(BaseModel):
    customer: str
    revenue: Decimal
    why: str


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        connection.executescript(DEMO_TABLES)
        yield connection


def fill(database: sqlite3.Connection, orders: Sequence[Order]) -> None:
    database.executemany(
        "INSERT INTO orders (customer_id, product_id, quantity, ordered_on) VALUES (?, ?, ?, ?)",
        orders,
    )


def tools_for(schema: dict[str, Any] | None) -> tuple[Tool, ...]:
    wanted = as_tool_schema({"description": "Any JSON value."} if schema is None else schema)
    return (OTHER_TOOL, QUERY_TOOL, *own_tools(wanted, wants_schema=schema is not None))


class Run:
    """Asks the model, answers its queries from the database, until it says something final."""

    def __init__(
        self, database: sqlite3.Connection, tools: tuple[Tool, ...], prompt: str = "Who grew most?"
    ) -> None:
        self.database = database
        self.tools = tools
        self.turns: list[Turn] = [UserTurn(texts=(prompt,))]
        self.queries: list[str] = []

    async def finish(self) -> ModelResponse:
        model = ScriptedModel("analyst", analyst)
        for _ in range(20):
            request = ModelRequest(
                model="scripted/analyst",
                system="",
                turns=tuple(self.turns),
                tools=self.tools,
                result_tool=RESULT_TOOL,
            )
            reply = await model.generate(request, lambda: None)
            self.turns.append(AssistantTurn(reply))
            if not reply.calls or reply.calls[0].name != QUERY_TOOL.name:
                return reply
            self.turns.append(UserTurn(results=tuple(map(self.answer, reply.calls))))
        raise AssertionError("the analyst never came to an end")

    def answer(self, call: ToolCall) -> ToolResult:
        assert isinstance(call.input, dict)
        query = str(call.input["sql"])
        self.queries.append(query)
        try:
            rows = [dict(row) for row in self.database.execute(query)]
        except sqlite3.Error as error:
            return ToolResult(call.id, call.name, str(error), is_error=True)
        return ToolResult(call.id, call.name, json.dumps(rows))


async def find(database: sqlite3.Connection, schema: dict[str, Any] | None = None) -> Any:
    wanted = Finding.model_json_schema() if schema is None else schema
    reply = await Run(database, tools_for(wanted)).finish()
    assert [call.name for call in reply.calls] == [RESULT_TOOL]
    return cast(dict[str, Any], reply.calls[0].input)["result"]


ACME_GROWS: list[Order] = [(1, 1, 1, BEFORE), (1, 1, 5, NOW), (2, 2, 10, BEFORE), (2, 2, 12, NOW)]


async def test_the_result_satisfies_the_callers_model(database: sqlite3.Connection) -> None:
    fill(database, ACME_GROWS)
    finding = Finding.model_validate(await find(database))
    assert finding.customer == "Acme"
    assert finding.revenue == Decimal("500.00")
    assert "100.00 -> 500.00 (+400.00)" in finding.why
    assert "Anvil" in finding.why
    assert "scripted analyst" in finding.why


async def test_the_answer_changes_when_the_data_changes(database: sqlite3.Connection) -> None:
    fill(database, ACME_GROWS)
    before = await find(database)
    fill(database, [(2, 1, 9, NOW)])
    after = await find(database)
    assert (before["customer"], after["customer"]) == ("Acme", "O'Brien & Sons")
    assert Decimal(after["revenue"]) == Decimal("930.00")


async def test_an_unfinished_quarter_is_compared_with_the_same_days_of_the_last_one(
    database: sqlite3.Connection,
) -> None:
    fill(database, [(1, 1, 50, "2025-06-28"), (1, 1, 2, "2025-04-02"), (1, 1, 3, "2025-07-05")])
    finding = await find(database)
    assert "200.00 -> 300.00 (+100.00)" in finding["why"]
    assert "2025-07-01 to 2025-07-05, against 2025-04-01 to 2025-04-05" in finding["why"]


async def test_a_follow_up_is_answered_from_fresh_data(database: sqlite3.Connection) -> None:
    fill(database, ACME_GROWS)
    run = Run(database, tools_for(None))
    assert "Acme grew most" in (await run.finish()).text
    fill(database, [(3, 1, 90, NOW)])
    run.turns.append(UserTurn(texts=("And now?",)))
    assert "Zenith grew most" in (await run.finish()).text


async def test_tables_and_columns_may_have_other_names() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        database.executescript(
            """
            CREATE TABLE "client list" (client_no INTEGER PRIMARY KEY, title TEXT);
            CREATE TABLE invoice (
              id INTEGER PRIMARY KEY, "client" INTEGER REFERENCES "client list" (client_no),
              net_amount NUMERIC, invoice_date DATE
            );
            INSERT INTO "client list" VALUES (7, 'Umbra'), (8, 'Vela');
            INSERT INTO invoice ("client", net_amount, invoice_date)
              VALUES (7, 10, '2025-05-10'), (7, 11, '2025-08-10'), (8, 10.25, '2025-05-10'), (8, 99.5, '2025-08-11');
            """
        )
        finding = await find(database)
    assert finding["customer"] == "Vela"
    assert Decimal(finding["revenue"]) == Decimal("99.50")


async def test_references_are_guessed_from_names_and_customers_may_stand_in_the_sales() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        database.executescript(
            """
            CREATE TABLE categories (id INTEGER, name TEXT);
            CREATE TABLE articles (id INTEGER, label TEXT, unit_price REAL);
            CREATE TABLE sales (customer_name TEXT, article_id INTEGER, units INTEGER, sold_at TIMESTAMP);
            INSERT INTO articles VALUES (1, 'Lamp', 20);
            INSERT INTO sales VALUES ('Nora', 1, 1, '2025-02-01 10:00'), ('Nora', 1, 4, '2025-04-20 11:30');
            """
        )
        finding = await find(database)
    assert finding["customer"] == "Nora"
    assert "Lamp" in finding["why"]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "Acme grew most"),
        ({}, "object"),
        ({"type": "number"}, 500.0),
        ({"type": ["integer", "null"]}, 500),
        ({"type": "array", "items": {"type": "object"}}, None),
        (
            {
                "properties": {
                    "winner": {"$ref": "#/$defs/C"},
                    "growth": {"type": "number"},
                    "growthPercent": {"type": "number"},
                    "previousRevenue": {"type": "string", "pattern": "^[0-9.]+$"},
                    "grew": {"type": "boolean"},
                    "quarter": {"type": "string"},
                    "kind": {"const": "growth"},
                },
                "$defs": {"C": {"type": "object", "properties": {"name": {"type": "string"}}}},
            },
            {
                "winner": {"name": "Acme"},
                "growth": 400.0,
                "growthPercent": 400.0,
                "previousRevenue": "100.00",
                "grew": True,
                "quarter": "2025-Q3",
                "kind": "growth",
            },
        ),
    ],
)
async def test_the_result_takes_the_shape_that_the_schema_asks_for(
    database: sqlite3.Connection, schema: dict[str, Any], expected: object
) -> None:
    fill(database, ACME_GROWS)
    result = await find(database, schema)
    if expected == "object":
        assert result.keys() == {"customer", "revenue", "why"}
    elif isinstance(expected, str):
        assert result.startswith(expected)
    elif expected is None:
        assert result == [{"customer": "Acme", "revenue": 500.0, "why": result[0]["why"]}]
    else:
        assert result == expected


async def test_without_a_query_tool_it_says_what_it_lacks(database: sqlite3.Connection) -> None:
    schema_tools = tools_for(Finding.model_json_schema())
    reply = await Run(database, tuple(t for t in schema_tools if t != QUERY_TOOL)).finish()
    assert [call.name for call in reply.calls] == [GIVE_UP_TOOL]
    assert "none that takes an `sql` string" in str(reply.calls[0].input)
    reply = await Run(database, (OTHER_TOOL,)).finish()
    assert "none that takes an `sql` string" in reply.text


@pytest.mark.parametrize(
    ("change", "lack"),
    [
        ("DELETE FROM orders", "there are no dated sales"),
        ("DROP TABLE orders", "missing a date"),
        ("ALTER TABLE orders DROP COLUMN quantity", "missing an amount, or a quantity and a price"),
        ("UPDATE orders SET ordered_on = 'soon'", "there are no dated sales"),
    ],
)
async def test_without_the_data_it_says_what_it_lacks(
    database: sqlite3.Connection, change: str, lack: str
) -> None:
    fill(database, ACME_GROWS)
    database.execute(change)
    reply = await Run(database, tools_for(None)).finish()
    assert lack in reply.text


@pytest.mark.parametrize(
    ("content", "lack"),
    [
        ("no rows for you", "is not JSON"),
        ("42", "no list of rows"),
        ("[[1, 2]]", "without column names"),
        ('[{"name": "t", "sql": "CREATE TABLE t AS SELECT 1"}]', "cannot be read"),
        ('[{"name": "t", "sql": "CREATE TABLE t (x"}]', "cannot be read"),
        ('[{"other": 1}]', "missing tables"),
    ],
)
async def test_answers_that_are_no_rows_are_named(content: str, lack: str) -> None:
    model = ScriptedModel("analyst", analyst)
    asked = ModelResponse(
        text="", stop=cast(Any, "calls"), calls=(ToolCall("a", QUERY_TOOL.name, {}),)
    )
    turns = (
        UserTurn(texts=("?",)),
        AssistantTurn(asked),
        UserTurn(results=(ToolResult("a", QUERY_TOOL.name, content),)),
    )
    request = ModelRequest(model="", system="", turns=turns, tools=(QUERY_TOOL,))
    assert lack in (await model.generate(request, lambda: None)).text


async def test_a_query_that_fails_is_tried_again_and_then_reported(
    database: sqlite3.Connection,
) -> None:
    fill(database, ACME_GROWS)
    database.close()
    run = Run(database, tools_for(None))
    reply = await run.finish()
    assert len(run.queries) == 3
    assert "failed 3 times: Cannot operate on a closed database" in reply.text


@given(st.dates(min_value=date(1990, 1, 1), max_value=date(2090, 12, 31)))
def test_both_stretches_of_a_comparison_lie_in_their_own_quarters(latest: date) -> None:
    quarter = Quarter.until(latest)
    assert quarter.start <= quarter.end == latest
    assert quarter.previous_start <= quarter.previous_end < quarter.start
    assert quarter.previous_end - quarter.previous_start <= quarter.end - quarter.start
    assert (quarter.start - quarter.previous_start).days in range(90, 93)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.integers(1, 2),
            st.integers(1, 40),
            st.integers(0, 180).map(lambda day: str(date(2025, 1, 1) + timedelta(days=day))),
        ),
        min_size=1,
        max_size=30,
    )
)
async def test_the_winner_is_who_grew_most_by_plain_counting(orders: list[Order]) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        database.executescript(DEMO_TABLES)
        fill(database, orders)
        finding = await find(database)
    quarter = Quarter.until(max(date.fromisoformat(order[3]) for order in orders))
    growth: dict[str, Decimal] = {}
    for customer, product, quantity, day in orders:
        value = (Decimal(100), Decimal("2.5"))[product - 1] * quantity
        name = ("Acme", "O'Brien & Sons", "Zenith")[customer - 1]
        if quarter.start <= date.fromisoformat(day) <= quarter.end:
            growth[name] = growth.get(name, Decimal(0)) + value
        elif quarter.previous_start <= date.fromisoformat(day) <= quarter.previous_end:
            growth[name] = growth.get(name, Decimal(0)) - value
    assert growth[finding["customer"]] == max(growth.values())
