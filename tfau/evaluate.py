"""`python -m tfau.evaluate RUN...`: scores what was trained on people it has not seen.

RUN is the folder of a run, of a network or of classic models, a folder that holds the folds of one
(`runs/NAME`), or the `predictions.parquet` of an earlier scoring, which needs neither. Several are
pooled: the scores are those of all their predictions together, as papers report folds. On another
data set (`--dataset`), where all look at the same people, it is their mean that is scored.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tfau import __version__
from tfau.core.action_units import INTENSITY_MAX, AUSet
from tfau.core.errors import require_extra, run_cli
from tfau.core.examples import EMOTIONS
from tfau.core.files import whole_file
from tfau.core.heatmaps import HeatmapCodec
from tfau.core.quiet import import_quietly

if TYPE_CHECKING:
    import keras

    from tfau.classic.folder import ClassicModel
    from tfau.data.pipeline import PreparedSet
    from tfau.predictions import Predictions
    from tfau.scoring import Scores
    from tfau.training import Run


def predict(
    model: keras.Model,
    data: PreparedSet,
    rows: npt.NDArray[np.bool_],
    aus: AUSet,
    codec: HeatmapCodec,
    *,
    fold: str = "",
    facts: dict[str, str] | None = None,
) -> Predictions:
    """Runs a network over examples, a batch at a time.

    Args:
        model: A network of `tfau.models.networks`.
        data: The prepared set or sets.
        rows: (N,) which of its examples.
        aus: Units of the network.
        codec: Reads its maps, if it answers maps, and knows the size of its crops.
        fold: Name of the fold that these examples test.
        facts: What else should be known of these predictions.

    Returns:
        What is true and what the network says, example by example. What it does not say, be it
        intensity, presence or emotion, is NaN.
    """
    said: dict[str, list[npt.NDArray[np.float32]]]
    said = {"intensity": [], "presence": [], "emotion": []}
    for images, _ in data.batches(rows, data.aus, codec.crop_size, 64).as_numpy_iterator():
        answer = model.predict_on_batch(images)
        if "heatmaps" in answer:
            said["intensity"].append(aus.pool(codec.decode(answer["heatmaps"])[..., 2]))
        for name in said.keys() & answer.keys():
            said[name].append(answer[name])
    values = {name: np.concatenate(parts) for name, parts in said.items() if parts}
    return beside_truth(data, rows, aus, **values, fold=fold, facts=facts)


def beside_truth(
    data: PreparedSet,
    rows: npt.NDArray[np.bool_],
    aus: AUSet,
    *,
    intensity: npt.NDArray[np.float32] | None = None,
    presence: npt.NDArray[np.float32] | None = None,
    emotion: npt.NDArray[np.float32] | None = None,
    fold: str = "",
    facts: dict[str, str] | None = None,
) -> Predictions:
    """Sets what is said of examples beside what is true of them.

    Args:
        data: The prepared set or sets.
        rows: (N,) which of its examples, n of them.
        aus: The A units.
        intensity: (n, A), cut off at 0 and 5; None if it is not estimated.
        presence: (n, A) probabilities; None likewise.
        emotion: (n, 7) probabilities of `EMOTIONS`; None likewise.
        fold: As in `predict`.
        facts: As in `predict`.

    Returns:
        Both, example by example; NaN where something is not said, or the data set has no such unit.
    """
    from tfau.predictions import Predictions

    labels, count = data.labels, int(rows.sum())
    nothing = np.full((count, len(aus)), np.nan, np.float32)
    shown = np.equal.outer(labels.emotion[rows], EMOTIONS)
    felt = np.where(shown.any(axis=1, keepdims=True), shown, np.float32(np.nan))

    def coded(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Picks the columns of our units."""
        known = dict(zip(data.aus.numbers, values[rows].T, strict=True))
        return np.stack([known.get(number, nothing[:, 0]) for number in aus.numbers], axis=1)

    return Predictions(
        aus=aus,
        dataset=labels.dataset[rows],
        subject=labels.subject[rows],
        sequence=labels.sequence[rows],
        group=labels.group[rows],
        fold=np.full(count, fold),
        frame=labels.frame[rows],
        intensity_true=coded(labels.intensity),
        presence_true=coded(labels.presence),
        intensity=nothing if intensity is None else np.clip(intensity, 0.0, INTENSITY_MAX),
        presence=nothing if presence is None else presence,
        facts={"tfau": __version__, **(facts or {})},
        emotion_true=felt,
        emotion=np.full(felt.shape, np.nan, np.float32) if emotion is None else emotion,
    )


def publish(scores: Scores, predictions: Predictions, folder: Path) -> None:
    """Writes predictions, tables and pictures of a scoring.

    Args:
        scores: What `scoring.scores` makes of the predictions.
        predictions: Kept, so that everything can be computed again without a network.
        folder: Made if it is missing. Its files of these names are replaced: predictions.parquet,
            scores.md, scores.csv, scores.tex, and bars.png, confusion.png, bland_altman.png.
    """
    from tfau import plots

    folder.mkdir(parents=True, exist_ok=True)
    predictions.write(folder / "predictions.parquet")
    for name, text in (
        ("scores.md", scores.markdown()),
        ("scores.csv", scores.csv()),
        ("scores.tex", scores.latex()),
    ):
        with whole_file(folder / name) as path:
            path.write_text(text)
    figures = {"bars.png": plots.bars(scores)}
    if scores.intensity is not None:
        figures["confusion.png"] = plots.confusion(predictions)
        figures["bland_altman.png"] = plots.bland_altman(predictions)
    for name, figure in figures.items():
        with whole_file(folder / name) as path:
            figure.savefig(path, dpi=110)


def pool(folders: Sequence[Path], out: Path) -> Scores:
    """Scores the predictions of several folders together, e.g. those of the folds of a protocol.

    Args:
        folders: Each with a `predictions.parquet`.
        out: Folder for the results.
    """
    from tfau import scoring
    from tfau.predictions import Predictions

    predictions = Predictions.join(
        [Predictions.read(folder / "predictions.parquet") for folder in folders]
    )
    scores = scoring.scores(predictions)
    scores.show()
    publish(scores, predictions, out)
    return scores


def fold_numbers(text: str, total: int) -> list[int]:
    """Reads `all` or `1,3`; ValueError for a fold that does not exist."""
    if text == "all":
        return list(range(1, total + 1))
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and 1 <= int(word) <= total for word in words):
        raise ValueError(f"`--folds` must be all, or numbers from 1 to {total}. Received: {text}.")
    return sorted({int(word) for word in words})


def main(argv: Sequence[str] | None = None) -> None:
    """Scores runs."""
    parser = argparse.ArgumentParser(
        prog="python -m tfau.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, nargs="+", help="run folder or predictions.parquet")
    parser.add_argument("--dataset", help="another data set than the run's own, NAME/CONFIG")
    parser.add_argument(
        "--split",
        choices=["train", "validation", "test", "all"],
        help="part of the people (default: the run's test people; of another set, all)",
    )
    parser.add_argument("--threshold", type=float, help="score from which a unit counts as seen")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap (1000)")
    parser.add_argument("--data-dir", help="folder of prepared sets (default: TFDS's own)")
    parser.add_argument("--manual-dir", help="folder with the files only their owner hands out")
    parser.add_argument("-o", "--out", type=Path, help="folder for results (default: in RUN)")
    args = parser.parse_args(argv)
    if args.resamples < 1:
        raise ValueError(f"`--resamples` must be at least 1. Received: {args.resamples}.")
    require_extra("train", "tensorflow", "keras", "tensorflow_datasets", "rich", "pyarrow")
    from tfau import scoring
    from tfau.predictions import Predictions

    part = args.split or ("all" if args.dataset else "test")
    parts = []
    for path in args.run:
        if path.is_file():
            if args.dataset or args.split:
                raise ValueError(
                    f"{path} holds predictions; --dataset and --split need the folder of a run."
                )
            parts.append(Predictions.read(path))
        else:
            import_quietly("tensorflow")
            parts += [
                _predictions(run, args.dataset, part, args.data_dir, args.manual_dir)
                for run in _runs(path)
            ]
    # Networks of several folds all look at the same people of another data set.
    predictions = Predictions.average(parts) if args.dataset else Predictions.join(parts)
    scores = scoring.scores(predictions, threshold=args.threshold, resamples=args.resamples)
    scores.show()
    words = ["scores", (args.dataset or "").replace("/", "_"), args.split]
    first = args.run[0].parent if args.run[0].is_file() else args.run[0]
    out = args.out or first / "-".join(word for word in words if word)
    publish(scores, predictions, out)
    print(f"Predictions, tables (Markdown, CSV, LaTeX) and pictures: {out}")


def _runs(folder: Path) -> list[Run | ClassicModel]:
    """Opens a run, or the folds in a folder."""
    folds = sorted(path.parent for path in folder.glob("fold*/config.json"))
    if folds and not (folder / "config.json").exists():
        return [_open(path) for path in folds]
    return [_open(folder)]


def _open(folder: Path) -> Run | ClassicModel:
    from tfau.classic.folder import ClassicModel

    if ClassicModel.is_in(folder):
        require_extra("classic", "skimage", "sklearn", "skops")
        return ClassicModel.open(folder)
    from tfau.training import Run

    return Run.open(folder)


def _predictions(
    run: Run | ClassicModel,
    dataset: str | None,
    part: str,
    data_dir: str | None,
    manual_dir: str | None,
) -> Predictions:
    """Asks a run about a part of its own or of another data set."""
    from tfau.training import Run, open_data

    data = open_data(dataset.split("+") if dataset else run.config.datasets, data_dir, manual_dir)
    run.check_version(data)
    if dataset:  # whose people our folds may not divide
        levels = {*data.presence_from}
        facts = {
            "run": run.folder.name,
            "protocol": f"trained on {run.config.dataset}",
            "note": "" if isinstance(run, Run) else run.note(data),
            "presence_from": f"{levels.pop():g}" if len(levels) == 1 and None not in levels else "",
        }
    else:
        facts = run.facts(data)
    if part == "all":
        rows = np.ones(len(data.labels.subject), bool)
    elif dataset:
        rows = data.labels.split == part
    else:
        rows = getattr(run.fold(data), part)
    if not rows.any():
        raise ValueError(f"{data.name} has nobody in its {part!r} part; try --split all.")
    fold = "" if dataset else run.fold(data).name
    if isinstance(run, Run):
        return predict(run.model(), data, rows, run.aus, run.codec, fold=fold, facts=facts)
    said = run.answers(data, rows)
    return beside_truth(data, rows, run.aus, **said, fold=fold, facts=facts)


if __name__ == "__main__":
    sys.exit(run_cli(main))
