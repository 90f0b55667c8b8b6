"""Sinks: what stands in the files, and that a file is whole or absent."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from edge.sinks import CsvSink, ImageSink, JsonLinesSink, VideoSink, json_line
from edge.sources import Frame, open_source, read_image
from tfau.core import AUReading, AUSet, FaceFrame
from tfau.core.readings import FaceGeometry

AUS = AUSet([12, 25])
BLACK = np.zeros((48, 64, 3), np.uint8)
SHAPE = FaceGeometry(
    np.array([0.1, 0.2, 0.3]),
    np.array([1.0, -2.0, 600.0]),
    np.array([[0.6, 0.0, -0.8], [0.0, 0.6, -0.8]]),
    np.array([0.31, 0.29]),
)


def frame(index=0, timestamp_ms=0.0, image=BLACK):
    return Frame(index, timestamp_ms, image, "x.png")


def reading(intensities, track_id=0, success=True):
    face = FaceFrame(np.zeros((478, 3), "f4"), (64, 48), 0.0, track_id, 0.98765)
    points = np.column_stack([np.arange(8).reshape(4, 2), np.repeat(intensities, 2)])
    points = points.astype("f4")
    points[0, :2] = np.nan
    reason = "" if success else "too dark"
    intensities = np.array(intensities, "f4")
    return AUReading(AUS, intensities, intensities / 4, points, face, success, reason)


def test_csv_golden(tmp_path):
    """The names are OpenFace's: readers of its files must find them."""
    path = tmp_path / "x.csv"
    with CsvSink(path, AUS, threshold=1.0) as sink:
        sink.append(frame(0), [replace(reading([2.34567, 0.5]), geometry=SHAPE)])
        sink.append(frame(1, 33.4), [])
        sink.append(frame(2, 66.7), [reading([1.0, np.nan]), reading([5, 0], track_id=1)])
        sink.append(frame(3, 100), [reading([3, 3], success=False)])
    assert path.read_bytes().decode() == (
        "frame,face_id,timestamp,confidence,success,gaze_0_x,gaze_0_y,gaze_0_z,gaze_1_x,gaze_1_y,"
        "gaze_1_z,gaze_angle_x,gaze_angle_y,pose_Tx,pose_Ty,pose_Tz,pose_Rx,pose_Ry,pose_Rz,"
        "AU12_r,AU25_r,AU12_c,AU25_c,AU12_u,AU25_u,"
        "eye_aspect_left,eye_aspect_right,quality,reason\n"
        "1,0,0.000,0.988,1,0.000,0.600,-0.800,0.600,0.000,-0.800,0.359,0.359,1.0,-2.0,600.0,"
        "0.100,0.200,0.300,2.346,0.500,1,0,0.586,0.125,0.310,0.290,1.000,\n"
        "2,0,0.033,0.000,0,,,,,,,,,,,,,,,,,,,,,,,,no_face\n"
        "3,0,0.067,0.988,1,,,,,,,,,,,,,,,1.000,,1,,0.250,,,,1.000,\n"
        "3,1,0.067,0.988,1,,,,,,,,,,,,,,,5.000,0.000,1,0,1.250,0.000,,,1.000,\n"
        "4,0,0.100,0.988,0,,,,,,,,,,,,,,,,,,,,,,,1.000,too dark\n"
    )


