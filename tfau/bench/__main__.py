"""Measures how fast tfau is here, against what it must keep up with.

Ends with status 1 where it does not, so that a script can ask.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tfau.bench import device, model, pipeline, train, web
from tfau.core.errors import run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints a table, and says by the status whether all is well."""
    parser = argparse.ArgumentParser(prog="python -m tfau.bench", description=__doc__)
    commands = parser.add_subparsers(metavar="WHAT", required=True)
    for name, module, summary in (
        ("device", device, "frames a second on this device, and where the time goes"),
        ("model", model, "time that an exported model takes for a crop, its memory and energy"),
        ("pipeline", pipeline, "crops a second that are read, augmented and batched"),
        ("web", web, "frames a second of the page in a browser, against Python"),
        ("train", train, "images a second that a network learns from, against PyTorch"),
    ):
        command = commands.add_parser(name, help=summary, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    status: int = args.run(args)
    return status


if __name__ == "__main__":
    sys.exit(run_cli(main))
