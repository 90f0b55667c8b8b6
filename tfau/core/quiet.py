"""Keeps native libraries from writing to stderr behind Python's back."""

import contextlib
import importlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_natives() -> Iterator[None]:
    """Sends what is written to file descriptor 2 inside the `with` nowhere.

    Codecs and delegates print there whatever they like, on success too, and cannot be told not
    to. What matters of it reaches us as an exception or an empty result, and we say it in one
    sentence. Other threads are silenced as well, so keep the `with` short.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # a service without stderr
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def import_quietly(*modules: str) -> None:
    """Imports modules that talk while they start, such as TensorFlow; errors still come through.

    What its libraries write then comes before any setting of theirs can reach them.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_natives():
        for module in modules:
            importlib.import_module(module)
