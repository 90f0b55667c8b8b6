"""`python -m edge.video`: the action units of a photo, a folder of photos or a video."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2

import tfau
from edge.analyzer import FaceAnalyzer
from edge.annotators import FaceAnnotator
from edge.arguments import add_arguments, load_model, make_filter, open_mesh, settings_of
from edge.outlines import OutlineSink
from edge.pipeline import yield_often
from edge.quality import REASONS
from edge.runtime import find_runtime
from edge.sinks import CsvSink, ImageSink, JsonLinesSink, Sink, VideoSink, write_parquet
from edge.sources import ImageSource, LiveSource, Source, open_source
from edge.stream import ReadingStream
from tfau.core.errors import require_extra, run_cli
from tfau.core.files import whole_file

_EPILOG = """
OUT gets NAME.csv with OpenFace's column names, where NAME is INPUT without its suffix, NAME.json
with every setting, and the annotated picture or video: NAME.png for a photo, one PNG for each photo
of a folder, NAME.mp4 for a video (NAME.avi where PyAV is not installed; `pip install 'tfau[video]'`
brings it). A frame without a face is a row with success 0. Files take their names when all is
done; until then they are called .part, and `--resume` goes on with them.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        argv: Words after the program's name; those of the command line if None.

    Raises:
        ValueError: If an argument makes no sense.
        BundleError: If the model cannot be used.
        SourceError: If the input cannot be read.
    """
    parser = argparse.ArgumentParser("python -m edge.video", description=__doc__, epilog=_EPILOG)
    parser.add_argument("input", help="photo, folder of photos, or video")
    add_arguments(parser, smooth=False)
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="folder to write to")
    parser.add_argument("--sides", action="store_true", help="add columns for left and right")
    parser.add_argument(
        "--json", action="store_true", help="also write NAME.jsonl, with every point and both sides"
    )
    parser.add_argument("--parquet", action="store_true", help="also write NAME.parquet")
    parser.add_argument(
        "--pictures",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write the annotated pictures or video (default: on)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on where a run of the same settings was stopped"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="SECONDS",
        type=float,
        default=5.0,
        help="how much work a crash may cost (default 5)",
    )
    arguments = parser.parse_args(argv)
    if arguments.parquet:
        require_extra("train", "pyarrow")

    yield_often()
    model, folder = load_model(arguments), Path(arguments.output)
    filters = make_filter(arguments, model)
    with open_source(arguments.input) as source:
        if isinstance(source, LiveSource):
            raise ValueError(
                "`input` must be a photo, a folder or a video file. Received: "
                f"input={arguments.input}. `python -m edge.camera` reads cameras and streams."
            )
        follow = not isinstance(source, ImageSource)
        with open_mesh(arguments, follow=follow) as mesh, _folder(folder):
            without = ("output", "resume", "checkpoint", "threads")
            Analysis(
                source,
                ReadingStream(FaceAnalyzer(model, mesh), filters),
                folder,
                settings_of(arguments, without=without),
                json=arguments.json,
                parquet=arguments.parquet,
                sides=arguments.sides,
                pictures=arguments.pictures,
            ).run(resume=arguments.resume, checkpoint_s=arguments.checkpoint)


class Analysis:
    """Reads a whole source and writes what is in it.

    Args:
        source: Photos or a video.
        stream: Reads the frames.
        folder: Where the files go, see `--help`. It must exist.
        settings: What the sidecar says of how the readings were made.
        json: Whether to write JSON lines.
        parquet: Whether to write the table as Parquet.
        sides: Whether the table has columns for left and right.
        pictures: Whether to draw.
        stem: What the files are named after; the source's own stem if None.
        outlines: Whether to keep what will be drawn of the faces, in STEM.outlines.

    Raises:
        ValueError: If a file would replace a part of the input.
    """

    def __init__(
        self,
        source: Source,
        stream: ReadingStream,
        folder: Path,
        settings: dict[str, Any] | None = None,
        *,
        json: bool = False,
        parquet: bool = False,
        sides: bool = False,
        pictures: bool = True,
        stem: str | None = None,
        outlines: bool = False,
    ) -> None:
        self.stem, self.outlines = stem or source.stem, outlines
        self.source, self.stream, self.folder = source, stream, folder
        self.json, self.parquet, self.sides = json, parquet, sides
        self.is_photos = isinstance(source, ImageSource)
        self.pictures = _pictures(source, folder) if pictures else []
        ours = {path.resolve() for path in self.pictures}
        if clash := ours & {path.resolve() for path in source.paths}:
            raise ValueError(
                f"`--output` must not be the folder of the input: {clash.pop()} would be replaced. "
                f"Received: --output={folder}"
            )
        self.settings = {**(settings or {}), "input_sha256": _fingerprint(source)}
        self.settings["model_sha256"] = stream.analyzer.model.bundle.graph_sha256
        self.checkpoint_path = self._file(".part.json")
        self.done = self.faces = 0

    def _file(self, suffix: str) -> Path:
        return self.folder / f"{self.stem}{suffix}"

    def run(self, *, resume: bool = False, checkpoint_s: float = 5.0) -> None:
        """Does the work and says what was written.

        Args:
            resume: Whether to go on with what an earlier run has left, if it has.
            checkpoint_s: How often to make sure that a later run can go on.

        Raises:
            SourceError: If no frame can be read.
            ValueError: If what is left comes of other settings.
        """
        marks = self._take_up() if resume and self.checkpoint_path.exists() else {}
        if not marks:
            self.checkpoint_path.unlink(missing_ok=True)  # of a run that nobody goes on with
        analyzer = self.stream.analyzer
        annotator = FaceAnnotator(analyzer.aus, analyzer.model.bundle.threshold)
        start, first, written_s = time.monotonic(), self.done, time.monotonic()
        whole = True
        with contextlib.ExitStack() as stack:
            sinks = self._sinks(marks)
            for sink in sinks.values():
                sink.keep = bool(marks)
                stack.enter_context(sink)
            try:
                for answer in self.stream.read(self.source):
                    frame, readings = answer.frame, answer.readings
                    picture = annotator.annotate(frame.image, readings) if self.pictures else None
                    whole = False
                    for sink in sinks.values():
                        if isinstance(sink, VideoSink):
                            sink.append(picture, frame.timestamp_ms)  # type: ignore[arg-type]
                        elif isinstance(sink, CsvSink | JsonLinesSink | OutlineSink):
                            sink.append(frame, readings)
                    if picture is not None and self.is_photos:
                        with ImageSink(self.pictures[frame.index]) as file:
                            file.append(picture)
                    self.done, self.faces = frame.index + 1, self.faces + bool(readings)
                    whole = True
                    if time.monotonic() - written_s > checkpoint_s:
                        self._checkpoint(sinks)
                        written_s = time.monotonic()
                    self._progress(self.done - first, time.monotonic() - start)
            except BaseException:
                if whole and self.done > first:
                    # Whatever stopped the run may stop this too; then an earlier one counts.
                    with contextlib.suppress(Exception):
                        self._checkpoint(sinks)
                if self.checkpoint_path.exists() and any(sink.keep for sink in sinks.values()):
                    print(
                        f"\ntfau: what was read is kept in {self.folder}; `--resume` goes on there",
                        file=sys.stderr,
                    )
                raise
        if sys.stderr.isatty():
            print(file=sys.stderr)
        self._finish([sink.path for sink in sinks.values()])

    def _sinks(self, marks: dict[str, int]) -> dict[str, Sink]:
        threshold = self.stream.analyzer.model.bundle.threshold
        sinks: dict[str, Sink] = {
            "csv": CsvSink(
                self._file(".csv"),
                self.stream.analyzer.aus,
                threshold,
                with_file=self.is_photos,
                sides=self.sides,
                start=marks.get("csv"),
            )
        }
        if self.json:
            sinks["jsonl"] = JsonLinesSink(self._file(".jsonl"), marks.get("jsonl"))
        if self.outlines:
            sinks["outlines"] = OutlineSink(self._file(".outlines"), marks.get("outlines"))
        if self.pictures and not self.is_photos:
            sinks["video"] = VideoSink(self.pictures[0], self.source.rate, marks.get("video"))
        return sinks

    def _checkpoint(self, sinks: dict[str, Sink]) -> None:
        """Makes sure that a later run can go on behind the last frame."""
        try:
            state, marks = self.stream.state(), {name: sink.mark() for name, sink in sinks.items()}
        except NotImplementedError:
            return  # an .avi, or the mediapipe package: such a run begins anew
        content = {
            "settings": self.settings,
            "done": self.done,
            "faces": self.faces,
            "broken": self.source.broken,
            "marks": marks,
            "state": state,
        }
        with whole_file(self.checkpoint_path) as path:
            path.write_text(json.dumps(content, default=lambda array: array.tolist()))
        for sink in sinks.values():
            sink.keep = True

    def _take_up(self) -> dict[str, int]:
        """Restores what an earlier run has left; returns where its files go on."""
        try:
            content = json.loads(self.checkpoint_path.read_text())
            before = content["settings"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{self.checkpoint_path} is damaged; begin anew without `--resume`."
            ) from None
        if different := [
            name
            for name in {**self.settings, **before}
            if before.get(name) != self.settings.get(name)
        ]:
            raise ValueError(
                f"`--resume` needs the settings of the run that was stopped; other than there: "
                f"{', '.join(different)}."
            )
        self.done, self.faces = content["done"], content["faces"]
        self.source.start = self.done
        self.stream.restore(content["state"])
        marks: dict[str, int] = content["marks"]
        return marks

    def _progress(self, done: int, seconds: float) -> None:
        if sys.stderr.isatty():
            total = f" of {self.source.count}" if self.source.count else ""
            speed = done / max(seconds, 1e-9)
            print(f"\rframe {self.done}{total}, {speed:.1f} a second ", end="", file=sys.stderr)

    def _finish(self, written: list[Path]) -> None:
        """Writes the sidecar and the other form of the table, and says what there is."""
        if self.parquet:
            write_parquet(written[0], self._file(".parquet"))
            written.append(self._file(".parquet"))
        with whole_file(self._file(".json")) as path:
            path.write_text(json.dumps(self._describe(), indent=1) + "\n")
        self.checkpoint_path.unlink(missing_ok=True)
        written += [self._file(".json"), *(self.pictures if self.is_photos else [])]
        more = f" and {len(written) - 4} more" if len(written) > 4 else ""
        frames = f"{self.done} frame{'s' * (self.done != 1)}"
        broken = f", {self.source.broken} damaged" if self.source.broken else ""
        named = ", ".join(map(str, written[:4]))
        print(f"{frames}, a face in {self.faces}{broken}: {named}{more}")

    def _describe(self) -> dict[str, Any]:
        runtime, _ = find_runtime()
        analyzer = self.stream.analyzer
        return {
            "tfau": tfau.__version__,
            "python": platform.python_version(),
            "opencv": cv2.__version__,
            "runtime": runtime,
            "settings": self.settings,
            "filters": self.stream.filters.describe(),
            "model": analyzer.model.bundle.describe(),
            "units": {
                "timestamp": "s",
                "AU_r": "intensity, 0 to 5",
                "AU_c": f"intensity at least {analyzer.model.bundle.threshold}",
                "AU_u": "expected absolute error, intensity",
                "pose_T": "mm",
                "pose_R": "rad",
                "gaze_angle": "rad",
                "quality": "0 to 1",
            },
            "from_the_mesh": [f"AU{n}" for n in analyzer.lids],
            "reasons": REASONS,
            "frames": self.done,
            "frames_with_a_face": self.faces,
            "damaged": self.source.broken,
        }


def _fingerprint(source: Source) -> str:
    """Returns a hash of names, sizes and beginnings of the files of a source."""
    digest = hashlib.sha256()
    for path in source.paths:
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        with path.open("rb") as stream:
            digest.update(stream.read(1 << 16))
    return digest.hexdigest()


def _pictures(source: Source, folder: Path) -> list[Path]:
    """Names the annotated video, or the annotated picture of each photo."""
    if not isinstance(source, ImageSource):
        return [folder / f"{source.stem}{VideoSink.suffix()}"]
    stems = Counter(path.stem for path in source.paths)
    # `a.jpg` beside `a.png`: only the whole name tells them apart.
    names = [path.stem if stems[path.stem] == 1 else path.name for path in source.paths]
    return [folder / f"{name}.png" for name in names]


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Makes the folder, and takes it away again if nothing comes to lie in it."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`--output` must be a folder. Received: --output={folder}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise


if __name__ == "__main__":
    sys.exit(run_cli(main))
