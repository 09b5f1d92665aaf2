"""Bodies, heads and questions that are far too much, at a real API process: refused with the limit, and nobody else waits.

Deselected by default, since they keep a processor busy for a minute: `make security`.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx2
import pytest

from tests.faults.ground.processes import resident_mib
from tests.support.api_process import ApiProcess, api_process

pytestmark = [pytest.mark.security, pytest.mark.timeout(180)]

MAX_CONCURRENT = 10
"""Attackers of each kind."""
SLOWEST = 1.0
"""Seconds that another's request may take meanwhile; three times the slowest before, where that is more."""
GROWTH = 100.0
"""MiB by which the process may grow: less than the bodies of one attacker."""
MEGABYTE = b" " * 1024 * 1024
DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
Attack = Callable[[httpx2.AsyncClient, str], Awaitable[httpx2.Response]]


@pytest.fixture(scope="module")
def api(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    with api_process(tmp_path_factory.mktemp("flooded")) as started:
        yield started
    assert "Traceback" not in started.log.read_text()


async def megabytes(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield MEGABYTE


# Whose body does not end within five seconds is hung up on, and may see that before it sees the answer.
async def long_body(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    length = {"Content-Length": str(100 * len(MEGABYTE))}
    return await http.post(runs, content=megabytes(100), headers=length)


async def long_chunks(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    return await http.post(runs, content=megabytes(100))


async def gzip_bomb(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    packed = gzip.compress(MEGABYTE * 100)
    return await http.post(runs, content=packed, headers={"Content-Encoding": "gzip"})


async def deep(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    return await http.post(runs, content=DEEP)


async def wide(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    return await http.post(runs, content=b"[" + b"[]," * 1_300_000 + b"[]]")


async def huge_number(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    return await http.post(runs, content=b'{"priority": ' + b"9" * 3_000_000 + b"}")


async def infinite_number(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    return await http.post(runs, content=b'{"priority": 1e999}')


async def nul(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    return await http.post(runs, content=b'{"initialPrompt": "\\u0000"}')


async def half_a_surrogate(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    return await http.post(runs, content=b'{"initialPrompt": "\\ud800"}')


async def many_fields(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    fields = dict.fromkeys(map(str, range(200_000)), 1)
    return await http.post(runs, content=json.dumps(fields).encode())


async def many_parameters(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    return await http.get(f"{runs}?{'&'.join(f'a{n}=1' for n in range(100_000))}")


async def as_many_as_fit(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    return await http.get(f"{runs}?{'a&' * 30_000}")


async def many_headers(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    return await http.get(runs, headers={f"X-{n}": "1" for n in range(5_000)})


async def long_header(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    return await http.get(runs, headers={"X-Long": "a" * 10_000_000})


async def schema_bomb(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    doubled = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)}
    schema = {"$ref": "#/$defs/d0", "$defs": {**doubled, "d30": {"type": "string"}}}
    body = {"initialPrompt": "[]", "resultSchema": schema}
    return await http.post(runs, json=body)


async def pattern_bomb(http: httpx2.AsyncClient, runs: str) -> httpx2.Response:
    body = {"initialPrompt": "[]", "resultSchema": {"pattern": "((a{1000}){1000}){1000}"}}
    return await http.post(runs, json=body)


ATTACKS: list[tuple[Attack, int, str]] = [
    (long_body, 413, "4,194,304 bytes"),
    (long_chunks, 413, "4,194,304 bytes"),
    (gzip_bomb, 415, "Content-Encoding"),
    (deep, 422, "64 levels"),
    (wide, 422, "500,000 values"),
    (huge_number, 400, "limit"),
    (infinite_number, 422, "double"),
    (nul, 422, "NUL"),
    (half_a_surrogate, 422, "surrogate"),
    (many_fields, 422, "5,000 errors are wrong"),
    (many_parameters, 431, "262,144 bytes"),
    (as_many_as_fit, 422, "100 parameters"),
    (many_headers, 431, "200 headers"),
    (long_header, 431, "262,144 bytes"),
    (schema_bomb, 413, "20,000"),
    (pattern_bomb, 422, "huge"),
]


class Neighbour:
    """Somebody who asks the same process for plain things all the while."""

    def __init__(self, api: ApiProcess) -> None:
        self._api = api
        self._took: list[float] = []

    async def live(self) -> None:
        async with client(self._api) as http:
            while True:
                begun = time.perf_counter()
                alive = await http.get("/live")
                made = await http.post(runs_of(self._api), json={"initialPrompt": "[]"})
                assert (alive.status_code, made.status_code) == (200, 201), made.text
                self._took.append((time.perf_counter() - begun) / 2)
                await asyncio.sleep(0.02)

    def slowest(self) -> float:
        """Of the last requests."""
        took, self._took = self._took, []
        return max(took)

    async def asks(self, times: int = 20) -> None:
        """Wait until so many more are answered."""
        wanted = len(self._took) + times
        async with asyncio.timeout(60):
            while len(self._took) < wanted:  # noqa: ASYNC110 - it goes on meanwhile
                await asyncio.sleep(0.02)


def client(api: ApiProcess) -> httpx2.AsyncClient:
    headers = {**api.headers, "Content-Type": "application/json"}
    return httpx2.AsyncClient(base_url=api.url, headers=headers, timeout=120)


def runs_of(api: ApiProcess) -> str:
    return f"/clusters/{api.cluster}/runs"


async def watched(
    api: ApiProcess, flood: Awaitable[list[httpx2.Response]]
) -> list[httpx2.Response]:
    """Flood the process while a neighbour asks on; checks what that and the process's memory felt."""
    neighbour = Neighbour(api)
    living = asyncio.create_task(neighbour.live())
    await neighbour.asks()
    before, memory = neighbour.slowest(), resident_mib(api.process.pid)
    answers = await flood
    await neighbour.asks(3)
    during, grown = neighbour.slowest(), resident_mib(api.process.pid) - memory
    living.cancel()
    await asyncio.gather(living, return_exceptions=True)
    sys.stdout.write(f" slowest {before * 1000:.0f} -> {during * 1000:.0f} ms, {grown:+.0f} MiB ")
    assert during < max(SLOWEST, 3 * before)
    assert grown < GROWTH
    return answers


@pytest.mark.parametrize(
    ("attack", "status", "says"), ATTACKS, ids=lambda it: getattr(it, "__name__", "")
)
async def test_a_flood_is_refused_with_its_limit_and_nobody_waits(
    api: ApiProcess, attack: Attack, status: int, says: str
) -> None:
    async def flood() -> list[httpx2.Response]:
        async with client(api) as http:
            asked = (attack(http, runs_of(api)) for _ in range(MAX_CONCURRENT))
            came = await asyncio.gather(*asked, return_exceptions=True)
        hung_up = [one for one in came if isinstance(one, httpx2.TransportError)]
        assert not hung_up or attack in {long_body, long_chunks}, hung_up
        return [one for one in came if isinstance(one, httpx2.Response)]

    for answer in await watched(api, flood()):
        assert answer.status_code == status, answer.text[:300]
        assert answer.headers["content-type"] == "application/problem+json"
        assert says in answer.json()["detail"]
