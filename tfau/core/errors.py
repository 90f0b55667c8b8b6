"""The project's exceptions, and how a command line turns them into one sentence.

ValueError
 +- BundleError    a model file that is missing, damaged or not ours
 +- DatasetError   a data set that is not as its owners ship it
OSError
 +- SourceError    a camera, picture or video that cannot be read
ImportError
 +- MissingExtra   a part of tfau whose optional packages are not installed
"""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence


class BundleError(ValueError):
    """Says that a model file cannot be used."""


class DatasetError(ValueError):
    """Says where a data set is malformed."""


class SourceError(OSError):
    """Says that a camera, picture or video cannot be read."""


class MissingExtra(ImportError):
    """Names the pip command that installs what is missing."""


def require_extra(extra: str, *modules: str) -> None:
    """Checks that the packages of an optional extra can be imported, without importing them.

    Args:
        extra: Name of the extra in `pyproject.toml`, e.g. `"train"`.
        *modules: Top-level modules the caller needs.

    Raises:
        MissingExtra: If one of them is not installed.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(f"{', '.join(missing)} not installed: `pip install 'tfau[{extra}]'`.")


def run_cli(main: Callable[[Sequence[str] | None], int | None]) -> int:
    """Runs a command line so that bad input ends in one sentence, never in a traceback.

    Args:
        main: Takes `argv` (or None for `sys.argv`) and returns an exit status or None.

    Returns:
        The exit status: 0, or 2 for bad input, or 130 after Ctrl-C.
    """
    try:
        return main(None) or 0
    except KeyboardInterrupt:
        print("\ntfau: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (`head`, say) has had enough. Closing quietly is what a filter does.
        sys.stderr.close()
        return 0
    except (ValueError, OSError, MissingExtra) as error:
        said = str(error)
        if isinstance(error, OSError) and error.strerror:  # without the number
            said = error.strerror + (f": {error.filename}" if error.filename else "")
        print(f"tfau: {' '.join(said.split())}", file=sys.stderr)
        for note in getattr(error, "__notes__", ()):  # more than a sentence holds: a folder tree
            print(note, file=sys.stderr)
        return 2


@contextlib.contextmanager
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Remembers Ctrl-C: raised inside a library it gets lost, or comes out as another exception.

    Yields:
        What raises it again.
    """
    pressed = False

    def remember(*_: object) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt from None

    def report(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is not KeyboardInterrupt:
            report_before(lost)

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    report_before, sys.unraisablehook = sys.unraisablehook, report
    before = signal.signal(signal.SIGINT, remember)
    try:
        yield check
    except Exception:
        check()
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = report_before
