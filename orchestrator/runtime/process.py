"""Start and end of a server process: it exits with a code that names the reason, without finalizing the interpreter.

Temporal's native threads call into Python when one of their requests is answered. A thread that does so during the
interpreter's finalization is stopped for good, and the native runtime waits for it when it is dropped: after a normal
end the process would hang for ever, or abort (SIGABRT, "PyGILState_Release").
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
"""Exit code (EX_CONFIG of sysexits.h): a restart with the same configuration cannot help."""
_FAILED = 1

_log = logging.getLogger(__name__)


class MisconfiguredError(Exception):
    """The process cannot work with its configuration. The message names the setting, the problem and the remedy."""


def collect_garbage_again() -> None:
    """Call this when a process that imported everything with garbage collection off is ready to work.

    Objects that exist now live until the end; the collector does not visit them again.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def run_to_the_end(main: Callable[[], None]) -> NoReturn:
    """Run a process's `main`, which closes what it opened, and end the process.

    The exit code is 0, 78 if `main` raised `MisconfiguredError`, and 1 if it raised anything else.
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
