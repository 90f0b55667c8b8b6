"""Sources: every kind of input, upright and in RGB, and one sentence for each that is unusable."""

import struct

import cv2
import numpy as np
import pytest

from edge.sinks import VideoSink
from edge.sources import ImageSource, VideoSource, open_source, read_image
from tfau.core import SourceError


def write(path, image):
    """Writes an RGB picture."""
    cv2.imwrite(str(path), np.ascontiguousarray(image[..., ::-1]))
    return path


def quadrants(width=64, height=48):
    """Red, green / blue, white: every turn and mirror image of it looks different."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2, 0] = 255
    image[: height // 2, width // 2 :, 1] = 255
    image[height // 2 :, : width // 2, 2] = 255
    image[height // 2 :, width // 2 :] = 255
    return image


def frames(where):
    with open_source(str(where)) as source:
        return list(source)


# photos


def test_photo_is_rgb(tmp_path):
    (frame,) = frames(write(tmp_path / "photo.png", quadrants()))
    assert np.array_equal(frame.image, quadrants())
    assert (frame.index, frame.timestamp_ms, frame.name) == (0, 0.0, "photo.png")


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".bmp", ".webp", ".tif"])
def test_photo_formats(tmp_path, suffix):
    (frame,) = frames(write(tmp_path / f"photo{suffix}", quadrants()))
    middles = [frame.image[y, x] for y in (12, 36) for x in (16, 48)]
    assert np.abs(middles - np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255] * 3])).max() < 9


@pytest.mark.parametrize(
    "stored",
    [
        np.full((20, 30), 90, np.uint8),
        np.full((20, 30), 90 * 257, np.uint16),
        np.full((20, 30, 4), 90, np.uint8),
        np.full((20, 30, 3), 90 * 257, np.uint16),
    ],
    ids=["grey", "grey 16 bit", "alpha", "16 bit"],
)
def test_grey_transparent_and_deep_pictures(tmp_path, stored):
    cv2.imwrite(str(tmp_path / "x.png"), stored)
    image = read_image(tmp_path / "x.png")
    assert image.dtype == np.uint8
    assert np.array_equal(image, np.full((20, 30, 3), 90))


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda image: image),
        (2, lambda image: image[:, ::-1]),
        (3, lambda image: image[::-1, ::-1]),
        (6, lambda image: np.rot90(image, -1)),
        (8, np.rot90),
    ],
)
def test_exif_orientation_is_applied(tmp_path, orientation, turn):
    path = write(tmp_path / "x.jpg", quadrants())
    jpeg = path.read_bytes()
    tag = struct.pack("<HHII", 0x0112, 3, 1, orientation)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + tag + b"\0\0\0\0"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    expected = turn(quadrants())
    image = read_image(path)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 8


def test_folder_is_sorted_as_people_count(tmp_path):
    for name in ("10.png", "2.png", "1.png", "b2.JPG", "b10.jpg", "a.bmp", ".hidden.png"):
        write(tmp_path / name, quadrants())
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "sub").mkdir()
    found = frames(tmp_path)
    names = ["1.png", "2.png", "10.png", "a.bmp", "b2.JPG", "b10.jpg"]
    assert [frame.name for frame in found] == names
    assert [frame.index for frame in found] == list(range(6))


def test_names_of_answers(tmp_path):
    folder = tmp_path / "session.1"
    folder.mkdir()
    write(folder / "first.try.png", quadrants())
    assert open_source(str(folder)).stem == "session.1"
    assert open_source(str(folder / "first.try.png")).stem == "first.try"


# videos


def test_video_frames_and_times(clip, codec, astronaut):
    with open_source(str(clip)) as source:
        assert source.count == 5
        assert source.rate == pytest.approx(25)
        found = list(source)
    assert [frame.index for frame in found] == [0, 1, 2, 3, 4]
    assert np.allclose([frame.timestamp_ms for frame in found], np.arange(5) * 40, atol=0.5)
    for step, frame in enumerate(found):
        shown = np.roll(astronaut[:240, 60:380], 8 * step, axis=1)
        assert np.abs(frame.image.astype(int) - shown).mean() < 6  # swapped colours: over 30


def test_uneven_times_survive(tmp_path):
    pytest.importorskip("av", reason="needs tfau[video]")
    times = [0.0, 10.0, 50.0, 51.0, 400.0]
    with VideoSink(tmp_path / "x.mp4") as sink:
        for time in times:
            sink.append(quadrants(), time)
    found = frames(tmp_path / "x.mp4")
    assert np.allclose([frame.timestamp_ms for frame in found], times, atol=0.1)


def test_joined_files_have_one_clock(tmp_path):
    """Parts of a recording, in one file: each counts from 0, and may have its own size."""
    av = pytest.importorskip("av", reason="needs tfau[video]")
    parts = []
    for side in (64, 128):
        with av.open(tmp_path / "part.ts", "w") as file:
            stream = file.add_stream("mpeg2video", rate=25)
            stream.width = stream.height = side
            stream.pix_fmt = "yuv420p"
            for _ in range(6):
                picture = np.full((side, side, 3), 90, np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            file.mux(stream.encode())
        parts.append((tmp_path / "part.ts").read_bytes())
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    found = frames(tmp_path / "joined.ts")
    assert {frame.image.shape[0] for frame in found} == {64, 128}
    assert np.allclose(np.diff([frame.timestamp_ms for frame in found]), 40, atol=1)


def test_a_video_filmed_upright_is_shown_upright(tmp_path, codec):
    """Telephones store the sensor's picture and a matrix that says how they were held."""
    if codec == "pyav":
        path = tmp_path / "x.mp4"
        with VideoSink(path) as sink:
            for index in range(3):
                sink.append(quadrants(), index * 40.0)
        level = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
        quarter = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
        data = path.read_bytes()
        head = data.index(b"tkhd")
        path.write_bytes(data[:head] + data[head:].replace(level, quarter, 1))
        expected = np.rot90(quadrants(), -1)
        for frame in frames(path):
            assert frame.image.shape == expected.shape
            assert np.abs(frame.image.astype(int) - expected).mean() < 12


