from decimal import Decimal

from pydantic import BaseModel

from examples.sales.database import query
from perdure import Perdure, Service, StatusChange

service = Service("sales")


@service.function(timeout=30, retries=2)
async def query_orders(sql: str) -> list[dict[str, object]]:
    """Run one read-only SQL query on the orders database."""
    return await query(sql)


@service.on_status_change
async def announce(change: StatusChange) -> None:
    print(change.run_id, change.previous, "->", change.status)


class Finding(BaseModel):
    customer: str
    revenue: Decimal
    why: str


with Perdure() as client, service.running(client):
    run = client.create_run(
        "Which customer grew most this quarter, and why?",
        functions=[query_orders],
        result_schema=Finding,
        on_status_change=announce,
        metadata={"team": "sales"},
    )
    print(run.poll().result)
