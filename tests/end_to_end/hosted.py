"""Functions hosted in the Temporal worker of the stack; they write down what they did as the others do."""

from __future__ import annotations

from perdure import Service
from tests.end_to_end.functions import told, work

service = Service("inside")
service.function(timeout=60, retries=5)(work.__wrapped__)
service.on_status_change(told.__wrapped__)


@service.function(timeout=600)
def double(number: int) -> int:
    """Twice the number. It may take long, so each call has an activity of its own."""
    return 2 * number
