"""The road from source to readings: threads change nothing, cameras come back."""

import contextlib
import http.server
import itertools
import json
import socketserver
import threading
import time
import types

import cv2
import numpy as np
import pytest

import edge.sources
from edge.analyzer import FaceAnalyzer
from edge.camera import main as camera
from edge.face_mesh import FaceMesh
from edge.filters import ReadingFilter
from edge.pipeline import Ahead
from edge.sources import Frame, LiveSource, Source, open_source
from edge.stream import ReadingStream
from tfau.core import SourceError

# side by side


@pytest.mark.parametrize("lossy", [False, True])
def test_order_stays_and_threads_end(lossy):
    before = threading.active_count()
    with Ahead(range(1000), lossy=lossy) as items:
        found = list(items)
    assert found == sorted(found)
    assert found[-1] == 999
    assert len(found) + items.dropped == 1000
    assert lossy or items.dropped == 0
    assert threading.active_count() == before


def test_what_the_thread_raises_reaches_the_reader():
    def broken():
        yield 1
        raise SourceError("gone")

    with Ahead(broken()) as items:
        assert next(iter(items)) == 1
        with pytest.raises(SourceError, match="gone"):
            list(items)


def test_leaving_early_stops_the_thread():
    before = threading.active_count()
    with Ahead(itertools.count()) as items:
        assert next(iter(items)) == 0
    assert threading.active_count() == before


def test_a_slow_reader_gets_the_newest():
    def ticks():
        for index in range(20):
            yield index
            time.sleep(0.005)

    with Ahead(ticks(), size=1, lossy=True) as items:
        found = []
        for index in items:
            found.append(index)
            time.sleep(0.03)
    assert items.dropped > 5
    assert found[-1] == 19


def test_threads_do_not_change_the_answers(model, clip):
    with open_source(str(clip)) as source:
        frames = list(source)
    analyzer = FaceAnalyzer(model, FaceMesh(follow=True))
    expected = [analyzer.analyze(frame.image, frame.timestamp_ms) for frame in frames]
    stream = ReadingStream(FaceAnalyzer(model, FaceMesh(follow=True)))
    with open_source(str(clip)) as source:
        found = list(stream.read(source))
    assert [answer.frame.index for answer in found] == [0, 1, 2, 3, 4]
    for answer, readings in zip(found, expected, strict=True):
        assert [r.face.track_id for r in answer.readings] == [0]
        assert np.array_equal(answer.readings[0].points, readings[0].points)


def test_every_third_frame(model, clip):
    stream = ReadingStream(FaceAnalyzer(model, FaceMesh(follow=True)), every=3)
    with open_source(str(clip)) as source:
        assert [answer.frame.index for answer in stream.read(source)] == [0, 3]
    with pytest.raises(ValueError, match="`every` must be"):
        ReadingStream(FaceAnalyzer(model, FaceMesh()), every=0)


def test_going_on_from_a_state_gives_the_same(model, astronaut):
    class Moving(Source):
        stem = "moving"

        def __iter__(self):
            for index in range(self.start, 24):
                if index in (10, 11):
                    image = np.zeros((240, 320, 3), np.uint8)
                else:
                    image = np.roll(astronaut[:240, 60:380], 4 * index, axis=1)
                yield Frame(index, index * 40.0, np.ascontiguousarray(image), "x")

    def stream():
        analyzer = FaceAnalyzer(model, FaceMesh(follow=True, max_faces=2))
        return ReadingStream(analyzer, ReadingFilter("running", smooth=True))

    expected = list(stream().read(Moving()))
    for stop in (1, 9, 11, 17):
        first, second, source = stream(), stream(), Moving()
        list(itertools.islice(first.read(Moving()), stop))
        second.restore(json.loads(json.dumps(first.state(), default=lambda array: array.tolist())))
        source.start = stop
        for one, two in zip(second.read(source), expected[stop:], strict=True):
            assert one.frame.index == two.frame.index
            assert len(one.readings) == len(two.readings)
            for mine, whole in zip(one.readings, two.readings, strict=True):
                assert mine.face.track_id == whole.face.track_id
                assert np.array_equal(mine.points, whole.points)


# following


def test_a_followed_face_needs_no_detector(astronaut, monkeypatch):
    searched = []
    with FaceMesh(follow=True) as mesh, FaceMesh() as still:
        look = mesh._detector._look
        monkeypatch.setattr(mesh._detector, "_look", lambda *a: (searched.append(1), look(*a))[1])
        for step in range(12):
            image = np.ascontiguousarray(np.roll(astronaut, 5 * step, axis=1))
            (followed,), (found,) = mesh.detect(image, step * 40.0), still.detect(image)
            off = np.linalg.norm(followed.mesh[:, :2] - found.mesh[:, :2], axis=1).mean()
            assert off < 0.05 * np.linalg.norm(found.mesh[33] - found.mesh[263])
        assert len(searched) == 1
        assert mesh.detect(np.zeros_like(astronaut), 500.0) == []
        assert len(mesh.detect(astronaut, 540.0)) == 1
        mesh.reset()
        assert mesh.state()["last"] == []


