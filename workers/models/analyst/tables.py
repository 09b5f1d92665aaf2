"""Where a database keeps its sales: found by what columns are, not by what this demo happens to call them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

TABLES_QUERY = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"

_DAY = re.compile(r"(^|_)(date|day|on|at|time|timestamp|when)$")
_AMOUNT = re.compile(r"(^|_)(amount|total|revenue|turnover|net|gross|value)(_|$)")
_QUANTITY = re.compile(r"(^|_)(quantity|qty|units|pieces|count)(_|$)")
_PRICE = re.compile(r"(^|_)(price|rate|fee)(_|$)")
_CUSTOMER = re.compile(r"customer|client|account|buyer|company|companies")
_PRODUCT = re.compile(r"product|item|article|sku")
_LABEL = re.compile(r"(^|_)(name|title|label)$")

_DENIED = frozenset(
    {
        sqlite3.SQLITE_ATTACH,
        sqlite3.SQLITE_CREATE_VTABLE,
        sqlite3.SQLITE_PRAGMA,
        sqlite3.SQLITE_RECURSIVE,
        sqlite3.SQLITE_SELECT,
    }
)


class MissingColumnsError(Exception):
    """Something that the question needs is not there; the text says what."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its columns with their declared types, and which column points to which table's column."""

    name: str
    columns: Mapping[str, str]
    references: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])


