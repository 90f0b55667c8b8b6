"""`python -m edge.analyze`: what a person did with their face in a video, as tables and a story."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.analyzer import FaceAnalyzer
from edge.arguments import add_arguments, load_model, make_filter, open_mesh, settings_of
from edge.findings import Findings, Questions, peaks, table_of, together, write_events
from edge.findings import write_expressions as write_scores
from edge.outlines import Outline, read_outlines
from edge.pipeline import Ahead, cores, yield_often
from edge.runtime import AUModel
from edge.sinks import VideoSink
from edge.sources import Frame, ImageSource, LiveSource, Source, open_source
from edge.stream import ReadingStream
from edge.tables import FaceTable, read_faces
from edge.video import Analysis
from tfau.core.errors import require_extra, run_cli
from tfau.core.expressions import FINE, SHOWN, chosen
from tfau.core.files import whole_file

_EPILOG = """
OUT/NAME gets aus.csv (and aus.parquet) with every unit, side, pose and quality of every frame,
aus.json with every setting, unit and version, expressions.csv, events.csv, summary.json, plots,
annotated.mp4, and report.html with all of it, which opens without a network. Several videos also
get OUT/index.html and OUT/all.csv. A folder of photos gets its table, a plot across the photos and
an overlay of each unit instead.
"""

SUMMARY = "summary.json"


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        argv: Words after the program's name; those of the command line if None.

    Raises:
        ValueError: If an argument makes no sense.
        BundleError: If the model cannot be used.
        SourceError: If a video cannot be read.
        MissingExtra: If what draws is not installed.
    """
    parser = argparse.ArgumentParser("python -m edge.analyze", description=__doc__, epilog=_EPILOG)
    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="or a folder of photos")
    add_arguments(parser, smooth=False)
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="folder to write to")
    parser.add_argument(
        "--expressions", help=f"names with commas, or `all` (default: {', '.join(SHOWN)})"
    )
    parser.add_argument("--codes", type=Path, help="a TOML file with expressions of your own")
    parser.add_argument("--top", type=int, default=3, help="expressions of each moment (3)")
    parser.add_argument(
        "--neutral-threshold",
        type=float,
        help="score from which a face shows something (default: 90th percentile of its scores)",
    )
    parser.add_argument(
        "--window", type=float, default=10.0, help="seconds that expressions are added up over (10)"
    )
    parser.add_argument(
        "--draw",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write annotated.mp4 (default: on)",
    )
    parser.add_argument(
        "--overlay",
        default="heat,mesh",
        help="what is laid over the picture: heat, mesh, both, or none (heat,mesh)",
    )
    parser.add_argument("--record", metavar="CAMERA", help="first record this camera or stream")
    parser.add_argument("--seconds", type=float, default=30.0, help="for so long (30)")
    parser.add_argument("--force", action="store_true", help="replace what OUT has of these videos")
    parser.add_argument(
        "--resume", action="store_true", help="go on where a run of the same settings was stopped"
    )
    arguments = parser.parse_args(argv)
    questions = _questions(arguments)
    overlays = tuple(word for word in arguments.overlay.split(",") if word and word != "none")
    if not set(overlays) <= {"heat", "mesh"}:
        raise ValueError(f"`--overlay` takes heat and mesh. Received: {arguments.overlay}")
    if arguments.force and arguments.resume:
        raise ValueError("`--force` begins anew and `--resume` goes on: take one of them.")
    if not arguments.videos and arguments.record is None:
        raise ValueError("Name a video, or a camera with `--record`.")
    require_extra("analyze", "matplotlib", "PIL")
    yield_often()
    out, model = Path(arguments.output), load_model(arguments)
    if out.exists() and not out.is_dir():
        raise ValueError(f"`--output` must be a folder. Received: --output={out}")
    videos = [Path(video) for video in arguments.videos]
    for video in videos:
        if not video.exists():
            raise ValueError(f"There is no file {video}.")
    folders = _folders(videos, out)
    recording = out / "recording.mp4" if arguments.record is not None else None
    taken = [folder for folder in folders.values() if folder.exists() and any(folder.iterdir())]
    if recording and recording.exists():
        taken.append(recording)
    if taken and not (arguments.force or arguments.resume):
        raise ValueError(
            f"{taken[0]} exists: `--force` replaces it, `--resume` goes on, or choose another -o."
        )
    if recording:
        out.mkdir(parents=True, exist_ok=True)
        if not (arguments.resume and recording.exists()):
            recording = record(arguments.record, arguments.seconds, recording)
        folders[recording] = out / recording.stem
    summaries = []
    for video, folder in folders.items():
        if arguments.resume and (folder / SUMMARY).exists():
            summaries.append(_finished(folder, video))
            continue
        with open_source(str(video)) as source:
            if isinstance(source, LiveSource):
                raise ValueError(f"{video} is no file; `--record {video}` records a camera first.")
            if arguments.force and folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True, exist_ok=True)
            readers = _Readers(arguments, model)
            if isinstance(source, ImageSource):
                from edge.photos import study_photos

                study_photos(source, folder, readers.read(source, folder), model)
                continue
            study = Study(source, folder, questions, overlays if arguments.draw else None)
            settings = readers.read(source, folder)
        summaries.append(study.tell(settings, draw=arguments.draw))
    if len(summaries) > 1:
        from edge import report

        report.write_index(summaries, out)
        _write_all(summaries, out / "all.csv")
        print(f"{len(summaries)} videos: {out / 'index.html'}, {out / 'all.csv'}")


