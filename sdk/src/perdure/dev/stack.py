"""The life of one local stack: lock the folder, start the parts, say when ready, stop on a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from perdure.dev.child import Child
from perdure.dev.errors import NotReadyError, StackError
from perdure.dev.lock import locked
from perdure.dev.plan import (
    Addresses,
    Commands,
    StackOptions,
    answering_model,
    choose_addresses,
    find_temporal,
    function_worker_child,
    server_environment,
    temporal_child,
)
from perdure.dev.probes import Readiness, read_cluster_id, read_readiness
from perdure.dev.record import ProcessRecord
from perdure.dev.state import LocalConnection, StateFolder
from perdure.dev.supervisor import Supervisor

MAX_CRASHES_BEFORE_READY = 5
"""Crashes of a process before the stack is ready after which the start fails."""
_PROBE_EVERY = 0.05
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The facts about a ready stack."""

    connection: LocalConnection
    model: str
    state: StateFolder
    temporal_ui: str | None


async def run_stack(
    options: StackOptions,
    environment: Mapping[str, str],
    *,
    log: Callable[[str], None],
    when_ready: Callable[[Summary], None],
    commands: Commands | None = None,
) -> None:
    """Run the stack until SIGINT, SIGTERM or SIGHUP; a second signal kills the processes that still run.

    `log` receives one line per event; `when_ready` is called once. Call it from the main thread.
    Raises `StackError` if the stack cannot start; its processes are stopped then.
    """
    state = StateFolder.create(options.state_dir)
    with locked(state) as lock:
        record = ProcessRecord(state.process_record)
        _end_leftovers(record, log)
        addresses = choose_addresses(options, environment, state.read_connection())
        lock.announce(addresses.url)
        supervisor = Supervisor(state, record, log)
        stack = _Stack(
            options=options,
            commands=commands or Commands(),
            environment=environment,
            state=state,
            addresses=addresses,
            supervisor=supervisor,
        )
        with _stop_requests(supervisor, log) as asked:
            async with _stopped_at_the_end(supervisor):
                await _unless(asked, stack.start(when_ready))
                await asked.wait()


def _end_leftovers(record: ProcessRecord, log: Callable[[str], None]) -> None:
    try:
        for name in record.end_leftovers():
            log(f"{name} was left over from an earlier start: ended.")
    except TimeoutError as error:
        raise StackError(
            f"A process left over from an earlier start does not end: {error}."
        ) from error


