"""`python -m tfau.classic train | image`: action units without a network.

Histograms of gradients and the places of landmarks go into a support vector machine for each unit:
a classifier says whether it is seen (SVC), a regression how strong it is (SVR). `train` makes a
folder of such models and scores it on people they have not seen; `image` asks them about a photo.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfau.classic.emotions import describe
from tfau.classic.folder import ClassicConfig, ClassicModel
from tfau.classic.unit_model import GRIDS
from tfau.core.errors import require_extra, run_cli
from tfau.core.quiet import import_quietly

if TYPE_CHECKING:
    from rich.console import Console

    from tfau.data.pipeline import PreparedSet


def main(argv: Sequence[str] | None = None) -> None:
    """Trains models, or asks them about a photo."""
    parser = argparse.ArgumentParser(
        prog="python -m tfau.classic",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="train | image")
    train = commands.add_parser(
        "train",
        help="train models and score them; started again, it goes on where it was stopped",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    train.add_argument("--dataset", default="synthetic_faces/tiny", help="NAME/CONFIG[+NAME ...]")
    train.add_argument("--aus", type=int, nargs="+", default=[12, 25], help="units to learn")
    train.add_argument("--protocol", default="as_prepared", help="how people are divided")
    train.add_argument("--fold", type=int, default=1, help="which of its folds")
    train.add_argument("--folds", default="", help="all, or several (1,3), each in RUNS/NAME/foldK")
    train.add_argument("--limit", type=int, default=2000, help="training crops at most; 0 = all")
    train.add_argument("--grid", default="published", help=f"what is tried: {', '.join(GRIDS)}")
    train.add_argument("--seed", type=int, default=0, help="decides the folds that are drawn")
    train.add_argument("--runs", type=Path, default=Path("runs"), help="folder of run folders")
    train.add_argument("--name", default="classic", help="the folder is RUNS/NAME")
    train.add_argument("--data-dir", help="folder of prepared sets (None: TFDS's own)")
    train.add_argument("--manual-dir", help="folder with the files only their owner hands out")
    image = commands.add_parser("image", help="say which units a photo shows, and how strongly")
    image.add_argument("photo", type=Path, help="a picture file")
    image.add_argument("--model", type=Path, required=True, help="folder that `train` has made")
    args = parser.parse_args(argv)
    require_extra("classic", "skimage", "sklearn", "skops")
    if args.command == "train":
        _train(args)
        return
    model = ClassicModel.open(args.model)
    answer = model.read_photo(args.photo)
    print(describe(model.aus, *answer, presence_from=model.config.presence_from))


def _train(args: argparse.Namespace) -> None:
    require_extra("train", "tensorflow", "tensorflow_datasets", "matplotlib", "pyarrow", "rich")
    settings = {field.name for field in dataclasses.fields(ClassicConfig)} & {*vars(args)}
    config = ClassicConfig(
        **{name: getattr(args, name) for name in settings} | {"aus": (*args.aus,)}
    )
    config.check()
    import_quietly("tensorflow")
    from rich.console import Console

    import tfds_builders
    from tfau import evaluate
    from tfau.data.pipeline import PreparedSet

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Preparing {config.dataset}")
    data = PreparedSet(
        *(tfds_builders.prepare(name, args.data_dir, args.manual_dir) for name in config.datasets)
    )
    folder, models = args.runs / args.name, []
    if args.folds:
        total = len(config.folds(data))
        for number in evaluate.fold_numbers(args.folds, total):
            fold = dataclasses.replace(config, fold=number)
            models.append(ClassicModel.create(fold, data, folder / f"fold{number}"))
    else:
        models = [ClassicModel.create(config, data, folder)]
    for model in models:
        _train_one(model, data, console)
    if args.folds:
        evaluate.pool([model.folder for model in models], folder)
    console.print(
        f"Models, predictions, tables and pictures: {folder}\nNext:\n"
        f"  python -m tfau.evaluate {folder}\n"
        f"  python -m tfau.classic image PHOTO --model {models[0].folder}"
    )


def _train_one(model: ClassicModel, data: PreparedSet, console: Console) -> None:
    """Trains a folder to its end, with progress bars, and scores it; not if that is done."""
    from rich.progress import Progress

    from tfau import evaluate, scoring

    console.print(f"{model.folder}: {model.fold(data).name}")
    if (model.folder / "predictions.parquet").exists():
        return
    rows, test = model.training_rows(data), model.fold(data).test
    with Progress(console=console, transient=True) as progress:

        def bar(name: str, total: int) -> Callable[[int], None]:
            task = progress.add_task(name, total=total)
            return lambda count: progress.advance(task, count)

        try:
            model.train(data, bar("training crops", int(rows.sum())), console.print)
            said = model.answers(data, test, bar("test crops", int(test.sum())))
        except KeyboardInterrupt:
            kept = len(list(model.folder.glob("AU*.skops")))
            console.print(f"Stopped; {kept} models are kept. The same command goes on from there.")
            raise
    predictions = evaluate.beside_truth(
        data, test, model.aus, **said, fold=model.fold(data).name, facts=model.facts(data)
    )
    columns = [data.aus.index(number) for number in model.aus.numbers]
    coded = np.ma.masked_invalid(data.labels.intensity[rows][:, columns])
    scores = scoring.scores(predictions, constant=np.ma.filled(coded.mean(axis=0), np.nan))
    evaluate.publish(scores, predictions, model.folder)
    scores.show_briefly()


if __name__ == "__main__":
    sys.exit(run_cli(main))
