"""What keeps a worker from hosting functions is reported with the setting, the cause and the cure."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from orchestrator.runtime.process import MisconfiguredError
from orchestrator.settings import Settings
from tests.support.stage import Stage
from workers.__main__ import open_hosted_functions


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        ("nowhere_at_all:service", "There is no module 'nowhere_at_all' here"),
        (
            "orchestrator.runtime.ids:service",
            "orchestrator.runtime.ids:service is no Service: the module has no",
        ),
        ("a_broken_module:service", "importing 'a_broken_module:service' raised ZeroDivisionError"),
    ],
)
async def test_a_target_that_leads_nowhere(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, cause: str
) -> None:
    (tmp_path / "a_broken_module.py").write_text("1 / 0\n")
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    with pytest.raises(MisconfiguredError) as raised:
        await open_hosted_functions(stage.store, Settings(hosted_functions=target))
    assert "PERDURE_HOSTED_FUNCTIONS (`perdure dev --hosted`): " in str(raised.value)
    assert cause in str(raised.value)
    assert "Name services as `module:name`" in str(raised.value)


async def test_a_cluster_that_is_not_there(stage: Stage) -> None:
    settings = Settings(
        hosted_functions="benchmarks.sides.hosted_functions:service", hosted_cluster="nowhere"
    )
    with pytest.raises(MisconfiguredError, match=r"PERDURE_HOSTED_CLUSTER: .* 'nowhere'"):
        await open_hosted_functions(stage.store, settings)
