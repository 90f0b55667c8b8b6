"""`python -m tfds_builders NAME`: prepares a data set, or writes an imitation of one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tfau.core.errors import require_extra, run_cli
from tfau.core.quiet import import_quietly


def main(argv: Sequence[str] | None = None) -> None:
    """Prepares a data set and says where it lies and what it holds."""
    import tfds_builders

    parser = argparse.ArgumentParser(prog="python -m tfds_builders", description=__doc__)
    parser.add_argument("name", help=f"NAME or NAME/CONFIG of {', '.join(tfds_builders.NAMES)}")
    parser.add_argument("--data-dir", help="folder of prepared sets (default: TFDS's own)")
    parser.add_argument("--manual-dir", help="folder with the files only their owner hands out")
    parser.add_argument(
        "--skip-bad", action="store_true", help="report and skip malformed lines of labels"
    )
    parser.add_argument("--processes", type=int, help="worker processes (default: all cores)")
    parser.add_argument("--beam", metavar="RUNNER", help="let Apache Beam do it: DirectRunner, ...")
    parser.add_argument(
        "--beam-options", default="", metavar="FLAGS", help='="--flag=value ...", for the runner'
    )
    parser.add_argument(
        "--write-dummy", metavar="DIR", help="write an imitation of the files into an empty folder"
    )
    args = parser.parse_args(argv)
    if args.write_dummy:
        tfds_builders.write_dummy(args.name, Path(args.write_dummy))
        print(f"An imitation of {args.name} is in {args.write_dummy}")
        return
    require_extra("train", "tensorflow", "tensorflow_datasets")

    import_quietly("tensorflow")
    folder = tfds_builders.prepare(
        args.name,
        args.data_dir,
        args.manual_dir,
        skip_bad=args.skip_bad,
        processes=args.processes,
        beam=args.beam,
        beam_options=args.beam_options,
    )
    print(f"{args.name} is prepared in {folder}: {tfds_builders.summary(folder)}")


# A worker process imports this file again under another name, and must not prepare anything.
if __name__ == "__main__":
    sys.exit(run_cli(main))
