"""python -m examples.demo [--state-dir FOLDER] [--seed N]: starts a stack, makes data, follows one run, stops all."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from examples.demo.narrator import Eavesdropper, Narrator
from examples.demo.stack import Connection, DemoError, running_stack
from examples.sales.database import DATABASE
from examples.sales.functions import query_orders, service
from examples.sales.make_data import SEED, make_data
from perdure import Perdure, PerdureError, Run, StatusChange, StatusChangeHandler
from perdure.contract import FINAL_STATUSES

QUESTION = "Which customer grew most this quarter, and why?"
HINT = "The orders are in SQLite. Take the day of the latest order for today."
HANDLER_SECONDS = 10.0
_INTERRUPTED = 130


class Finding(BaseModel):
    """What the run is to find out."""

    customer: str
    revenue: Decimal
    why: str


def main() -> int:
    """Run the demo. 0 when the run brought its result, 1 with one line on stderr, 130 after Ctrl-C."""
    arguments = _read_arguments()
    narrator = Narrator()
    try:
        with _sigterm_as_ctrl_c():
            _demonstrate(narrator, arguments.state_dir, arguments.seed)
    except (DemoError, PerdureError, OSError) as error:
        sys.stderr.write(f"{str(error).partition(chr(10))[0]}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        return _INTERRUPTED
    return 0


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--state-dir", type=Path, default=Path(".perdure/demo"))
    parser.add_argument("--seed", type=int, default=SEED, help="other data, another answer")
    return parser.parse_args()


def _demonstrate(narrator: Narrator, state_dir: Path, seed: int) -> None:
    counts = make_data(seed=seed)
    narrator.say(
        f"Data       {counts.orders:,} orders, {counts.customers} customers, {counts.products}"
        f" products in {DATABASE}"
    )
    began = time.monotonic()
    with running_stack(state_dir, lambda line: narrator.say_aside("stack", line)) as stack:
        narrator.say(
            f"Stack      Temporal, API and Temporal workers, ready after"
            f" {time.monotonic() - began:.1f} s at {stack.url}"
        )
        _follow_one_run(narrator, stack)
    narrator.say()
    narrator.say("Everything is stopped again. Where to look next:")
    narrator.say_table(_next_steps(state_dir))


def _follow_one_run(narrator: Narrator, stack: Connection) -> None:
    notified_of_end = threading.Event()

    @service.on_status_change
    def narrate(change: StatusChange) -> None:
        narrator.say_notified(change)
        if change.status in FINAL_STATUSES:
            notified_of_end.set()

    with (
        Perdure(stack.url, stack.api_key, stack.cluster_id) as client,
        service.running(client),
        _listening_to_functions(narrator),
    ):
        narrator.say(f"Functions  sales.query_orders, in this process ({os.getpid()})")
        run = _create_run(client, narrate)
        narrator.say(f"Model      {_who_answers(run.snapshot.model_identifier)}")
        narrator.say(f"Run        {run.id}: {QUESTION}\n")
        for event in run.events():
            narrator.say_event(event)
        notified_of_end.wait(HANDLER_SECONDS)
        _say_result(narrator, run)


def _create_run(client: Perdure, handler: StatusChangeHandler[..., None]) -> Run[Finding]:
    return client.create_run(
        QUESTION,
        system_prompt=HINT,
        functions=[query_orders],
        result_schema=Finding,
        on_status_change=handler,
        metadata={"team": "sales"},
    )


def _say_result(narrator: Narrator, run: Run[Finding]) -> None:
    """Raises `PerdureError` when there is none."""
    finished = run.poll(timeout=10)
    finding = finished.unwrap()
    usage = finished.usage
    narrator.say("\nResult, checked against the schema of Finding:")
    narrator.say_table(finding.model_dump())
    narrator.say_table(
        {
            "answered": f"by {_who_answers(finished.run.model_identifier)}",
            "cost": f"{usage.model_calls} model calls, {usage.input_tokens:,} tokens in,"
            f" {usage.output_tokens:,} out",
        }
    )


def _who_answers(model: str) -> str:
    provider, _, name = model.partition("/")
    if provider == "scripted":
        return f"{model}, a script and no language model (no ANTHROPIC_API_KEY is set)"
    return f"Claude ({name})" if provider == "anthropic" else model


def _next_steps(state_dir: Path) -> dict[str, str]:
    return {
        "the code": "examples/sales/agent.py: all of it in 25 lines",
        "run it": "`make dev` in one terminal, .venv/bin/python -m examples.sales.agent in another",
        "the logs": f"{state_dir}/logs",
        "the docs": "README.md, then docs/quickstart.md",
    }


@contextmanager
def _listening_to_functions(narrator: Narrator) -> Generator[None]:
    logger = logging.getLogger("examples.sales")
    handler = Eavesdropper(narrator, "function")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def _sigterm_as_ctrl_c() -> Generator[None]:
    """Whoever stops the demo politely has everything stopped."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
