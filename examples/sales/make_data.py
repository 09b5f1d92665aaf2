"""Makes the example's data: some three thousand orders over five quarters, the same for the same seed.

python -m examples.sales.make_data [--seed N] [FILE]
"""

from __future__ import annotations

import argparse
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from examples.sales.database import DATABASE

SEED = 11
FIRST_DAY = date(2025, 7, 1)
LAST_DAY = date(2026, 9, 20)
"""The last of the five quarters is not over yet, as quarters are when somebody asks about them."""

_REGIONS = ("North", "South", "East", "West")
_CUSTOMERS = (
    *("Amber Bakery", "Birchwood School", "Blue Heron Inn", "Castle Street Books"),
    *("Copper Kettle", "Delta Clinic", "Elm Grove Hotel", "Fern & Fable", "Glasshouse Studio"),
    *("Harbour Rowing Club", "Ivy Court Care", "Juniper Spa", "Kestrel Theatre", "Lantern Arts"),
    *("Maple Row Dental", "Nightingale Choir", "Oak & Ash Joinery", "Pebble Nursery"),
    *("Quarry Climbing", "Redwood Library", "Saltmarsh Surf", "Tidewater Museum"),
    *("Upland Cycles", "Violet Hour Bar", "Weaver's Yard"),
)
_PRODUCTS = (
    *(("Arc Floor Lamp", 189.0), ("Bolt Stool", 79.5), ("Cloud Armchair", 420.0)),
    *(("Drift Bookshelf", 265.0), ("Echo Side Table", 98.0), ("Fold Desk", 310.0)),
    *(("Grain Bench", 225.0), ("Halo Pendant", 134.5), ("Inlet Cabinet", 498.0)),
    *(("Jute Rug", 155.0), ("Knot Coat Stand", 62.0), ("Loom Cushion", 28.5)),
)
_SHARE_OF_THE_CRAZE = 0.5
_TABLES = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, region TEXT NOT NULL);
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL NOT NULL);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  product_id INTEGER NOT NULL REFERENCES products (id),
  quantity INTEGER NOT NULL CHECK (quantity > 0),
  ordered_on TEXT NOT NULL
);
CREATE INDEX orders_by_day ON orders (ordered_on);
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is."""

    orders: int
    customers: int
    products: int


def make_data(file: Path = DATABASE, *, seed: int = SEED) -> Counts:
    """Write a new database to `file`; one that is there is replaced in one step. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.draft")
    draft.unlink(missing_ok=True)
    chance = random.Random(seed)  # noqa: S311 - a sample that can be made again, not a secret
    orders = sorted(_orders(chance), key=lambda order: order[3])
    with closing(sqlite3.connect(draft)) as database, database:
        database.executescript(_TABLES)
        database.executemany(
            "INSERT INTO customers (name, region) VALUES (?, ?)",
            [(name, chance.choice(_REGIONS)) for name in _CUSTOMERS],
        )
        database.executemany("INSERT INTO products (name, price) VALUES (?, ?)", _PRODUCTS)
        database.executemany(
            "INSERT INTO orders (customer_id, product_id, quantity, ordered_on)"
            " VALUES (?, ?, ?, ?)",
            orders,
        )
    draft.replace(file)
    return Counts(len(orders), len(_CUSTOMERS), len(_PRODUCTS))


def _orders(chance: random.Random) -> Iterator[tuple[int, int, int, str]]:
    """Every customer orders at a pace of its own; one doubles it in the last quarter, half of it for one product."""
    rising = chance.randrange(len(_CUSTOMERS))
    wanted = chance.randrange(len(_PRODUCTS))
    for customer in range(len(_CUSTOMERS)):
        favourites = [chance.random() ** 2 + 0.05 for _ in _PRODUCTS]
        pace = chance.uniform(0.18, 0.34)
        for day in _days():
            busy = customer == rising and day >= date(LAST_DAY.year, 7, 1)
            if chance.random() >= (pace * 2 if busy else pace):
                continue
            liked = chance.choices(range(len(_PRODUCTS)), favourites)[0]
            product = wanted if busy and chance.random() < _SHARE_OF_THE_CRAZE else liked
            yield customer + 1, product + 1, chance.randint(1, 6), day.isoformat()


def _days() -> Iterator[date]:
    for number in range((LAST_DAY - FIRST_DAY).days + 1):
        yield FIRST_DAY + timedelta(days=number)


def main() -> None:
    """Make the data and say where it is."""
    parser = argparse.ArgumentParser(description="Make the example's orders database.")
    parser.add_argument("file", type=Path, nargs="?", default=DATABASE)
    parser.add_argument("--seed", type=int, default=SEED, help="another seed, another story")
    arguments = parser.parse_args()
    counts = make_data(arguments.file, seed=arguments.seed)
    print(
        f"{counts.orders:,} orders, {counts.customers} customers, {counts.products} products"
        f" in {arguments.file}"
    )


if __name__ == "__main__":
    main()
