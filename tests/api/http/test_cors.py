"""Which pages may use the API from a browser."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

import httpx2
import pytest

from api.app import create_app
from api.context import ApiServices

OURS, STRANGE = "https://console.example", "https://anywhere.example"


@pytest.fixture
async def browser(services: ApiServices, key: str) -> AsyncGenerator[httpx2.AsyncClient]:
    settings = services.settings.model_copy(update={"cors_origins": f"{OURS}/, https://b.example"})
    app = create_app(replace(services, settings=settings))
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://api", headers={"Authorization": f"Bearer {key}"}
    ) as client:
        yield client


async def preflight(browser: httpx2.AsyncClient, path: str, origin: str) -> httpx2.Response:
    return await browser.options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )


@pytest.mark.parametrize("path", ["/runs", "/runs/some-run", "/runs/some-run/messages"])
async def test_runs_may_be_used_from_any_page_without_cookies(
    browser: httpx2.AsyncClient, cluster: str, path: str
) -> None:
    asked = await preflight(browser, f"/clusters/{cluster}{path}", STRANGE)
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in asked.headers
    answer = await browser.get(f"/clusters/{cluster}{path}", headers={"Origin": STRANGE})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-expose-headers"] == "Retry-After"


@pytest.mark.parametrize("path", ["/me", "/clusters/c/runsx", "/clusters/c/machines"])
async def test_everything_else_only_from_the_pages_that_are_set(
    browser: httpx2.AsyncClient, path: str
) -> None:
    assert (await preflight(browser, path, STRANGE)).status_code == 400
    allowed = await preflight(browser, path, OURS)
    assert allowed.headers["access-control-allow-origin"] == OURS
    refused = await browser.get(path, headers={"Origin": STRANGE})
    assert "access-control-allow-origin" not in refused.headers


async def test_without_a_setting_no_page_uses_the_rest(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/me", headers={"Origin": OURS})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
