"""`python -m tfau.pairs`: teaches the network whose weights everyone may use.

It learns from rendered faces with exact labels, and compares each face with the same person at
rest, if that is known. First `python -m tfds_builders synthetic_faces/full --manual-dir RIG`; after
it `python -m export runs/NAME`.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from tfau.core.errors import ctrl_c, require_extra, run_cli
from tfau.core.quiet import import_quietly


def main(argv: Sequence[str] | None = None) -> None:
    """Trains a pair network."""
    parser = argparse.ArgumentParser(
        prog="python -m tfau.pairs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", default="free", help="name of the run (free)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (runs)")
    parser.add_argument(
        "--dataset", default="synthetic_faces/full", help="with meshes (%(default)s)"
    )
    parser.add_argument("--data-dir", help="folder of prepared sets (default: TFDS's own)")
    parser.add_argument(
        "--backbone", default="compact", help="of `tfau.models.backbones` (%(default)s)"
    )
    parser.add_argument("--weights", help="of the backbone, a Keras file")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the people (20)")
    parser.add_argument("--people", type=int, default=24, help="people in a batch (24)")
    parser.add_argument("--each", type=int, default=4, help="pictures of each (4)")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="highest (2e-3)")
    parser.add_argument("--crop-size", type=int, default=128, help="px (128)")
    parser.add_argument(
        "--teacher",
        nargs="+",
        default=[],
        metavar="RUN",
        help="runs, or .tflite, whose answers (the mean of them) are learnt too",
    )
    parser.add_argument("--start", default="", help="run, or .tflite, to train further")
    parser.add_argument(
        "--frozen", action="store_true", help="leave the backbone as it starts: a third of the time"
    )
    parser.add_argument(
        "--keep",
        type=float,
        default=0.0,
        help="share of the start's weights in those that a run ends with, 0 to 1 (0)",
    )
    parser.add_argument(
        "--mean-of",
        nargs="+",
        metavar="RUN",
        help="do not learn: take the mean of runs with one start and different seeds",
    )
    parser.add_argument(
        "--photo-folder", type=Path, help="photographs of one face each, whom the teacher labels"
    )
    parser.add_argument("--photos", type=int, default=16, help="of them in a batch (16)")
    parser.add_argument(
        "--views",
        type=int,
        default=0,
        help="pictures that are made of each: the head turns, the face moves; needs --rig (0)",
    )
    parser.add_argument("--rig", type=Path, help="folder of the face rig, for --views")
    parser.add_argument(
        "--teaching", type=float, default=1.0, help="weight of what the teacher says (1)"
    )
    parser.add_argument(
        "--relative",
        type=float,
        default=0.0,
        help="share of faces that are compared with one that is not at rest (0)",
    )
    parser.add_argument(
        "--person", type=float, default=0.0, help="how far shapes of faces are mixed, 0 to 1 (0)"
    )
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--seed", type=int, default=0, help="decides everything random (0)")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    args = parser.parse_args(argv)
    for name in ("epochs", "people", "each", "crop_size"):
        if getattr(args, name) < 1 + (name == "each"):
            raise ValueError(f"`--{name.replace('_', '-')}` is too small: {getattr(args, name)}.")
    for name in ("photos", "views", "teaching"):
        if getattr(args, name) < 0:
            raise ValueError(f"`--{name}` must not be below 0. Received: {getattr(args, name)}.")
    for name in ("relative", "person", "keep"):
        if not 0 <= getattr(args, name) <= 1:
            raise ValueError(f"`--{name}` must be 0 to 1. Received: {getattr(args, name)}.")
    require_extra("train", "tensorflow", "keras", "tensorflow_datasets", "rich")
    import_quietly("tensorflow")
    import numpy as np
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from tfau import devices
    from tfau.core.action_units import AUSet
    from tfau.pairs.learning import PairConfig, PairRun, answers, network
    from tfau.pairs.lessons import Lessons, Photos
    from tfau.pairs.puppets import Puppeteer
    from tfau.training import open_data

    devices.set_up()
    for name in ("keep", "frozen"):
        if getattr(args, name) and not args.start:
            raise ValueError(f"`--{name}` needs --start, whose weights are kept.")
    if args.photo_folder and not args.teacher:
        raise ValueError("`--photo-folder` needs --teacher, who says what the photographs show.")
    args.photos = args.photos if args.photo_folder else 0
    if args.views and not (args.photo_folder and args.rig):
        raise ValueError("`--views` needs --photo-folder and --rig: whose faces move, and how.")
    for source in (*args.teacher, args.start):
        if source and not Path(source).exists():
            raise ValueError(f"There is no run, and no .tflite, at {source}.")
    fields = {field.name for field in dataclasses.fields(PairConfig)} - {"mean_of"}
    args.teacher = tuple(args.teacher)
    config = PairConfig(**{name: value for name, value in vars(args).items() if name in fields})
    run = PairRun(args.runs / config.name, config)
    if (run.folder / "config.json").exists() != args.resume:
        raise ValueError(
            f"There is no run in {run.folder} to resume."
            if args.resume
            else f"{run.folder} exists; continue it with --resume, or choose another name."
        )
    if args.resume and PairRun.open(run.folder).config != config:
        raise ValueError(f"{run.folder} was made with other settings; repeat them.")
    console = Console(stderr=False)
    after = f"`python -m export {run.folder}` makes files for the edge."
    if args.mean_of:
        PairRun.mean(run.folder, [PairRun.open(Path(folder)) for folder in args.mean_of])
        console.print(after, highlight=False)
        return
    aus = AUSet(config.aus)
    puppeteer = Puppeteer.of_rig(args.rig, aus) if args.views else None
    data = open_data([config.dataset], args.data_dir)
    console.print(f"{data.name}: reading {len(data)} crops", highlight=False)
    lessons = Lessons.read(data, aus, config.crop_size)
    taught = photos = None
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress, ctrl_c() as check:
        bar = progress.add_task("")

        def on_step(what: str, done: int, total: int) -> None:
            check()
            progress.update(bar, description=what, total=total, completed=done)

        teachers = [network(teacher, lessons) for teacher in config.teacher]
        made = None
        if args.photo_folder:
            on_photo = functools.partial(on_step, "photographs")
            made = Photos.read(
                args.photo_folder, aus, config.crop_size, puppeteer, args.views, on_photo
            )
        said = []
        for name, net in zip(config.teacher, teachers, strict=True):
            console.print(f"Asking {name}", highlight=False)
            if made:
                crop, mesh = (
                    answers(net, made.lessons, calibrated=False, senses=senses)[0]
                    for senses in ("image", "mesh")
                )
                said.append(made.taught(crop, mesh))
            else:
                said.append(answers(net, lessons, calibrated=True)[0])
        if made:
            photos = made.lessons, np.mean(said, axis=0)
        elif said:
            taught = np.mean(said, axis=0)
        run.train(
            lessons,
            lambda line: progress.console.print(line, highlight=False),
            lambda batch, steps, loss: on_step(f"loss {loss:.4f}", batch, steps),
            taught,
            photos,
        )
    provenance = {"dataset": data.name, "licence": data.licence}
    if photos:
        provenance["photographs"] = f"{photos[0].subject.max() + 1} without labels"
    run.finish(lessons, provenance)
    console.print(after, highlight=False)


if __name__ == "__main__":
    sys.exit(run_cli(main))
