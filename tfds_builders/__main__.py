"""`python -m tfds_builders NAME`: prepares a data set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tfau.core.errors import require_extra, run_cli
from tfau.core.quiet import import_quietly


def main(argv: Sequence[str] | None = None) -> None:
    """Prepares a data set and says where it lies."""
    import tfds_builders

    parser = argparse.ArgumentParser(prog="python -m tfds_builders", description=__doc__)
    parser.add_argument("name", help=f"NAME or NAME/CONFIG of {', '.join(tfds_builders.NAMES)}")
    parser.add_argument("--data-dir", help="folder of prepared sets (default: TFDS's own)")
    parser.add_argument("--manual-dir", help="folder with the files only their owner hands out")
    args = parser.parse_args(argv)
    require_extra("train", "tensorflow", "tensorflow_datasets")

    import_quietly("tensorflow")
    folder = tfds_builders.prepare(args.name, args.data_dir, args.manual_dir)
    print(f"{args.name} is prepared in {folder}")


# A renderer process imports this file again under another name, and must not prepare anything.
if __name__ == "__main__":
    sys.exit(run_cli(main))
