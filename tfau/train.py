"""`python -m tfau.train [CONFIG] [--options]`: trains a network, scores it, says what comes next.

Without CONFIG it runs `synthetic_tiny`, on faces that come with the package. With `--folds all` it
trains a network for every fold of the config's protocol and scores all their predictions together.
With `--finetune RUN` instead of CONFIG it trains the network of a run further, a quarter of its
epochs at a tenth of its rate; `--quantize static_wi8_ai8` rounds as the int8 graph will.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfau import configs
from tfau.core.errors import ctrl_c, require_extra, run_cli
from tfau.core.quiet import import_quietly

if TYPE_CHECKING:
    from rich.console import Console

    from tfau.data.pipeline import PreparedSet
    from tfau.devices import Spread
    from tfau.training import Run


@dataclass(frozen=True)
class Places:
    """Where things lie.

    Args:
        runs: Folder that holds the run folders.
        data_dir: Folder of prepared sets (default: TFDS's own).
        manual_dir: Folder with the files that only the owner of a data set hands out.
        resume: Continue the run of that name.
        folds: Folds to train one after the other, `all` or `1,3`; each is a run in `runs/NAME`.
        dry_run: Do one step, say what would be trained and how long it would take, write nothing.
        distribute: Share each batch between all devices of this host.
    """

    runs: Path = Path("runs")
    data_dir: str | None = None
    manual_dir: str | None = None
    resume: bool = False
    folds: str = ""
    dry_run: bool = False
    distribute: bool = False


@dataclass(frozen=True)
class Command:
    """What the command line says."""

    config: configs.TrainConfig
    places: Places = Places()


def main(argv: Sequence[str] | None = None) -> None:
    """Trains."""
    require_extra(
        "train",
        "tensorflow",
        "keras",
        "tensorflow_datasets",
        "matplotlib",
        "pyarrow",
        "rich",
        "tyro",
    )
    import tyro

    args = list(sys.argv[1:] if argv is None else argv)
    named = bool(args) and not args[0].startswith("-")
    chosen = configs.load(args.pop(0) if named else "synthetic_tiny")
    if not named and (start := _finetune(args)):
        chosen = configs.TrainConfig.read(start / "config.json").finetuned(start)
    command = tyro.cli(
        Command,
        args=args,
        default=Command(chosen),
        prog="python -m tfau.train [CONFIG]",
        description=f"{__doc__}\n\nConfigs: {', '.join(configs.names())}.",
        config=(tyro.conf.OmitArgPrefixes,),
    )
    _train(command.config, command.places)


def _finetune(args: Sequence[str]) -> Path | None:
    """Finds the run that is to be trained further, before anything else is read."""
    words = [word for arg in args for word in arg.split("=", 1)]
    return next((Path(b) for a, b in itertools.pairwise(words) if a == "--finetune"), None)


def _train(config: configs.TrainConfig, places: Places) -> None:
    import_quietly("tensorflow")
    from rich.console import Console

    from tfau import devices, evaluate, training

    console, spread = Console(), devices.Spread(places.distribute)
    folder = places.runs / config.name
    # What can be refused is refused before a data set is prepared.
    training.Run.check(config)
    if places.dry_run:
        run = training.Run(folder, config)
    elif not places.folds:
        run = training.Run.create(config, folder, resume=places.resume)
    console.print(f"Preparing {config.dataset}", highlight=False)
    data = training.open_data(config.datasets, places.data_dir, places.manual_dir)
    if places.dry_run:
        console.print(run.rehearse(data), highlight=False, soft_wrap=True)
        return
    if not places.folds:
        _train_one(run, data, console, spread)
        console.print(f"Report, tables and pictures: {run.folder}", highlight=False, soft_wrap=True)
        if config.network == "heatmap":
            bundle = run.folder / f"{config.name}_static_wi8_ai8.tflite"
            console.print(
                f"Next:\n  python -m export {run.folder}\n"
                f"  python -m edge.video PHOTO_OR_VIDEO --model {bundle} -o out",
                highlight=False,
                soft_wrap=True,
            )
        return

    total = len(training.folds_of(config, data))
    runs = []
    for number in evaluate.fold_numbers(places.folds, total):
        name = f"fold{number}"
        fold = dataclasses.replace(config, name=f"{config.name}_{name}", fold=number)
        there = (folder / name / "config.json").exists()
        runs.append(training.Run.create(fold, folder / name, resume=places.resume and there))
    for run in runs:
        run.steps(data)  # a fold that cannot be trained stops us before the first is
    for run in runs:
        console.print(f"Fold {run.config.fold} of {total}", highlight=False)
        _train_one(run, data, console, spread)
    evaluate.pool([run.folder for run in runs], folder)
    console.print(f"All folds together: {folder}", highlight=False, soft_wrap=True)


def _train_one(run: Run, data: PreparedSet, console: Console, spread: Spread) -> None:
    """Trains a run to its end, with a progress bar, and shows its scores."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    config, steps = run.config, run.steps(data)
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        done = len(run.history())
        bar = progress.add_task(
            "train", total=steps * config.epochs, completed=steps * done, epoch=done + 1, loss=0.0
        )

        try:
            with ctrl_c() as check:

                def on_batch(batch: int, loss: float) -> None:
                    check()
                    epoch = len(run.history())
                    progress.update(
                        bar, completed=epoch * steps + batch, epoch=epoch + 1, loss=loss
                    )

                run.train(
                    data,
                    on_batch,
                    lambda line: progress.console.print(line, highlight=False),
                    spread,
                )
        except KeyboardInterrupt:
            progress.stop()
            console.print(
                f"Stopped; {len(run.history())} epochs are kept. "
                "The same command with --resume goes on from there.",
                highlight=False,
            )
            raise
    ended = all((run.folder / name).exists() for name in ("calibration.npz", "report.md"))
    if len(run.history()) > done or not ended:
        run.finish(data).show_briefly()


# A renderer process imports this file again under another name, and must not train anything.
if __name__ == "__main__":
    sys.exit(run_cli(main))