# what cannot be read


def damaged(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_missing_things_are_one_sentence(tmp_path):
    for name in ("photo.jpg", "video.mp4", "folder", "no suffix"):
        with pytest.raises(SourceError, match="There is no file"):
            open_source(str(tmp_path / name))


def test_empty_things_are_one_sentence(tmp_path):
    for name in ("photo.jpg", "video.mp4"):
        with pytest.raises(SourceError, match="is empty"):
            open_source(str(damaged(tmp_path, name, b"")))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("no picture")
    with pytest.raises(SourceError, match="holds no picture"):
        open_source(str(tmp_path / "folder"))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_pictures_that_are_cut_off(tmp_path, astronaut, capfd, suffix, share):
    path = write(tmp_path / f"x{suffix}", astronaut)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SourceError, match="no picture that can be read"):
        frames(path)
    assert capfd.readouterr().err == ""


def test_text_is_neither_picture_nor_video(tmp_path, codec, capfd):
    for name in ("x.jpg", "x.mp4", "x.txt"):
        with pytest.raises(SourceError, match=f"{name} is no "):
            frames(damaged(tmp_path, name, b"hello, world " * 99))
    assert capfd.readouterr().err == ""


def test_binary_rubbish_is_no_video(tmp_path, codec, capfd):
    with pytest.raises(SourceError, match="no video|no frame"):
        frames(damaged(tmp_path, "x.mp4", bytes(range(256)) * 40))
    assert capfd.readouterr().err == ""


def test_a_video_that_is_cut_off(clip, codec, capfd):
    data = clip.read_bytes()
    clip.write_bytes(data[:300])
    with pytest.raises(SourceError, match="no video|no frame"):
        frames(clip)
    assert capfd.readouterr().err == ""


def test_a_video_that_breaks_off_in_a_frame(tmp_path, astronaut):
    pytest.importorskip("av", reason="needs tfau[video]")
    path = tmp_path / "x.mp4"
    with VideoSink(path) as sink:
        for index in range(20):
            sink.append(np.roll(astronaut, 9 * index, axis=1), index * 40.0)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    with open_source(str(path)) as source:
        found = list(source)  # its index comes first, so what is there can be read
    assert 1 <= len(found) < 20
    assert source.broken == 20 - len(found)


def test_damaged_frames_are_counted_and_the_rest_is_read(tmp_path, astronaut):
    pytest.importorskip("av", reason="needs tfau[video]")
    path = tmp_path / "x.avi"
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (512, 512)
    )
    for index in range(20):
        writer.write(np.roll(astronaut, 9 * index, axis=1))
    writer.release()
    data = bytearray(path.read_bytes())
    starts = [i for i in range(len(data)) if data[i : i + 2] == b"\xff\xd8"]
    data[starts[5] : starts[6] - 8] = bytes(starts[6] - 8 - starts[5])
    path.write_bytes(data)
    with open_source(str(path)) as source:
        found = list(source)
        assert source.broken == 1
    assert len(found) == 19
    assert found[5].timestamp_ms == pytest.approx(240)


def test_no_camera_is_one_sentence(capfd):
    with pytest.raises(SourceError, match="camera 99 cannot be opened"):
        open_source("99")
    assert capfd.readouterr().err == ""


def test_a_file_named_like_a_camera_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").mkdir()
    write(tmp_path / "7" / "x.png", quadrants())
    with open_source("7") as source:
        assert isinstance(source, ImageSource)


def test_closing_frees_the_file(clip, codec):
    with VideoSource(clip) as source:
        next(iter(source))
    clip.unlink()
    assert not clip.exists()
