"""Keeps native libraries from writing to stderr behind Python's back."""

import contextlib
import importlib
import os
import threading
from collections.abc import Iterator


class _Silence:
    """Holds what was file descriptor 2 while anybody wants silence. Threads share it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wanted = 0
        self.stderr = -1

    def begin(self) -> None:
        """Silences, if nobody has yet."""
        with self.lock:
            self.wanted += 1
            if self.wanted == 1:
                self.stderr = -1
                with contextlib.suppress(OSError):  # a service without stderr
                    self.stderr = os.dup(2)
                    nowhere = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(nowhere, 2)
                    os.close(nowhere)

    def end(self) -> None:
        """Gives stderr back, if nobody else wants silence."""
        with self.lock:
            self.wanted -= 1
            if self.wanted == 0 and self.stderr >= 0:
                os.dup2(self.stderr, 2)
                os.close(self.stderr)


_SILENCE = _Silence()


@contextlib.contextmanager
def quiet_natives() -> Iterator[None]:
    """Sends what is written to file descriptor 2 inside the `with` nowhere.

    Codecs and delegates print there whatever they like, on success too, and cannot be told not
    to. What matters of it reaches us as an exception or an empty result, and we say it in one
    sentence. Other threads are silenced as well, so keep the `with` short.
    """
    _SILENCE.begin()
    try:
        yield
    finally:
        _SILENCE.end()


def import_quietly(*modules: str) -> None:
    """Imports modules that talk while they start, such as TensorFlow; errors still come through.

    What its libraries write then comes before any setting of theirs can reach them.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_natives():
        for module in modules:
            importlib.import_module(module)
