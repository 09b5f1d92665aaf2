"""The sales service, for a process that only hosts functions: perdure worker examples.sales.functions:service"""

from __future__ import annotations

import logging
from typing import Any

from examples.sales.database import query
from perdure import Service, StatusChange

service = Service("sales")
logger = logging.getLogger("examples.sales")


@service.function(timeout=30, retries=2)
async def query_orders(sql: str) -> list[dict[str, Any]]:
    """Run one read-only SQL query on the orders database."""
    logger.info("%s", sql)
    return await query(sql)


@service.on_status_change
async def announce(change: StatusChange) -> None:
    """Say on the terminal what became of a run."""
    print(change.run_id, change.previous, "->", change.status, flush=True)
