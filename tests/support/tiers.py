"""What each test needs, derived from the fixtures it uses; `--quick` runs those that need nothing but this process.

A test that starts a process or connects to Temporal without a fixture that says so fails: `tests.support.guard` refuses.
"""

from __future__ import annotations

import gc
from collections import Counter, defaultdict
from collections.abc import Generator
from enum import IntEnum
from typing import Any, cast

import pytest
from typing_extensions import override
from xdist.scheduler import LoadFileScheduling  # pyright: ignore[reportMissingTypeStubs]

from tests.support.guard import GUARD


class Tier(IntEnum):
    """The most costly thing that a test needs, cheapest first."""

    PURE = 0
    SQLITE = 1
    ASGI = 2
    """An HTTP application in the test's own process."""
    POSTGRES = 3
    TEMPORAL = 4
    PROCESS = 5

    @property
    def title(self) -> str:
        return self.name.lower()

    @property
    def is_quick(self) -> bool:
        return self <= Tier.ASGI


_OF_FIXTURE = {
    "sqlite_template": Tier.SQLITE,
    "services": Tier.ASGI,
    "loopback_server": Tier.ASGI,
    "listening": Tier.ASGI,
    "postgres_server": Tier.POSTGRES,
    "temporal_address": Tier.TEMPORAL,
    "processes": Tier.PROCESS,
}
_OF_DATABASE = {"sqlite": Tier.SQLITE, "postgresql": Tier.POSTGRES}
_DATABASES = ("database_url", "empty_database_url")
_ON_THE_SHARED_STACK = ("tests/end_to_end/", "tests/conformance/")


def tier_of(item: pytest.Item) -> Tier:
    """The tier of the test, from its fixtures and the database that it is parametrised with."""
    fixtures: list[str] = getattr(item, "fixturenames", [])
    tiers = [_OF_FIXTURE[name] for name in fixtures if name in _OF_FIXTURE]
    call: Any = getattr(item, "callspec", None)
    parameters = cast(dict[str, object], call.params) if call else {}
    tiers += [_OF_DATABASE[str(parameters[name])] for name in _DATABASES if name in parameters]
    return max(tiers, default=Tier.PURE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="only tests that need neither PostgreSQL, nor Temporal, nor another process",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Tiers(config))


@pytest.fixture(scope="session")
def processes() -> None:
    """Allows the test to start processes."""


class Tiers:
    """Selects tests by tier, guards them, and says what each tier took."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._tiers: dict[str, Tier] = {}
        self._left_out: Counter[str] = Counter()
        self._count: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Derive the tiers. With xdist, files with slow tiers come first, so that short ones fill the end.

        Raises `UsageError` if tests share a node id: pytest-xdist would run one of them.
        """
        shared = [
            name for name, count in Counter(item.nodeid for item in items).items() if count > 1
        ]
        if shared:
            raise pytest.UsageError(f"{len(shared)} node ids belong to several tests: {shared[0]}")
        for item in items:
            self._tiers[item.nodeid] = tier = tier_of(item)
            item.user_properties.append(("tier", tier.title))
        if self._config.getoption("quick"):
            self._select_quick(items)
        if hasattr(self._config, "workerinput"):
            slowest: dict[str, Tier] = {}
            for item in items:
                path = item.location[0]
                slowest[path] = max(self._tiers[item.nodeid], slowest.get(path, Tier.PURE))
            items.sort(key=lambda item: -slowest[item.location[0]])

    def pytest_collection_finish(self) -> None:
        """Spare the collector all modules and tests: they stay for the session."""
        gc.collect()
        gc.freeze()

    def _select_quick(self, items: list[pytest.Item]) -> None:
        slow = [item for item in items if not self._tiers[item.nodeid].is_quick]
        self._left_out = Counter(self._tiers[item.nodeid].title for item in slow)
        items[:] = [item for item in items if self._tiers[item.nodeid].is_quick]
        self._config.hook.pytest_deselected(items=slow)

    # -- the guard: a phase of a test fails when it did what its tier does not allow -------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None]:
        yield from self._guarded(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        yield from self._guarded(item)

    # Not the teardown: that of the last test also ends what other tests of the session used, PostgreSQL for one.

    def _guarded(self, item: pytest.Item) -> Generator[None]:
        tier = self._tiers[item.nodeid]
        with GUARD.forbidding(processes=tier.is_quick, temporal=tier < Tier.TEMPORAL):
            yield

    # -- what it took -----------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        tier = str(dict(report.user_properties)["tier"])
        self._seconds[tier] += report.duration
        self._count[tier] += report.when == "call" or (report.when == "setup" and not report.passed)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        output: dict[str, Any] | None = getattr(self._config, "workeroutput", None)
        if output is not None:
            output["left_out"] = dict(self._left_out)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Every xdist worker collects, and leaves out, the same tests."""
        self._left_out = Counter(getattr(node, "workeroutput", {}).get("left_out", self._left_out))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(
        self, config: pytest.Config, log: Any
    ) -> LoadFileScheduling | None:
        return StackScheduling(config, log) if config.getoption("dist") == "loadfile" else None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        ran = [
            f"{tier.title} {self._count[tier.title]} in {self._seconds[tier.title]:.1f} s"
            for tier in Tier
            if self._count[tier.title]
        ]
        if ran:
            terminalreporter.write_line(f"Tiers: {', '.join(ran)}.")
        left = [f"{count} {title}" for title, count in self._left_out.items()]
        if left:
            terminalreporter.write_line(f"Left out: {', '.join(left)}; `make test` runs them too.")


class StackScheduling(LoadFileScheduling):
    """A file at a time, but all files on the shared stack to one worker: some of them kill its processes."""

    @override
    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(_ON_THE_SHARED_STACK):
            return "the shared stack"
        return super()._split_scope(nodeid)