def _questions(arguments: argparse.Namespace) -> Questions:
    words = arguments.expressions
    names: Sequence[str] = SHOWN if words is None else [w.strip() for w in words.split(",")]
    if words == "all":
        names = FINE.names
    for name, low, high in (("top", 1, 32), ("window", 0.1, 3600), ("seconds", 0.5, 86400)):
        if not low <= getattr(arguments, name) <= high:
            raise ValueError(
                f"`--{name}` must be {low} to {high}. Received: {getattr(arguments, name)}"
            )
    threshold = arguments.neutral_threshold
    if threshold is not None and not 0 < threshold < 1:
        raise ValueError(f"`--neutral-threshold` must lie between 0 and 1. Received: {threshold}")
    return Questions(
        expressions=chosen(names, arguments.codes),
        top=arguments.top,
        window_s=arguments.window,
        threshold=threshold,
    )


def _folders(videos: Iterable[Path], out: Path) -> dict[Path, Path]:
    """Names the folder of each video after it; `a.mp4` beside `a.mov` keep their suffixes."""
    stems = [video.resolve().stem for video in videos]
    folders: dict[Path, Path] = {}
    for video, stem in zip(videos, stems, strict=True):
        name = stem if stems.count(stem) == 1 else video.resolve().name
        if (out / name) in folders.values():
            raise ValueError(
                f"Two videos are called {name}; analyse them into folders of their own."
            )
        folders[video] = out / name
    return folders


@dataclass(frozen=True)
class _Readers:
    """Reads sources with the mesh, model and filters of the command line.

    Args:
        arguments: Of the command line.
        model: The network.
    """

    arguments: argparse.Namespace
    model: AUModel

    def read(self, source: Source, folder: Path) -> dict[str, Any]:
        """Writes what is read of every frame, and returns what the sidecar says."""
        follow = not isinstance(source, ImageSource)
        with open_mesh(self.arguments, follow=follow) as mesh:
            analyzer = FaceAnalyzer(self.model, mesh)
            reading = ("model", "max_faces", "front_end", "fast_mesh", "neutral", "smooth")
            settings = {name: getattr(self.arguments, name) for name in reading}
            analysis = Analysis(
                source,
                ReadingStream(analyzer, make_filter(self.arguments, self.model)),
                folder,
                settings,
                parquet=_has("pyarrow"),
                sides=True,
                pictures=False,
                stem="aus",
                outlines=follow,
            )
            if not (self.arguments.resume and _was_read(folder, analysis, outlines=follow)):
                analysis.run(resume=self.arguments.resume)
        return settings_of(self.arguments, without=("output", "resume", "force", "threads"))


def _was_read(folder: Path, analysis: Analysis, *, outlines: bool) -> bool:
    """Says whether an earlier run was stopped only after it had read the whole source."""
    if outlines and not (folder / "aus.outlines").exists():
        return False
    try:
        settings = json.loads((folder / "aus.json").read_text())["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(settings == json.loads(json.dumps(analysis.settings)))


def _has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


class Study:
    """Makes of what was read of a video everything that people look at.

    Args:
        source: The video; it was read to its end when `tell` is called.
        folder: Where all of it goes; `aus.csv` is there by then.
        questions: What is asked.
        overlays: What is laid over the picture.
    """

    def __init__(
        self,
        source: Source,
        folder: Path,
        questions: Questions,
        overlays: Sequence[str] | None = None,
    ) -> None:
        self.video, self.folder, self.questions = source.paths[0], folder, questions
        self.overlays, self.rate = overlays, source.rate

    def tell(self, settings: Mapping[str, Any], *, draw: bool = True) -> dict[str, Any]:
        """Writes the tables, plots, pictures and the report.

        Args:
            settings: Of the command line, for the sidecar.
            draw: Whether to write annotated.mp4.

        Returns:
            The content of `summary.json`.
        """
        from edge import diagrams, report

        started = time.monotonic()
        frames, length_s = _length(self.folder / "aus.csv")
        _, faces = read_faces(self.folder / "aus.csv")
        found = [Findings.of(face, self.questions) for face in faces]
        write_scores(found, self.folder / "expressions.csv")
        write_events(found, self.folder / "events.csv")
        self._complete_sidecar(settings)
        plots = self.folder / "plots"
        plots.mkdir(exist_ok=True)
        for one in found:
            for name, figure in diagrams.plots(one):
                stem = name if len(found) == 1 else f"{name}_face{one.face.face_id}"
                for suffix in ("png", "svg"):
                    with whole_file(plots / f"{stem}.{suffix}") as path:
                        figure.savefig(path, format=suffix, dpi=120)
        pictures = self._look_again(found, length_s, draw=draw)
        seen = len(set().union(*(face.frames.tolist() for face in faces))) if faces else 0
        summary = {
            "video": self.video.name,
            "folder": self.folder.name,
            "frames": frames,
            "length_s": round(length_s, 3),
            "frames_with_a_face": seen,
            "coverage": round(seen / frames, 4) if frames else None,
            "faces": [one.summary() for one in found],
            "synchrony": together(found[:4]),
            "seconds_to_tell": round(time.monotonic() - started, 2),
        }
        report.write_report(summary, found, pictures, self.folder, settings)
        with whole_file(self.folder / SUMMARY) as path:
            path.write_text(json.dumps(summary, indent=1) + "\n")
        (self.folder / "aus.outlines").unlink(missing_ok=True)
        print(f"{self.video.name}: {self.folder / 'report.html'}")
        return summary

    def _complete_sidecar(self, settings: Mapping[str, Any]) -> None:
        """Adds to aus.json what was asked, and what the columns of the other tables mean."""
        path = self.folder / "aus.json"
        content = json.loads(path.read_text())
        content["analysis"] = {
            "command": {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()},
            **self.questions.describe(),
        }
        content["units"] |= {"onset, apex, offset, duration": "s", "expression scores": "0 to 1"}
        with whole_file(path) as unfinished:
            unfinished.write_text(json.dumps(content, indent=1) + "\n")

    def _look_again(
        self, found: Sequence[Findings], length_s: float, *, draw: bool
    ) -> dict[tuple[int, int], bytes]:
        """Goes through the video a second time: draws it, and keeps a picture of each peak."""
        moments = peaks(found)
        wanted: dict[int, set[int]] = {}
        for face, frame, *_ in moments:
            wanted.setdefault(frame, set()).add(face)
        pictures: dict[tuple[int, int], bytes] = {}
        last = max(wanted, default=0)
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(open_source(str(self.video)))
            outlines = read_outlines(self.folder / "aus.outlines")
            drawn = _Drawn(source, outlines, found, length_s, self.overlays or ())
            frames: Iterable[tuple[Frame, list[Outline], npt.NDArray[np.uint8] | None]]
            frames = drawn.frames() if draw else drawn.plain()
            if cores() > 1:
                frames = stack.enter_context(Ahead(frames, size=2))
            sink = None
            if draw:
                suffix = VideoSink.suffix()
                sink = stack.enter_context(
                    VideoSink(
                        self.folder / f"annotated{suffix}",
                        self.rate,
                        audio=self.video,
                        preset="ultrafast",
                    )
                )
            for seen, lines, picture in frames:
                number = seen.index + 1
                for face in wanted.get(number, ()):
                    outline = next((line for line in lines if line.track_id == face), None)
                    if outline is not None:
                        pictures[face, number] = _portrait(seen.image, outline)
                if sink is None and number >= last:
                    break
                if sink is not None and picture is not None:
                    sink.append(picture, seen.timestamp_ms)
                _progress(number, source.count)
        if sys.stderr.isatty():
            print(file=sys.stderr)
        return pictures


@dataclass(frozen=True)
class _Drawn:
    """Yields the frames of a video with what is known of their faces, drawn or not.

    Args:
        source: The video.
        outlines: Of each frame.
        found: What was found.
        length_s: Of the video.
        overlays: What is laid over the picture.
    """

    source: Source
    outlines: Iterator[list[Outline]]
    found: Sequence[Findings]
    length_s: float
    overlays: Sequence[str]

    def plain(self) -> Iterator[tuple[Frame, list[Outline], None]]:
        """Yields the frames as they are."""
        for frame, lines in zip(self.source, self.outlines, strict=False):
            yield frame, lines, None

    def frames(self) -> Iterator[tuple[Frame, list[Outline], npt.NDArray[np.uint8]]]:
        """Yields the frames drawn."""
        from edge.story import Story

        story = None
        with contextlib.ExitStack() as stack:
            source: Iterable[Frame] = self.source
            if cores() > 1:
                source = stack.enter_context(Ahead(self.source, size=2))
            for frame, lines in zip(source, self.outlines, strict=False):
                if story is None:
                    size = frame.image.shape[1], frame.image.shape[0]
                    story = Story(size, self.found, self.length_s, self.overlays)
                time_s = frame.timestamp_ms / 1000
                picture = story.draw(frame.image, frame.index + 1, time_s, lines)
                yield frame, lines, picture.copy() if cores() > 1 else picture


def _portrait(image: npt.NDArray[np.uint8], outline: Outline, side: int = 160) -> bytes:
    """Cuts a face out, as a JPEG."""
    low, high = outline.lines.min(axis=0), outline.lines.max(axis=0)
    centre, reach = (low + high) / 2, 0.62 * float((high - low).max())
    scale = side / (2 * reach)
    matrix = np.array([[scale, 0, 0], [0, scale, 0]])
    matrix[:, 2] = side / 2 - scale * centre
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    cut = cv2.warpAffine(image, matrix, (side, side), flags=way, borderMode=cv2.BORDER_REPLICATE)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(cut, cv2.COLOR_RGB2BGR))
    return data.tobytes()


