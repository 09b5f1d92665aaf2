"""Commands and their options: used in scripts and unit files."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from api.keys import _parser
from perdure.cli.app import build_app
from tests.compatibility.comparison import Json
from tests.compatibility.sections.source import REPOSITORY

_MODULES = ("api", "workers", "api.keys", "perdure.cli")


def command_lines() -> Json:
    """Installed commands, modules run with `python -m`, and the options of both command lines."""
    scripts = tomllib.loads((REPOSITORY / "sdk/pyproject.toml").read_text())["project"]["scripts"]
    return {
        "installed": sorted(scripts),
        "python -m": [name for name in _MODULES if _runs(name)],
        "perdure": _command(typer.main.get_command(build_app())),
        "api keys": _parsed(_parser()),
    }


def _runs(name: str) -> bool:
    """Whether `python -m name` does something."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return False
    file = Path(spec.origin)
    if spec.submodule_search_locations:
        file = file.with_name("__main__.py")
    return file.is_file() and 'if __name__ == "__main__":' in file.read_text()


def _command(command: Any) -> dict[str, Json]:
    """A Typer command and its subcommands."""
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    below: Mapping[str, Any] = getattr(command, "commands", {})
    return {
        "options": {
            name: _option(one)
            for one in command.params
            if one not in arguments
            for name in (*one.opts, *one.secondary_opts)
        },
        "arguments": {str(at): _option(one) for at, one in enumerate(arguments, 1)},
        "commands": {name: _command(one) for name, one in below.items()},
    }


def _option(one: Any) -> dict[str, Json]:
    return {
        "default": json.dumps(one.default, default=str),
        "required": bool(one.required),
        "takes": _takes(one),
        "environment": one.envvar or "",
    }


def _takes(one: Any) -> str:
    if getattr(one, "is_flag", False):
        return "nothing"
    return "several" if one.multiple or one.nargs != 1 else "a value"


def _parsed(parser: argparse.ArgumentParser) -> dict[str, Json]:
    """An argparse parser and its subcommands."""
    options: dict[str, Json] = {}
    arguments: dict[str, Json] = {}
    below: dict[str, Json] = {}
    for action in parser._actions:
        if _has_commands(action):
            below = _commands(action)
        elif action.option_strings:
            entry = {"default": _default_of(action), "required": action.required}
            options.update(dict.fromkeys(action.option_strings, entry))
        else:
            arguments[str(len(arguments) + 1)] = {"required": action.required}
    return {"options": options, "arguments": arguments, "commands": below}


def _has_commands(action: argparse.Action) -> bool:
    return isinstance(action, argparse._SubParsersAction)


def _commands(action: Any) -> dict[str, Json]:
    return {name: _parsed(one) for name, one in action.choices.items()}


def _default_of(action: argparse.Action) -> str:
    return "" if action.default is argparse.SUPPRESS else json.dumps(action.default)
