"""The documentation is true: its code compiles and runs, its requests are answered as it says, its links lead somewhere."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.demo.stack import Connection, running_stack
from orchestrator.settings import Settings
from tests.docs.curl import read_command
from tests.docs.doc_blocks import (
    REPOSITORY,
    Block,
    all_blocks,
    blocks_of,
    fits,
    misfits,
    pages,
    with_next,
)

pytestmark = pytest.mark.timeout(120)
DOCS = REPOSITORY / "docs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pages' files are, for whoever imports them."""
    folder = tmp_path_factory.mktemp("docs")
    for block in all_blocks():
        if block.file_name is not None:
            (folder / block.file_name).write_text(block.text)
    return folder


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    prefixes = ("PERDURE_", "ANTHROPIC_", "TEMPORAL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return {
        **kept,
        "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}",
        "PYTHONUNBUFFERED": "1",
        "PERDURE_SCRIPTED_POLICIES": "greeter=policies:greeter",
    }


@pytest.fixture(scope="module")
def stack(processes: None, folder: Path, environment: dict[str, str]) -> Iterator[Connection]:
    said: list[str] = []
    with running_stack(folder / "state", said.append, environment=environment) as connection:
        yield connection
    assert said == [], "no part of the stack died"


@pytest.fixture(scope="module")
def user_environment(environment: dict[str, str], stack: Connection) -> dict[str, str]:
    """What a user's own process knows of the stack."""
    return {
        **environment,
        "PERDURE_URL": stack.url,
        "PERDURE_API_KEY": stack.api_key,
        "CLUSTER": stack.cluster_id,
    }


def named(block: Block) -> str:
    return block.name


@pytest.mark.parametrize("block", [b for b in all_blocks() if b.language == "python"], ids=named)
def test_python_in_the_docs_compiles(block: Block) -> None:
    compile(block.text, block.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


@pytest.mark.parametrize("block", [b for b in all_blocks() if b.language == "json"], ids=named)
def test_json_in_the_docs_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize(
    ("block", "output"),
    with_next("python", "runnable"),
    ids=[block.name for block, _ in with_next("python", "runnable")],
)
def test_a_script_in_the_docs_prints_what_the_page_says(
    block: Block, output: Block | None, folder: Path, user_environment: dict[str, str]
) -> None:
    script = folder / f"{Path(block.page).stem}_{block.line}.py"
    script.write_text(block.text)
    ended = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=user_environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert output is not None
    assert output.language == "text", "a script is followed by its output"
    assert fits(output.text, ended.stdout), ended.stdout


@pytest.mark.parametrize("block", [b for b, _ in with_next("python", "pytest")], ids=named)
def test_a_test_in_the_docs_passes(
    block: Block, folder: Path, user_environment: dict[str, str]
) -> None:
    file = folder / f"test_{Path(block.page).stem}_{block.line}.py"
    file.write_text(block.text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    ended = subprocess.run(
        [*command, "-c", os.devnull, f"--rootdir={folder}"],
        cwd=folder,
        env=user_environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stdout
    assert " passed" in ended.stdout


@pytest.mark.parametrize(
    "page", [p for p in pages() if "```bash\ncurl" in p.read_text()], ids=lambda page: page.name
)
def test_requests_in_the_docs_are_answered_as_the_page_says(
    page: Path, user_environment: dict[str, str]
) -> None:
    variables = dict(user_environment)
    blocks = list(blocks_of(page))
    sent = 0
    for block, answer in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language != "bash" or not block.text.startswith("curl"):
            continue
        response = read_command(block.text, variables).send()
        sent += 1
        if answer is not None and answer.language == "json":
            real = response.json()
            assert misfits(json.loads(answer.text), real) == [], f"{block.name}: {real}"
            if isinstance(real, list) and real:  # a poll: the page goes on with the call it brought
                variables["CALL"] = real[0]["id"]
        elif answer is not None and answer.language == "text":
            assert fits(answer.text, response.text or f"{response.status_code}"), block.name
    assert sent > 0


def test_the_readme_shows_the_example_as_it_is() -> None:
    example = (REPOSITORY / "examples/sales/agent.py").read_text()
    shown = [block.text for block in blocks_of(REPOSITORY / "README.md")]
    assert example in shown
    assert sum(bool(line.strip()) for line in example.splitlines()) <= 25


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        file, _, heading = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        assert found.exists(), f"{page.name} links to {target}"
        if heading:
            assert heading in headings(found), f"{page.name} links to {target}"


def headings(page: Path) -> set[str]:
    """The anchors that a page has."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_setting_is_documented_and_no_other() -> None:
    documented = set(
        re.findall(
            r"^\| `(PERDURE_\w+)`", (DOCS / "operate" / "operations.md").read_text(), re.MULTILINE
        )
    )
    known = {f"PERDURE_{name.upper()}" for name in Settings.model_fields}
    assert documented == known