def test_a_second_face_is_found_within_a_quarter_of_a_second(astronaut):
    face = astronaut[:256, 96:352]
    alone, pair = np.hstack([face, np.zeros_like(face)]), np.hstack([face, face])
    with FaceMesh(follow=True, max_faces=2) as mesh:
        counts = [len(mesh.detect(alone if t < 400 else pair, t)) for t in range(0, 900, 50)]
    assert counts[:8] == [1] * 8
    assert counts.index(2) <= 8 + 5
    assert counts[-1] == 2


# live sources


class Stream(http.server.BaseHTTPRequestHandler):
    """Serves a motion JPEG of a few frames, then hangs up."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        _, data = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))
        with contextlib.suppress(OSError):
            for _ in range(8):
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data.tobytes() + b"\r\n")
                time.sleep(0.03)

    def log_message(self, *_):
        pass


def test_a_stream_that_hangs_up_is_opened_again(capsys):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Stream) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/x.mjpg"
        with open_source(url) as source:
            found = list(itertools.islice(source, 12))
        server.shutdown()
    assert [frame.index for frame in found] == list(range(12))
    assert np.all(np.diff([frame.timestamp_ms for frame in found]) > 0)
    errors = capsys.readouterr().err
    assert "is lost; waiting for it" in errors
    assert "is back" in errors


class Camera:
    """An OpenCV camera that can be unplugged."""

    plugged, frames = True, 0

    def __init__(self, *_):
        self.opened = Camera.plugged

    def isOpened(self):  # noqa: N802
        return self.opened

    def read(self):
        Camera.frames += 1
        if Camera.frames == 4:
            Camera.plugged = self.opened = False
        return self.opened, np.zeros((48, 64, 3), np.uint8)

    def get(self, *_):
        return 0.0

    set = get
    release = __init__


def test_a_camera_that_is_unplugged_and_plugged_in_again(monkeypatch, capsys):
    Camera.plugged, Camera.frames = True, 0
    monkeypatch.setattr(edge.sources.cv2, "VideoCapture", Camera)
    naps = []

    def nap(seconds):
        naps.append(seconds)
        Camera.plugged = len(naps) == 3

    monkeypatch.setattr(edge.sources.time, "sleep", nap)
    with open_source("0") as source:
        assert len(list(itertools.islice(source, 9))) == 9
    assert naps == [0.25, 0.5, 1.0]
    assert capsys.readouterr().err.count("\n") == 2


def test_a_camera_that_does_not_come_back(monkeypatch, capsys):
    Camera.plugged, Camera.frames = True, 0
    monkeypatch.setattr(edge.sources.cv2, "VideoCapture", Camera)
    with (
        LiveSource(0, patience_s=0.3) as source,
        pytest.raises(SourceError, match="was lost and did not come back"),
    ):
        list(source)


def test_the_camera_of_a_raspberry_pi(monkeypatch):
    """An imitation of picamera2: what it is asked for, and that it is stopped."""
    calls = []

    class Picamera2:
        def __init__(self, number):
            calls.append(number)

        @staticmethod
        def global_camera_info():
            return [{"Model": "imx708"}]

        def create_video_configuration(self, main):
            return main

        def configure(self, main):
            calls.append(main["format"])

        def capture_array(self, name):
            return np.full((48, 64, 3), (255, 0, 0), np.uint8)  # blue, as BGR

        start, stop, close = (lambda self, n=n: calls.append(n) for n in ("start", "stop", "close"))

    module = types.SimpleNamespace(Picamera2=Picamera2)
    monkeypatch.setattr(edge.sources.importlib.util, "find_spec", lambda name: module)
    monkeypatch.setattr(edge.sources.importlib, "import_module", lambda name: module)
    with open_source("picamera") as source:
        (frame,) = itertools.islice(source, 1)
    assert frame.image[0, 0].tolist() == [0, 0, 255]
    assert calls == [0, "RGB888", "start", "stop", "close"]


def test_a_recording_holds_what_was_seen_and_read(tmp_path, clip, model_path, capsys):
    folder = tmp_path / "kept"
    camera(
        ["--source", str(clip), "--model", str(model_path), "--headless", "--record", str(folder)]
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 5
    table, video = sorted(folder.iterdir(), key=lambda path: path.suffix != ".csv")
    assert table.stem == video.stem
    assert len(table.read_text().splitlines()) == 6
    with open_source(str(video)) as source:
        assert len(list(source)) == 5


def test_nothing_is_stored_unless_asked(tmp_path, clip, model_path, monkeypatch, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    camera(["--source", str(clip), "--model", str(model_path), "--headless"])
    assert list(empty.iterdir()) == []
