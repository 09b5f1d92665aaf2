"""The example's data and its one function: a query runs, and nothing else does."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from examples.sales.database import QueryError, read_rows
from examples.sales.make_data import make_data
from tests.examples.growth import growth_by_customer


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("sales") / "sales.db"
    make_data(file)
    return file


def test_a_seed_makes_the_same_data_each_time(tmp_path: Path) -> None:
    def rows(name: str, seed: int) -> list[tuple[object, ...]]:
        make_data(tmp_path / name, seed=seed)
        with closing(sqlite3.connect(tmp_path / name)) as made:
            return list(made.execute("SELECT * FROM orders JOIN customers c ON c.id = customer_id"))

    assert rows("one", 3) == rows("two", 3)
    assert rows("one", 3) != rows("two", 4)


def test_there_are_thousands_of_orders_over_five_quarters(database: Path) -> None:
    (facts,) = read_rows(
        "SELECT count(*) AS orders, count(DISTINCT customer_id) AS customers,"
        " count(DISTINCT product_id) AS products, min(ordered_on) AS first, max(ordered_on) AS last"
        " FROM orders",
        database,
    )
    assert 2_000 < facts["orders"] < 5_000
    assert (facts["customers"], facts["products"]) == (25, 12)
    assert facts["first"] == "2025-07-01"
    assert facts["last"] == "2026-09-20"


def test_one_customer_stands_out_in_the_last_quarter(database: Path) -> None:
    first, second, *_ = sorted(growth_by_customer(database).values(), reverse=True)
    assert first > 2 * second


def test_new_data_takes_the_place_of_old_data_in_one_step(tmp_path: Path) -> None:
    file = tmp_path / "sales.db"
    make_data(file, seed=1)
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as reader:
        before = list(reader.execute("SELECT count(*) FROM orders"))
        make_data(file, seed=2)
        assert list(reader.execute("SELECT count(*) FROM orders")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["sales.db"]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM orders",
        "UPDATE products SET price = 0",
        "INSERT INTO customers (name, region) VALUES ('x', 'y')",
        "DROP TABLE orders",
        "CREATE TEMP TABLE t (x)",
        "PRAGMA query_only = OFF",
        "ATTACH '/tmp/other.db' AS other",
        "VACUUM INTO '/tmp/copy.db'",
        "BEGIN",
    ],
)
def test_nothing_but_a_query_is_run(database: Path, sql: str) -> None:
    before = database.read_bytes()
    with pytest.raises(QueryError, match=r"Only SELECT is allowed here\."):
        read_rows(sql, database)
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT colour FROM orders", "no such column: colour"),
        ("SELECT * FROM order", "syntax error"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("SELECT * FROM orders", "More than 500 rows"),
        ("SELECT 1 AS a, 2 AS a", "the same name"),
        ("SELECT zeroblob(10000000) AS big", "larger than 1,000,000 bytes"),
    ],
)
def test_what_is_wrong_with_a_query_is_reported(database: Path, sql: str, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        read_rows(sql, database)


def test_a_query_that_never_ends_is_stopped(database: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with pytest.raises(QueryError, match=r"longer than 0\.1 s"):
        read_rows(endless, database, max_seconds=0.1)


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"make_data makes it"):
        read_rows("SELECT 1", tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []
