"""`python -m edge.video` and `python -m edge.camera`, as a user calls them."""

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import edge.camera
import edge.video
from edge.analyzer import FaceAnalyzer
from edge.face_mesh import FaceMesh
from edge.sinks import VideoSink
from edge.sources import Source, open_source, read_image
from edge.stream import ReadingStream
from tfau.core import BundleError, SourceError

ROOT = Path(edge.video.__file__).parents[1]


def run(module, *arguments, **environment):
    """Runs a command in its own process."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# what comes out


def test_photo(tmp_path, photo, model_path):
    out = tmp_path / "new" / "out"
    result = run("edge.video", photo, "--model", model_path, "-o", out, "--json")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert names(out) == ["astronaut.csv", "astronaut.json", "astronaut.jsonl", "astronaut.png"]
    (row,) = rows(out / "astronaut.csv")
    assert [name for name in row if name.endswith("_r")] == ["AU12_r", "AU25_r", "AU43_r", "AU45_r"]
    assert list(row)[:5] == ["frame", "face_id", "timestamp", "confidence", "success"]
    assert list(row)[-1] == "file"
    assert (row["frame"], row["success"], row["file"]) == ("1", "1", "astronaut.png")
    assert 0 < float(row["AU12_r"]) < float(row["AU25_r"]) < 5
    line = json.loads((out / "astronaut.jsonl").read_text())
    assert line["faces"][0]["intensities"]["AU12"] == float(row["AU12_r"])
    assert read_image(out / "astronaut.png").shape[0] == 512


def test_folder(tmp_path, photo, model_path):
    folder = photo.parent
    for name in ("2.jpg", "10.jpg", "2.png"):
        cv2.imwrite(str(folder / name), np.zeros((60, 80, 3), np.uint8))
    out = tmp_path / "out"
    edge.video.main([str(folder), "--model", str(model_path), "-o", str(out)])
    assert names(out) == [
        *("10.png", "2.jpg.png", "2.png.png", "astronaut.png", "input.csv", "input.json")
    ]
    found = rows(out / "input.csv")
    assert [row["file"] for row in found] == ["2.jpg", "2.png", "10.jpg", "astronaut.png"]
    assert [row["success"] for row in found] == ["0", "0", "0", "1"]
    assert [row["AU12_r"] for row in found[:3]] == ["", "", ""]
    assert [row["AU12_c"] for row in found[:3]] == ["", "", ""]


def test_video(tmp_path, clip, model_path, codec, capsys):
    out = tmp_path / "out"
    edge.video.main([str(clip), "--model", str(model_path), "-o", str(out)])
    assert "5 frames, a face in 5" in capsys.readouterr().out
    assert names(out) == sorted(["clip.csv", "clip.json", f"clip{VideoSink.suffix()}"])
    found = rows(out / "clip.csv")
    assert [row["frame"] for row in found] == ["1", "2", "3", "4", "5"]
    assert [row["timestamp"] for row in found] == ["0.000", "0.040", "0.080", "0.120", "0.160"]
    assert {row["success"] for row in found} == {"1"}
    assert "file" not in found[0]
    with open_source(str(out / f"clip{VideoSink.suffix()}")) as source:
        assert len(list(source)) == 5


def test_same_video_same_bytes(tmp_path, clip, model_path):
    for name in ("a", "b"):
        edge.video.main([str(clip), "--model", str(model_path), "-o", str(tmp_path / name)])
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_camera_prints_one_line_for_each_frame(clip, model_path):
    result = run("edge.camera", "--source", clip, "--model", model_path, "--headless")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["frame"] for line in lines] == [1, 2, 3, 4, 5]
    assert all(len(line["faces"]) == 1 for line in lines)


@pytest.mark.parametrize("module", ["edge.video", "edge.camera"])
def test_help(module):
    result = run(module, "--help")
    assert result.returncode == 0
    assert "--model" in result.stdout


# what cannot be done: one sentence, status 2, nothing written


@pytest.mark.parametrize(
    ("model", "source", "options", "sentence"),
    [
        ("ok", "missing.png", (), "There is no file"),
        ("ok", "empty.png", (), "is empty"),
        ("ok", "half.png", (), "no picture that can be read"),
        ("ok", "text.mp4", (), "no picture and no video"),
        ("ok", "half.avi", (), "no video"),
        ("ok", "nothing", (), "holds no picture"),
        ("ok", "broken", (), "no picture that can be read"),
        ("ok", "photo.png", ("--max-faces", "0"), "`max_faces` must be at least 1"),
        ("ok", "photo.png", ("--threads", "0"), "`--threads` must be at least 1"),
        ("ok", "rtsp://127.0.0.1:1/x", (), "cannot be opened"),
        ("missing.tflite", "photo.png", (), "There is no model file"),
        ("empty.png", "photo.png", (), "is not a TFLite model"),
        ("half.tflite", "photo.png", (), "tfau.json"),
    ],
)
def test_bad_input(tmp_path, model_path, photo, clip, model, source, options, sentence):
    picture = photo.read_bytes()
    contents = {
        "photo.png": picture,
        "empty.png": b"",
        "half.png": picture[: len(picture) // 2],
        "text.mp4": b"hello",
        "half.avi": clip.read_bytes()[:200],
        "half.tflite": model_path.read_bytes()[:3000],
        "nothing/notes.txt": b"",
        "broken/1.png": picture[:9000],
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    arguments = [source if "://" in source else tmp_path / source, *options, "-o", tmp_path / "out"]
    arguments += ["--model", model_path if model == "ok" else tmp_path / model]
    before = sorted(tmp_path.rglob("*"))
    result = run("edge.video", *arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("tfau: ")
    assert result.stderr.count("\n") == 1
    assert sentence in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_without_a_display_there_is_one_sentence(clip, model_path):
    if sys.platform != "linux":
        pytest.skip("other systems always have a display")
    nothing = {"DISPLAY": "", "WAYLAND_DISPLAY": ""}
    result = run("edge.camera", "--source", clip, "--model", model_path, **nothing)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "--headless" in result.stderr


def test_the_input_is_never_replaced(photo, model_path):
    before = photo.read_bytes()
    with pytest.raises(ValueError, match="would be replaced"):
        edge.video.main([str(photo), "--model", str(model_path), "-o", str(photo.parent)])
    assert photo.read_bytes() == before
    assert names(photo.parent) == ["astronaut.png"]


def test_output_must_be_a_folder(photo, model_path):
    with pytest.raises(ValueError, match="`--output` must be a folder"):
        edge.video.main([str(photo), "--model", str(model_path), "-o", str(photo)])


def test_errors_have_their_types(tmp_path, photo, model_path):
    out = ["-o", str(tmp_path / "out")]
    with pytest.raises(BundleError):
        edge.video.main([str(photo), "--model", str(photo), *out])
    with pytest.raises(SourceError):
        edge.video.main([str(tmp_path / "x"), "--model", str(model_path), *out])


# interruptions


class Interrupted(Source):
    """The clip of the fixture, up to a frame that cannot be had."""

    stem, rate = "clip", 25.0

    def __init__(self, clip, frames, error):
        self.paths, self.frames, self.error = [clip], frames, error

    def __iter__(self):
        with open_source(str(self.paths[0])) as source:
            yield from itertools.islice(source, self.frames)
        raise self.error


def stream(model, **options):
    return ReadingStream(FaceAnalyzer(model, FaceMesh(follow=True, **options)))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SourceError("gone"), MemoryError()])
def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, clip, model, codec, error):
    whole, out = tmp_path / "whole", tmp_path / "out"
    for folder in (whole, out):
        folder.mkdir()
    with open_source(str(clip)) as source:
        edge.video.Analysis(source, stream(model), whole, json=True).run()
    interrupted = Interrupted(clip, 3, error)
    with pytest.raises(type(error)):
        edge.video.Analysis(interrupted, stream(model), out, json=True).run()
    if codec == "opencv":
        assert names(out) == []  # an .avi cannot go on
        return
    assert names(out) == [f"clip.part.{kind}" for kind in ("csv", "json", "jsonl", "mp4")]
    with open_source(str(clip)) as source:
        edge.video.Analysis(source, stream(model), out, json=True).run(resume=True)
    assert names(out) == [f"clip.{kind}" for kind in ("csv", "json", "jsonl", "mp4")]
    for kind in ("csv", "jsonl", "json"):
        assert (out / f"clip.{kind}").read_bytes() == (whole / f"clip.{kind}").read_bytes()
    with open_source(str(out / "clip.mp4")) as video:
        assert [round(frame.timestamp_ms) for frame in video] == [0, 40, 80, 120, 160]


def test_a_run_that_never_began_leaves_nothing(tmp_path, clip, model):
    with pytest.raises(SourceError, match="gone"):
        edge.video.Analysis(
            Interrupted(clip, 0, SourceError("gone")), stream(model), tmp_path
        ).run()
    assert names(tmp_path) == ["input"]


def test_beginning_anew_forgets_what_was_kept(tmp_path, clip, model):
    for frames in (2, 0):
        interrupted = Interrupted(clip, frames, SourceError("gone"))
        with pytest.raises(SourceError):
            edge.video.Analysis(interrupted, stream(model), tmp_path, pictures=False).run()
    assert names(tmp_path) == ["input"]


def test_resuming_wants_the_same_settings(tmp_path, clip, model):
    with pytest.raises(SourceError):
        edge.video.Analysis(
            Interrupted(clip, 2, SourceError("gone")),
            stream(model),
            tmp_path,
            {"smooth": False},
            pictures=False,
        ).run()
    before = names(tmp_path)
    with (
        open_source(str(clip)) as source,
        pytest.raises(ValueError, match=r"other than there: smooth\."),
    ):
        edge.video.Analysis(source, stream(model), tmp_path, {"smooth": True}, pictures=False).run(
            resume=True
        )
    assert names(tmp_path) == before
    (tmp_path / "clip.part.json").write_text("{")
    with open_source(str(clip)) as source, pytest.raises(ValueError, match="is damaged"):
        edge.video.Analysis(source, stream(model), tmp_path, pictures=False).run(resume=True)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL to send")
def test_killed_again_and_again_the_table_is_that_of_an_unbroken_run(
    tmp_path, astronaut, model_path
):
    path = tmp_path / f"long{VideoSink.suffix()}"
    with VideoSink(path, rate=25.0) as sink:
        for index in range(120):
            shifted = np.roll(astronaut[:240, 60:380], round(30 * np.sin(index / 9)), axis=1)
            sink.append(shifted, index * 40.0)
    options = ["--no-pictures", "--smooth", "--neutral", "running", "--max-faces", "2", "--sides"]
    arguments = [path, "--model", model_path, *options, "--checkpoint", "0.05"]
    assert run("edge.video", *arguments, "-o", tmp_path / "whole").returncode == 0
    command = [sys.executable, "-m", "edge.video", *map(str, arguments)]
    killed = 0
    while True:
        process = subprocess.Popen(
            [*command, "-o", str(tmp_path / "out"), "--resume"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )
        try:  # each run lives a little longer, so that on a busy machine one comes to the end
            assert process.wait(0.6 * 1.1**killed) == 0
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
    assert killed >= 1
    assert names(tmp_path / "out") == ["long.csv", "long.json"]
    first, second = ((tmp_path / name / "long.csv").read_bytes() for name in ("whole", "out"))
    assert first == second


def test_a_full_disk_leaves_what_was_read(tmp_path, clip, model_path):
    """A limit on the size of files stands for the disk: the table does not fit any more."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "out"
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "from edge.video import main; from tfau.core.errors import run_cli\n"
        f"sys.exit(run_cli(lambda _: main({[str(clip)]!r} + sys.argv[1:])))"
    )
    arguments = ["--model", str(model_path), "-o", str(path), "--no-pictures", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments, "--checkpoint", "0"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert resource
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert "File too large" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")
def test_ctrl_c_ends_a_headless_camera_cleanly(tmp_path, astronaut, model_path):
    path = tmp_path / f"long{VideoSink.suffix()}"
    with VideoSink(path, rate=25.0) as sink:
        for index in range(400):
            sink.append(astronaut[:160, 145:305], index * 40.0)
    arguments = ["--source", path, "--model", model_path, "--headless"]
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.camera", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert json.loads(first)["frame"] == 1
    assert process.returncode == 0
    assert errors == ""
    assert len(rest.splitlines()) < 399


def test_a_window_shows_every_frame_until_q(clip, model, mesh, monkeypatch):
    """The window without a screen: what is shown, and that q ends it."""
    shown, sizes, keys = [], [], iter([-1] * 2 + [ord("q")] * 9)
    monkeypatch.setattr(cv2, "resizeWindow", lambda name, *size: sizes.append(size))
    monkeypatch.setattr(cv2, "imshow", lambda name, image: shown.append(image))
    monkeypatch.setattr(cv2, "waitKey", lambda delay: next(keys))
    monkeypatch.setattr(cv2, "getWindowProperty", lambda name, what: 1.0)
    monkeypatch.setattr("edge.camera.time.monotonic", iter(np.arange(0, 100, 0.03)).__next__)
    with open_source(str(clip)) as source:
        edge.camera._show(source, ReadingStream(FaceAnalyzer(model, mesh)))
    assert 1 <= len(shown) < 5
    assert shown[0].shape == shown[-1].shape
    assert shown[0].shape[1] > shown[0].shape[0]
    assert sizes == [shown[0].shape[1::-1]]
