"""How a process of the server begins, and how it ends: with a code that says why, its interpreter not taken down.

Temporal's native threads call into Python whenever a request of theirs is answered. One that does so while the
interpreter is being taken down is stopped for good, and the native runtime waits for it when it is dropped: the process
hangs for ever after an end in which nothing went wrong, or aborts (SIGABRT, "PyGILState_Release").
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

NEEDS_A_PERSON = 78
"""Exit code (EX_CONFIG of sysexits.h): started again as it is, the process would end again."""
_FAILED = 1

_log = logging.getLogger(__name__)


class MisconfiguredError(Exception):
    """The process cannot work as it is set up. The message names the setting, what is wrong with it and the cure."""


def collect_garbage_again() -> None:
    """To be called when a process that imported everything without collecting is ready to work.

    What is there stays to the end, and is not looked at again.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def run_to_the_end(main: Callable[[], None]) -> NoReturn:
    """Run a process's `main`, which closes what it opened, and end the process.

    The code is 0, 78 where `main` raised `MisconfiguredError`, 1 where it raised anything else.
    """
    code = _code_of(main)
    atexit._run_exitfuncs()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - hosted functions may have registered some
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _code_of(main: Callable[[], None]) -> int:
    try:
        main()
    except MisconfiguredError as error:
        sys.stderr.write(f"error: {error}\n")
        return NEEDS_A_PERSON
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else _FAILED
    except BaseException:  # noqa: BLE001 - as the interpreter would do
        _log.critical("the process fails", exc_info=True)
        return _FAILED
    return 0