@dataclass(frozen=True, slots=True)
class Party:
    """A customer or a product, as SQL expressions: what identifies it and what people call it."""

    key: str
    label: str
    join: str = ""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Sales as SQL expressions: day, revenue, customer and, where there is one, product."""

    source: str
    day: str
    revenue: str
    customer: Party
    product: Party | None

    def latest(self) -> str:
        """The query for the latest day on which something was sold."""
        return " ".join([f"SELECT max({self.day}) AS latest", f"FROM {self.source}"])


def read_tables(rows: Iterable[Mapping[str, object]]) -> list[Table]:
    """The tables of the rows that `TABLES_QUERY` brings. SQLite itself reads their definitions."""
    tables = [
        _read_table(str(row["name"]), str(row["sql"]))
        for row in rows
        if str(row.get("sql", "")).lstrip().upper().startswith("CREATE TABLE")
    ]
    return [_with_guessed_references(table, tables) for table in tables]


def find_ledger(tables: Iterable[Table]) -> Ledger:
    """The table of sales and what hangs on it. Raises `MissingColumnsError` with the parts that are missing."""
    by_name = {table.name: table for table in tables}
    missing = ["tables"]
    for table in by_name.values():
        parts = _Parts(table, by_name)
        lacks = parts.missing_columns()
        if not lacks:
            return parts.ledger()
        missing = lacks if missing == ["tables"] or len(lacks) < len(missing) else missing
    raise MissingColumnsError(f"no table of sales with all of it: missing {', '.join(missing)}")


def quoted(name: str) -> str:
    """An identifier as SQL."""
    return '"' + name.replace('"', '""') + '"'


class _Parts:
    """What one table offers towards a ledger."""

    def __init__(self, table: Table, tables: Mapping[str, Table]) -> None:
        self._table = table
        self._tables = tables
        self._own = [name for name in table.columns if name not in table.references]
        self._day = next((name for name in self._own if self._is_day(name)), None)
        self._price_join = ""
        self._revenue = self._find_revenue()
        self._customer = self._find_party(_CUSTOMER)
        self._product = self._find_party(_PRODUCT)

    def missing_columns(self) -> list[str]:
        found = {
            "a date": self._day,
            "an amount, or a quantity and a price": self._revenue,
            "a customer": self._customer,
        }
        return [name for name, value in found.items() if value is None]

    def ledger(self) -> Ledger:
        if self._day is None or self._revenue is None or self._customer is None:
            raise MissingColumnsError("no table of sales")
        joins = [self._customer.join, self._product.join if self._product else "", self._price_join]
        kind = self._table.columns[self._day].upper()
        day = f"sold.{quoted(self._day)}"
        return Ledger(
            source=" ".join(
                [f"{quoted(self._table.name)} AS sold", *dict.fromkeys(filter(None, joins))]
            ),
            day=f"date({day}, 'unixepoch')" if "INT" in kind else f"date({day})",
            revenue=self._revenue,
            customer=self._customer,
            product=self._product,
        )

    def _is_day(self, name: str) -> bool:
        kind = self._table.columns[name].upper()
        return "DATE" in kind or "TIME" in kind or bool(_DAY.search(name.lower()))

    def _find_revenue(self) -> str | None:
        amount, quantity, price = (_first(self._own, kind) for kind in (_AMOUNT, _QUANTITY, _PRICE))
        if amount:
            return f"sold.{quoted(amount)}"
        if quantity is None:
            return None
        unit = f"sold.{quoted(price)}" if price else self._find_price()
        return f"sold.{quoted(quantity)} * {unit}" if unit else None

    def _find_price(self) -> str | None:
        for column, (name, key) in self._table.references.items():
            price = _first(self._tables[name].columns, _PRICE)
            if price:
                self._price_join = _join(name, key, column)
                return f"{_alias(column)}.{quoted(price)}"
        return None

    def _find_party(self, kind: re.Pattern[str]) -> Party | None:
        own = _first(self._own, kind)
        if own:
            return Party(key=f"sold.{quoted(own)}", label=f"sold.{quoted(own)}")
        for column, (name, key) in self._table.references.items():
            if kind.search(f"{column} {name}".lower()):
                columns = self._tables[name].columns
                label = _first(columns, _LABEL) or _first(columns, kind) or key
                return Party(
                    key=f"sold.{quoted(column)}",
                    label=f"{_alias(column)}.{quoted(label)}",
                    join=_join(name, key, column),
                )
        return None


def _first(columns: Iterable[str], kind: re.Pattern[str]) -> str | None:
    return next((name for name in columns if kind.search(name.lower())), None)


def _alias(column: str) -> str:
    """A joined table goes by the column that leads to it: no two of them can be confused."""
    return quoted(column.lower().removesuffix("_id") or column)


def _join(table: str, key: str, column: str) -> str:
    alias = _alias(column)
    return f"JOIN {quoted(table)} AS {alias} ON {alias}.{quoted(key)} = sold.{quoted(column)}"


def _read_table(name: str, definition: str) -> Table:
    with closing(sqlite3.connect(":memory:")) as database:
        database.set_authorizer(_only_tables)
        try:
            database.execute(definition)
        except sqlite3.Error as error:
            raise MissingColumnsError(
                f"the definition of table {name!r} cannot be read: {error}"
            ) from error
        database.set_authorizer(None)
        columns = list(database.execute(f"PRAGMA table_info({quoted(name)})"))
        keys = list(database.execute(f"PRAGMA foreign_key_list({quoted(name)})"))
    return Table(
        name=name,
        columns={str(column[1]): str(column[2]) for column in columns},
        references={str(key[3]): (str(key[2]), str(key[4] or "id")) for key in keys},
    )


def _only_tables(
    action: int, _first: str | None, _second: str | None, _database: str | None, _source: str | None
) -> int:
    """A definition comes from outside: it may make a table in memory and nothing else."""
    return sqlite3.SQLITE_DENY if action in _DENIED else sqlite3.SQLITE_OK


def _with_guessed_references(table: Table, tables: list[Table]) -> Table:
    names = {other.name for other in tables}
    declared = {column: target for column, target in table.references.items() if target[0] in names}
    return Table(table.name, table.columns, {**dict(_guessed(table, tables)), **declared})


def _guessed(table: Table, tables: list[Table]) -> Iterator[tuple[str, tuple[str, str]]]:
    """References that only a column's name tells: `customer_id` means the table `customers`."""
    for column in table.columns:
        stem = column.lower().removesuffix("_id")
        if stem == column.lower():
            continue
        names = {stem, f"{stem}s", f"{stem}es", f"{stem[:-1]}ies"}
        for other in tables:
            key = next((key for key in ("id", column) if key in other.columns), None)
            if other.name.lower() in names and other.name != table.name and key:
                yield column, (other.name, key)
