from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdure import ConfigurationError, PerdureError
from perdure.http.connection import CONNECTION_FILE, find_connection

ENVIRONMENT = {
    "PERDURE_URL": "http://env",
    "PERDURE_API_KEY": "k-env",
    "PERDURE_CLUSTER_ID": "c-env",
}


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A folder in which `perdure dev` runs."""
    file = tmp_path / CONNECTION_FILE
    file.parent.mkdir()
    connection = {
        "url": "http://127.0.0.1:8787",
        "apiKey": "k-dev",
        "clusterId": "c-dev",
        "temporalAddress": "127.0.0.1:7233",
    }
    file.write_text(json.dumps(connection))
    return tmp_path


def test_arguments_win_over_the_environment(local: Path) -> None:
    found = find_connection("http://arg/", "k", "c", environment=ENVIRONMENT, folder=local)
    assert (found.url, found.api_key, found.cluster_id) == ("http://arg", "k", "c")


def test_the_environment_wins_over_the_local_stack(local: Path) -> None:
    found = find_connection(environment=ENVIRONMENT, folder=local)
    assert (found.url, found.api_key, found.cluster_id) == ("http://env", "k-env", "c-env")


def test_the_local_stack_is_found_in_its_folder(local: Path) -> None:
    found = find_connection(environment={}, folder=local)
    assert (found.url, found.api_key, found.cluster_id) == (
        "http://127.0.0.1:8787",
        "k-dev",
        "c-dev",
    )


def test_the_local_key_is_never_sent_elsewhere(local: Path) -> None:
    with pytest.raises(ConfigurationError, match="No API key for https://elsewhere"):
        find_connection("https://elsewhere", environment={}, folder=local)


def test_another_key_for_the_local_stack_may_be_of_another_cluster(local: Path) -> None:
    found = find_connection(api_key="mine", environment={}, folder=local)
    assert (found.url, found.api_key, found.cluster_id) == ("http://127.0.0.1:8787", "mine", None)


def test_nothing_found_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PerdureError, match=r"perdure dev.*PERDURE_URL"):
        find_connection(environment={}, folder=tmp_path)


def test_a_broken_connection_file_is_named(local: Path) -> None:
    (local / CONNECTION_FILE).write_text("{")
    with pytest.raises(ConfigurationError, match=r"connection\.json cannot be parsed"):
        find_connection(environment={}, folder=local)


def test_an_address_without_a_scheme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="begin with http"):
        find_connection("localhost:8787", "k", environment={}, folder=tmp_path)


def test_the_key_is_in_no_repr(local: Path) -> None:
    assert "k-dev" not in repr(find_connection(environment={}, folder=local))


def test_a_users_token_needs_no_key_but_the_cluster(tmp_path: Path) -> None:
    environment = {"PERDURE_URL": "http://api", "PERDURE_API_KEY": "sk_operator"}
    with pytest.raises(ConfigurationError, match="cluster's id"):
        find_connection(custom_token="t", environment=environment, folder=tmp_path)
    found = find_connection(
        cluster_id="c", custom_token="t", environment=environment, folder=tmp_path
    )
    assert (found.scheme, found.api_key, found.cluster_id) == ("custom", "t", "c")
    assert found.url == "http://api"


def test_a_users_token_finds_the_local_stack(tmp_path: Path) -> None:
    file = tmp_path / ".perdure" / "connection.json"
    file.parent.mkdir()
    file.write_text('{"url": "http://127.0.0.1:1", "apiKey": "sk_local", "clusterId": "c-local"}')
    found = find_connection(custom_token="t", environment={}, folder=tmp_path)
    assert (found.url, found.cluster_id, found.api_key) == ("http://127.0.0.1:1", "c-local", "t")
    with pytest.raises(ConfigurationError):
        find_connection("https://elsewhere", custom_token="t", environment={}, folder=tmp_path)
