"""`python -m tfau.train [CONFIG] [--options]`: trains a network, scores it, says what comes next.

Without CONFIG it runs `synthetic_tiny`, on faces that come with the package.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfau import configs
from tfau.core.errors import require_extra, run_cli
from tfau.core.quiet import import_quietly


@dataclass(frozen=True)
class Places:
    """Where things lie.

    Args:
        runs: Folder that holds the run folders.
        data_dir: Folder of prepared sets (default: TFDS's own).
        manual_dir: Folder with the files that only the owner of a data set hands out.
        resume: Continue the run of that name.
    """

    runs: Path = Path("runs")
    data_dir: str | None = None
    manual_dir: str | None = None
    resume: bool = False


@dataclass(frozen=True)
class Command:
    """What the command line says."""

    config: configs.TrainConfig
    places: Places = Places()


def main(argv: Sequence[str] | None = None) -> None:
    """Trains."""
    require_extra(
        "train", "tensorflow", "keras", "tensorflow_datasets", "matplotlib", "rich", "tyro"
    )
    import tyro

    args = list(sys.argv[1:] if argv is None else argv)
    named = bool(args) and not args[0].startswith("-")
    chosen = configs.load(args.pop(0) if named else "synthetic_tiny")
    command = tyro.cli(
        Command,
        args=args,
        default=Command(chosen),
        prog=f"python -m tfau.train [{' | '.join(configs.names())}]",
        description=__doc__,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    _train(command.config, command.places)


def _train(config: configs.TrainConfig, places: Places) -> None:
    import_quietly("tensorflow")
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from tfau import evaluate
    from tfau.training import Run

    console = Console()
    run = Run.create(config, places.runs, resume=places.resume)
    console.print(f"Preparing {config.dataset}", highlight=False)
    data = run.data(places.data_dir, places.manual_dir)
    steps = run.steps(data)
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

        def on_batch(batch: int, loss: float) -> None:
            epoch = len(run.history())
            progress.update(bar, completed=epoch * steps + batch, epoch=epoch + 1, loss=loss)

        try:
            run.train(data, on_batch, lambda line: progress.console.print(line, highlight=False))
        except KeyboardInterrupt:
            progress.stop()
            console.print(
                f"Stopped; {len(run.history())} epochs are kept. "
                "The same command with --resume goes on from there.",
                highlight=False,
            )
            raise
    evaluate.show(run.finish(data), f"{config.name} on people it has not seen")
    bundle = run.folder / f"{config.name}_static_wi8_ai8.tflite"
    console.print(
        f"Report, curves and maps: {run.folder}\nNext:\n  python -m export {run.folder}\n"
        f"  python -m edge.video PHOTO_OR_VIDEO --model {bundle} -o out",
        highlight=False,
        soft_wrap=True,
    )


# A renderer process imports this file again under another name, and must not train anything.
if __name__ == "__main__":
    sys.exit(run_cli(main))