class _Stack:
    def __init__(
        self,
        *,
        options: StackOptions,
        commands: Commands,
        environment: Mapping[str, str],
        state: StateFolder,
        addresses: Addresses,
        supervisor: Supervisor,
    ) -> None:
        self._options = options
        self._commands = commands
        self._environment = environment
        self._server_environment = server_environment(environment, state, addresses, options.hosted)
        self._state = state
        self._addresses = addresses
        self._supervisor = supervisor
        self._readiness = Readiness(ready=False)

    async def start(self, when_ready: Callable[[Summary], None]) -> None:
        try:
            async with asyncio.timeout(self._options.ready_timeout):
                connection = await self._start_server()
                await self._start_functions(connection)
        except TimeoutError:
            raise self._late(self._suspect()) from None
        self._supervisor.is_settled = True
        ui = self._addresses.ui_port
        when_ready(
            Summary(
                connection=connection,
                model=answering_model(self._environment),
                state=self._state,
                temporal_ui=f"http://127.0.0.1:{ui}" if ui else None,
            )
        )

    async def _start_server(self) -> LocalConnection:
        """Start all processes at the same time; each waits for the others that it needs."""
        key_file = self._state.key_file
        self._start_temporal()
        self._start_process("api", (*self._commands.api, "--ensure-key", str(key_file)))
        self._start_process("workers", self._commands.workers)
        await self._api_ready()
        key = key_file.read_text().strip()
        connection = LocalConnection(
            url=self._addresses.url,
            api_key=key,
            cluster_id=await read_cluster_id(self._addresses.url, key),
            temporal_address=self._addresses.temporal,
        )
        self._state.write_connection(connection)
        return connection

    def _start_temporal(self) -> None:
        if self._addresses.temporal_port is None:
            return
        binary = self._commands.temporal or find_temporal()
        self._supervisor.supervise(
            temporal_child(binary, self._state, self._addresses, self._environment)
        )

    def _start_process(self, name: str, argv: tuple[str, ...]) -> None:
        self._supervisor.supervise(
            Child(name=name, argv=argv, environment=self._server_environment, grace=22.0)
        )

    async def _start_functions(self, connection: LocalConnection) -> None:
        """Start the processes of users' functions. One that fails does not stop the stack; its end is logged."""
        for number, target in enumerate(self._options.functions, start=1):
            name = "functions" if number == 1 else f"functions-{number}"
            ready = self._state.ready_file(name)
            ready.unlink(missing_ok=True)
            self._supervisor.supervise(
                function_worker_child(
                    target,
                    name,
                    command=self._commands.function_worker,
                    ready_file=ready,
                    environment=self._environment,
                    connection=connection,
                )
            )
            while not ready.exists() and not self._supervisor.crashes.get(name):  # noqa: ASYNC110 - another process's file
                await asyncio.sleep(_PROBE_EVERY)

    async def _api_ready(self) -> None:
        while not self._readiness.ready:
            self._fail_if_unrecoverable()
            await asyncio.sleep(_PROBE_EVERY)
            self._readiness = await read_readiness(self._addresses.url)

    def _fail_if_unrecoverable(self) -> None:
        for name in self._supervisor.unrecoverable:
            raise NotReadyError(
                f"The process {name} cannot work with its settings. Its log: {self._state.log_file(name)}",
                self._state.log_tail(name),
            )
        for name, crashes in self._supervisor.crashes.items():
            if crashes >= MAX_CRASHES_BEFORE_READY:
                raise NotReadyError(
                    f"The process {name} does not start: it ended {crashes} times. Its log:"
                    f" {self._state.log_file(name)}",
                    self._state.log_tail(name),
                )

    def _suspect(self) -> str:
        """The likely culprit: the process that died most often, or a part that /ready misses, else the API."""
        crashes = self._supervisor.crashes
        if crashes:
            return max(crashes, key=lambda name: crashes[name])
        known = ("temporal", "workers")
        return next((name for name in known if name in self._readiness.missing), "api")

    def _late(self, suspect: str) -> StackError:
        detail = f": {self._readiness.detail}" if self._readiness.detail else ""
        return NotReadyError(
            f"The stack was not ready after {self._options.ready_timeout:g} s{detail}. See"
            f" {self._state.log_file(suspect)}",
            self._state.log_tail(suspect),
        )


@contextmanager
def _stop_requests(supervisor: Supervisor, log: Callable[[str], None]) -> Generator[asyncio.Event]:
    """Turns the signals into an event; a second signal kills the processes at once."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask() -> None:
        if asked.is_set():
            supervisor.kill()
            return
        log("Stopping. Press Ctrl-C again to stop at once.")
        asked.set()

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, ask)
    try:
        yield asked
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _stopped_at_the_end(supervisor: Supervisor) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await supervisor.stop()


async def _unless(asked: asyncio.Event, starting: Coroutine[Any, Any, None]) -> None:
    """Wait for the start, or for a stop signal, whichever comes first."""
    start_task = asyncio.create_task(starting)
    ask_task = asyncio.create_task(asked.wait())
    try:
        await asyncio.wait({start_task, ask_task}, return_when=asyncio.FIRST_COMPLETED)
        if start_task.done():
            await start_task
    finally:
        for task in (start_task, ask_task):
            task.cancel()
        await asyncio.gather(start_task, ask_task, return_exceptions=True)
