from __future__ import annotations

import subprocess
import sys

import pytest

import perdure


def test_every_public_name_is_there() -> None:
    for name in perdure.__all__:
        assert getattr(perdure, name).__name__ == name


def test_a_name_that_is_not_public_is_no_attribute() -> None:
    name = "Nothing"
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        getattr(perdure, name)


@pytest.mark.usefixtures("processes")
def test_the_contract_is_loaded_without_the_client() -> None:
    code = "import sys, perdure.contract; print('httpx2' in sys.modules, 'perdure.client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_every_error_of_the_package_is_caught_by_its_root() -> None:
    errors = [name for name in perdure.__all__ if name.endswith("Error")]
    assert len(errors) > 10
    for name in errors:
        assert issubclass(getattr(perdure, name), perdure.PerdureError)
