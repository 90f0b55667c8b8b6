"""The front door: `tfau COMMAND ...` is `python -m MODULE ...`. It imports nothing heavy itself."""

from __future__ import annotations

import difflib
import runpy
import sys
from collections.abc import Sequence
from typing import NamedTuple

from tfau import __version__
from tfau.core.errors import require_extra, run_cli


class Command(NamedTuple):
    """Names the module behind a command, and says in one line what it does."""

    module: str
    summary: str
    words: tuple[str, ...] = ()  # that come before those of the user


COMMANDS = {
    "train": Command("tfau.train", "train a network; with no argument, on synthetic faces"),
    "runs": Command("tfau.runs", "set runs side by side, the best first"),
    "evaluate": Command("tfau.evaluate", "score a trained network on people it never saw"),
    "datasets": Command("tfds_builders", "prepare a data set"),
    "export": Command("export", "turn a trained network into .tflite files"),
    "inspect": Command("edge.inspect", "say what a model file is"),
    "verify": Command("edge.verify", "prove that a model file answers here as where it was made"),
    "video": Command("edge.video", "action units of a photo, a folder or a video"),
    "analyze": Command("edge.analyze", "what a person did with their face: tables and a story"),
    "compare": Command("edge.compare", "agreement of two tools' tables"),
    "align": Command("edge.align", "turn and move photos onto a reference face"),
    "camera": Command("edge.camera", "action units of a live camera or stream"),
    "web": Command("edge.web", "serve the page that reads action units in a browser, on a phone"),
    "crop": Command("edge.crop", "cut the faces of photos and videos out, aligned"),
    "pairs": Command("tfau.pairs", "train the network that comes with tfau anew"),
    "classic": Command("tfau.classic", "train support vector machines instead of a network"),
    "image": Command("tfau.classic", "units and emotions in a photo, so trained", ("image",)),
    "bench": Command(
        "tfau.bench", "measure how fast it is here, against what it must keep up with"
    ),
    "doctor": Command("tfau.doctor", "say what is installed, found, and missing for what"),
}


def usage() -> str:
    """Lists the commands, one line each."""
    rows = "\n".join(f"  {name:<9} {command.summary}" for name, command in COMMANDS.items())
    return f"usage: tfau COMMAND [...]\n\n{rows}\n\ntfau COMMAND --help tells more."


def hand_over(argv: Sequence[str] | None = None) -> None:
    """Runs the module behind the first word of `argv`, and leaves it the words after it.

    Args:
        argv: Words after `tfau`; those of the command line if None.

    Raises:
        ValueError: If there is no such command.
        MissingExtra: If the module needs a package that is not installed.
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        return
    if name == "--version":
        print(f"tfau {__version__}")
        return
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        remedy = f"Did you mean {near[0]}?" if near else "`tfau --help` tells what each does."
        raise ValueError(
            f"`COMMAND` must be one of {', '.join(COMMANDS)}. Received: COMMAND={name}. {remedy}"
        )
    sys.argv[1:] = [*COMMANDS[name].words, *rest]
    try:
        runpy.run_module(COMMANDS[name].module, run_name="__main__", alter_sys=True)
    except ModuleNotFoundError as error:
        from tfau.doctor import EXTRAS

        package = (error.name or "").partition(".")[0]
        for extra, packages in EXTRAS.items():
            if package in packages:
                require_extra(extra, package)
        raise


def main() -> int:
    """Runs `tfau`.

    Returns:
        The exit status: 2 after one sentence on stderr when it was called wrongly.
    """
    return run_cli(hand_over)