def test_csv_names_files_last(tmp_path):
    with CsvSink(tmp_path / "x.csv", AUS, 1.0, with_file=True) as sink:
        sink.append(Frame(0, 0.0, BLACK, 'a "quoted", name.png'), [])
    with (tmp_path / "x.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert list(row)[-1] == "file"
    assert row["file"] == 'a "quoted", name.png'


def test_a_shuffled_set_shuffles_the_columns(tmp_path):
    with CsvSink(tmp_path / "x.csv", AUSet([25, 12]), 1.0) as sink:
        assert sink.header[19:25] == [
            f"{name}_{kind}" for kind in "rcu" for name in ("AU25", "AU12")
        ]


def test_json_line_is_strict_json():
    line = json_line(frame(2, 66.7), [reading([2, np.nan])])
    assert "\n" not in line
    answer = json.loads(line, parse_constant=pytest.fail)
    assert (answer["frame"], answer["timestamp"], answer["name"]) == (3, 0.067, "x.png")
    (face,) = answer["faces"]
    assert face["intensities"] == {"AU12": 2.0, "AU25": None}
    assert face["uncertainties"] == {"AU12": 0.5, "AU25": None}
    assert face["points"]["AU12_left"] == [None, None, 2.0]
    assert face["points"]["AU12_right"] == [2.0, 3.0, 2.0]
    assert list(face["points"]) == list(AUS.point_names)
    assert json.loads(json_line(frame(), []))["faces"] == []


def test_json_lines(tmp_path):
    with JsonLinesSink(tmp_path / "x.jsonl") as sink:
        for index in range(3):
            sink.append(frame(index), [])
    lines = (tmp_path / "x.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == [1, 2, 3]


def test_picture_round_trip(tmp_path, astronaut):
    with ImageSink(tmp_path / "x.png") as sink:
        sink.append(astronaut)
    assert np.array_equal(read_image(tmp_path / "x.png"), astronaut)


@pytest.mark.parametrize("size", [(240, 320), (241, 321)])
def test_video_round_trip(tmp_path, astronaut, codec, size):
    height, width = size
    path = tmp_path / f"x{VideoSink.suffix()}"
    assert path.suffix == {"pyav": ".mp4", "opencv": ".avi"}[codec]
    shown = [astronaut[:height, 10 * step : 10 * step + width] for step in range(4)]
    with VideoSink(path, rate=20.0) as sink:
        for index, image in enumerate(shown):
            sink.append(image, index * 50.0)
    with open_source(str(path)) as source:
        found = list(source)
    assert np.allclose([frame.timestamp_ms for frame in found], [0, 50, 100, 150], atol=0.1)
    for frame, image in zip(found, shown, strict=True):
        assert frame.image.shape == (240 + 2 * (height % 2), 320 + 2 * (width % 2), 3)
        difference = frame.image[:height, :width].astype(int) - image
        assert np.abs(difference).mean() < 6


def test_same_video_same_bytes(tmp_path, astronaut, codec):
    paths = [tmp_path / f"{name}{VideoSink.suffix()}" for name in "ab"]
    for path in paths:
        with VideoSink(path, rate=25.0) as sink:
            for step in range(5):
                sink.append(np.roll(astronaut, step, axis=0), step * 40.0)
    first, second = (path.read_bytes() for path in paths)
    assert first == second


def test_frames_of_another_size_are_scaled(tmp_path, codec):
    path = tmp_path / f"x{VideoSink.suffix()}"
    with VideoSink(path, rate=25.0) as sink:
        sink.append(np.full((48, 64, 3), 90, np.uint8), 0.0)
        sink.append(np.full((96, 99, 3), 90, np.uint8), 40.0)
    with open_source(str(path)) as source:
        assert [frame.image.shape for frame in source] == [(48, 64, 3)] * 2


def test_times_that_stand_still_are_pushed_on(tmp_path):
    pytest.importorskip("av", reason="needs tfau[video]")
    with VideoSink(tmp_path / "x.mp4") as sink:
        for time in (0.0, 40.0, 40.0, 30.0):
            sink.append(BLACK, time)
    with open_source(str(tmp_path / "x.mp4")) as source:
        times = [frame.timestamp_ms for frame in source]
    assert len(times) == 4
    assert np.all(np.diff(times) > 0)


def test_other_video_formats_are_refused(tmp_path, codec):
    with pytest.raises(ValueError, match="Received: path="):
        VideoSink(tmp_path / "x.gif")
    if codec == "opencv":
        with pytest.raises(ValueError, match=r"tfau\[video\]"):
            VideoSink(tmp_path / "x.mp4")
    assert list(tmp_path.iterdir()) == []


# whole or absent


def use(sink):
    """Writes one frame to any sink."""
    match sink:
        case CsvSink() | JsonLinesSink():
            sink.append(frame(), [])
        case ImageSink():
            sink.append(BLACK)
        case VideoSink():
            sink.append(BLACK, 0.0)


def sinks(folder):
    return [
        CsvSink(folder / "x.csv", AUS, 1.0),
        JsonLinesSink(folder / "x.jsonl"),
        ImageSink(folder / "x.png"),
        VideoSink(folder / f"x{VideoSink.suffix()}"),
    ]


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_after_an_error_nothing_is_left(tmp_path, codec, index, error):
    sink = sinks(tmp_path)[index]
    sink.path.write_text("from before")

    def interrupted():
        with sink:
            use(sink)
            raise error

    with pytest.raises(error):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == [sink.path.name]
    assert sink.path.read_text() == "from before"


@pytest.mark.parametrize("index", range(4))
def test_the_target_appears_at_the_end_and_replaces(tmp_path, codec, index):
    sink = sinks(tmp_path)[index]
    sink.path.write_text("from before")
    with sink:
        use(sink)
        assert sink.path.read_text() == "from before"
    assert [path.name for path in tmp_path.iterdir()] == [sink.path.name]
    assert sink.path.read_bytes() != b"from before"


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    for sink in sinks(tmp_path / "nowhere"):
        with pytest.raises(OSError, match="There is no folder .*nowhere"):
            sink.__enter__()