def _length(table: Path) -> tuple[int, float]:
    """Counts the frames of a table and says when the last one is over."""
    frames, times = 0, [0.0]
    with table.open(encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream)
        header = next(rows)
        frame, when = header.index("frame"), header.index("timestamp")
        for row in rows:
            if int(row[frame]) != frames:
                frames = int(row[frame])
                times.append(float(row[when]))
    step = (times[-1] - times[1]) / max(len(times) - 2, 1)
    return frames, times[-1] + step


def record(where: str, seconds: float, path: Path) -> Path:
    """Records a camera or a stream.

    Args:
        where: As `open_source` takes it.
        seconds: For how long; Ctrl-C ends it earlier.
        path: The `.mp4`; an `.avi` where PyAV is missing.

    Returns:
        The file that was written.

    Raises:
        SourceError: If there is no such camera.
        ValueError: If it is a file.
    """
    path = path.with_suffix(VideoSink.suffix())
    with open_source(where) as source:
        if not isinstance(source, LiveSource):
            raise ValueError(f"`--record` takes a camera or a stream. Received: {where}")
        with VideoSink(path, source.rate) as sink, contextlib.suppress(KeyboardInterrupt):
            print(f"recording {where} for {seconds:g} s; Ctrl-C ends it", file=sys.stderr)
            for frame in source:
                sink.append(frame.image, frame.timestamp_ms)
                if frame.timestamp_ms >= 1000 * seconds:
                    break
    return path


def _finished(folder: Path, video: Path) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text())
        if summary["video"] != video.name:
            raise ValueError(f"{folder} is of {summary['video']}, not of {video.name}.")
    except (KeyError, TypeError, json.JSONDecodeError):
        raise ValueError(f"{folder / SUMMARY} is damaged; `--force` begins anew.") from None
    print(f"{video.name}: {folder / 'report.html'} (was there)")
    return summary


def _write_all(summaries: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes one row for each face of each video."""
    rows = [row for summary in summaries for row in table_of(summary)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _progress(done: int, count: int | None) -> None:
    if sys.stderr.isatty() and done % 10 == 0:
        print(f"\rdrawing {done}{f' of {count}' if count else ''} ", end="", file=sys.stderr)


def faces_of(folder: Path) -> list[FaceTable]:
    """Reads the table of a folder that `python -m edge.analyze` wrote."""
    return read_faces(folder / "aus.csv")[1]


if __name__ == "__main__":
    sys.exit(run_cli(main))
