"""`python -m tfau.pairs.retrain`: teaches the weights that everyone may use, from nothing.

It renders the faces that it learns from, if that is not done; after it `python -m export
runs/tfau_free --recipes float16,static_wi8_ai8`. What is finished is left as it is, and what was
stopped goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tfau.core.errors import require_extra, run_cli
from tfau.core.quiet import import_quietly
from tfau.pairs.__main__ import main as learn
from tfds_builders import prepare

STAGES = {
    "renders": "--dataset synthetic_faces/loose --people 24 --epochs 24 --learning-rate 2e-3",
    "teacher": "--dataset synthetic_faces/loose --people 16 --epochs 4 --learning-rate 1e-3 "
    "--photos 64 --teacher {runs}/renders --backbone efficientnet_lite0 --weights {lite0}",
    "moved": "--dataset synthetic_faces/lively --people 16 --epochs 6 --learning-rate 1e-3 "
    "--photos 48 --teacher {runs}/teacher --start {runs}/renders",
    "tfau_free": "--dataset synthetic_faces/lively --people 16 --epochs 6 --learning-rate 1e-3 "
    "--photos 64 --teacher {runs}/teacher --start {runs}/moved --frozen",
}
"""Runs, and what each is told beside what all are told: a student learns from rendered faces; a
larger network that starts from ImageNet learns what he says of photographs, and that faces in them
move; the student learns that from it; and once more, with his backbone left as it is."""

_ALL = "--relative .5 --person .7 --runs {runs} --seed {seed}"
_PHOTOGRAPHS = "--views 10 --photo-folder {photos} --rig {rig}"


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the stages that are not finished, in order."""
    parser = argparse.ArgumentParser(
        prog="python -m tfau.pairs.retrain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rig", type=Path, required=True, help="folder of the face rig")
    parser.add_argument(
        "--photo-folder", type=Path, required=True, help="photographs of one face each"
    )
    parser.add_argument(
        "--lite0",
        type=Path,
        required=True,
        help="EfficientNet-Lite0 from ImageNet, as `python -m tfau.models.weights` writes it",
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (runs)")
    parser.add_argument("--data-dir", help="folder of prepared sets (default: TFDS's own)")
    parser.add_argument("--seed", type=int, default=0, help="decides everything random (0)")
    args = parser.parse_args(argv)
    for path in (args.rig, args.photo_folder, args.lite0):
        if not path.exists():
            raise ValueError(f"There is nothing at {path}.")
    require_extra("train", "tensorflow", "keras", "tensorflow_datasets", "rich")
    import_quietly("tensorflow")
    from tfau.pairs.learning import PairRun

    waiting = []
    for name in STAGES:
        folder = args.runs / name
        if not (folder / "provenance.json").exists():
            waiting.append(name)
        elif (seed := PairRun.open(folder).config.seed) != args.seed:
            raise ValueError(f"{folder} was made with --seed {seed}; choose other --runs.")
    if waiting:
        _look(args.rig, args.photo_folder, args.lite0)
        for name in ("loose", "lively"):
            prepare(f"synthetic_faces/{name}", args.data_dir, str(args.rig))
    known = {
        "runs": args.runs,
        "seed": args.seed,
        "lite0": args.lite0,
        "photos": args.photo_folder,
        "rig": args.rig,
    }
    for name in waiting:
        words = f"{STAGES[name]} {_ALL}".split()
        words += _PHOTOGRAPHS.split() if "--photos" in words else []
        words = [word.format(**known) for word in words]
        words += ["--data-dir", args.data_dir] if args.data_dir else []
        words += ["--resume"] if (args.runs / name / "config.json").exists() else []
        print(f"{list(STAGES).index(name) + 1} of {len(STAGES)}: {name}", flush=True)
        learn([name, *words])
    files = args.runs / list(STAGES)[-1]
    print(f"`python -m export {files} --recipes float16,static_wi8_ai8` makes files of it.")


def _look(rig: Path, photo_folder: Path, lite0: Path) -> None:
    """Raises now what would stop a later stage, an hour from here."""
    from tfau.core.action_units import AUSet
    from tfau.models import backbones
    from tfau.pairs import ALL_UNITS
    from tfau.pairs.lessons import Photos
    from tfau.pairs.puppets import Puppeteer

    print("Looking at the rig, the photographs and the weights", flush=True)
    aus, size = AUSet(ALL_UNITS), 128
    Puppeteer.of_rig(rig, aus)
    backbones.named("efficientnet_lite0")(size, weights=str(lite0))
    Photos.read(photo_folder, aus, size)


if __name__ == "__main__":
    sys.exit(run_cli(main))
