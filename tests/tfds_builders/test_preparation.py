"""From recordings to a prepared set: pictures, faces, reasons, and what survives being killed."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import psutil
import pytest
import tensorflow_datasets as tfds

import tfds_builders
from edge.face_mesh import FaceMesh
from tfau.core.action_units import AUSet
from tfau.core.align import FaceAligner
from tfau.core.errors import DatasetError, MissingExtra
from tfau.core.examples import AUExample
from tfds_builders import dummy_faces, preparation, workers
from tfds_builders.disfa import dummy_data
from tfds_builders.face_set import FaceSet, FaceSetConfig
from tfds_builders.preparation import Task
from tfds_builders.recordings import CodedFrame, Recording, Report

ROOT = Path(__file__).parents[2]
AUS = AUSet((12, 25))


def coded(number: int, picture: str | int, **changes: object) -> CodedFrame:
    return dataclasses.replace(
        CodedFrame(number, picture, intensity={12: 2.0, 25: 0.0}, presence={12: True}),
        **changes,
    )


@pytest.fixture
def folder(tmp_path):
    """Two faces, a grey wall, garbage and what nobody coded."""
    folder = tmp_path / "pictures"
    dummy_faces.write_picture(folder / "0.png", 0, 0)
    dummy_faces.write_picture(folder / "1.JPG", 0, 1)
    (folder / "2.jpg").write_bytes((folder / "1.JPG").read_bytes()[:3000])
    wall = np.full((240, 320, 3), 128, np.uint8)
    (folder / "3.png").write_bytes(cv2.imencode(".png", wall)[1].tobytes())
    dummy_faces.write_picture(folder / "5.png", 0, 5)
    dummy_faces.write_picture(folder / "6.png", 0, 6)
    (folder / ".DS_Store").touch()
    (folder / "._6.png").touch()
    (folder / "notes.txt").touch()
    return folder


FRAMES = (
    coded(10, "0.png"),
    coded(11, "1.JPG"),
    coded(12, "2.jpg"),
    coded(13, "3.png"),
    coded(14, "4.png"),
    CodedFrame(15, "5.png"),
)
EXPECTED = {
    10: None,
    11: None,
    12: "unreadable picture",
    13: "no face found",
    14: "no picture",
    15: "not coded",
}


def outcome(recording: Recording) -> dict[int, str | None]:
    found = preparation.examples(recording, AUS, 64)
    return {frame.number: one if isinstance(one, str) else None for frame, one in found}


def test_a_folder_gives_examples_and_reasons(folder):
    recording = Recording("p", "s", folder, FRAMES)
    assert outcome(recording) == EXPECTED
    report = Report()
    preparation.note_uncoded([recording], report)
    assert report.rows == [("s", "6.png", "not coded")]


def test_a_zip_gives_the_same(folder, tmp_path):
    archive = tmp_path / "p.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.iterdir():
            file.write(path, f"top/T1/{path.name}")
        file.write(folder / "0.png", "top/T2/0.png")
        file.write(folder / "0.png", "top/T3/0.png")
        file.writestr("__MACOSX/top/T1/._0.png", b"")
    first = tuple(dataclasses.replace(f, picture=f"top/T1/{f.picture}") for f in FRAMES)
    recordings = [
        Recording("p", "s1", archive, first),
        Recording("p", "s2", archive, (coded(10, "top/T2/0.png"),)),
    ]
    assert outcome(recordings[0]) == EXPECTED
    assert outcome(recordings[1]) == {10: None}
    report = Report()
    preparation.note_uncoded(recordings, report)
    assert report.rows == [("s1", "top/T1/6.png", "not coded")]


def test_a_video_gives_what_is_at_the_position(tmp_path):
    video = tmp_path / "a.avi"
    dummy_faces.write_video(video, 0, 5)
    frames = (coded(7, 3), coded(5, 1), coded(8, 4), coded(9, 5))
    found = preparation.pictures(Recording("p", "s", video, frames))
    by_number = {frame.number: picture for frame, picture in found}
    assert by_number[9] == "no picture"
    assert by_number[4] == by_number[6] == "not coded"
    for number, position in ((5, 1), (7, 3), (8, 4)):
        truth = [np.abs(by_number[number].astype(int) - dummy_faces.frame(0, k)) for k in range(5)]
        assert np.argmin([apart.mean() for apart in truth]) == position


@pytest.mark.parametrize("content", [b"", b"no video", bytes(5000)])
def test_media_that_cannot_be_read_are_a_reason(tmp_path, content):
    media = tmp_path / "a.avi"
    media.write_bytes(content)
    assert outcome(Recording("p", "s", media, (coded(1, 0),))) == {1: "unreadable picture"}


def test_an_example_says_what_was_coded_where_the_face_is(folder):
    picture = dummy_faces.frame(0, 1)
    with FaceMesh() as mesh:
        face = mesh.detect(picture)[0].mesh
    places = {"AU12_left": (200.0, 130.0), "AU25_upper": (160.0, 140.0), "AU01_left": (1.0, 2.0)}
    frames = (
        coded(
            3,
            "1.JPG",
            intensity={25: 0.0},
            sides={"AU12_left": 4.0, "AU12_right": 2.5},
            places=places,
            emotion="joy",
        ),
        CodedFrame(4, "0.png", presence={25: False}),
    )
    recording = Recording("p", "s", folder, frames, group="female")
    first, second = (example for _, example in preparation.examples(recording, AUS, 96))
    assert isinstance(first, AUExample)
    assert isinstance(second, AUExample)
    assert (first.subject, first.sequence, first.frame) == ("p", "s", 3)
    assert (first.group, first.emotion, second.emotion) == ("female", "joy", "")
    assert AUS.point_names[:2] == ("AU12_left", "AU12_right")
    np.testing.assert_array_equal(first.points[:, 2], [4, 2.5, 0, 0])
    np.testing.assert_array_equal(first.presence, [1, np.nan])
    assert np.isnan(second.points[:, 2]).all()
    np.testing.assert_array_equal(second.presence, [np.nan, 0])

    aligner = FaceAligner(96)
    matrix = aligner.matrix(face)  # that of the picture before it became a JPEG
    given = [AUS.point_names.index(name) for name in ("AU12_left", "AU25_upper")]
    truth = aligner.transform([places["AU12_left"], places["AU25_upper"]], matrix)
    np.testing.assert_allclose(first.points[given, :2], truth, atol=0.7)
    right = AUS.point_names.index("AU12_right")
    np.testing.assert_allclose(first.points[right, :2], first.mesh[61, :2], atol=1e-3)
    np.testing.assert_allclose(
        first.mesh[:, :2], aligner.transform(face[:468, :2], matrix), atol=0.7
    )
    stable = first.mesh[[33, 263]]
    np.testing.assert_allclose(np.linalg.norm(stable[0, :2] - stable[1, :2]), 0.46 * 96, rtol=0.1)


def test_the_name_of_a_file_follows_from_its_content(folder, tmp_path):
    recording = Recording("p", "s", folder, FRAMES)

    def key(recording: Recording = recording, size: int = 64) -> Path:
        return Task.plan(recording, AUS.numbers, size, tmp_path).path

    relabelled = (dataclasses.replace(FRAMES[0], intensity={12: 3.0}), *FRAMES[1:])
    elsewhere = folder.rename(tmp_path / "moved")
    moved = key(dataclasses.replace(recording, media=elsewhere))
    elsewhere.rename(folder)
    names = {
        key(),
        key(size=96),
        key(dataclasses.replace(recording, frames=relabelled)),
        key(dataclasses.replace(recording, group="male")),
        Task.plan(recording, (12,), 64, tmp_path).path,
        moved,
    }
    assert len(names) == 6
    assert key() == key(dataclasses.replace(recording, media=folder / ".." / folder.name))
    dummy_faces.write_picture(folder / "7.png", 0, 7)
    assert key() not in names


def test_a_damaged_file_is_made_anew(folder, tmp_path):
    task = Task.plan(Recording("p", "s", folder, FRAMES), AUS.numbers, 64, tmp_path)
    whole = [key for key, _ in task.rows()]
    assert whole == ["s-000010", "s-000011"]
    data = task.path.read_bytes()
    task.path.write_bytes(data[:400] + bytes(300) + data[700:])
    with pytest.raises(DatasetError, match="damaged"):
        list(task.rows())
    assert [key for key, _ in task.rows()] == whole


def fake(recordings: list[Recording]) -> type[FaceSet]:
    """Makes a builder of recordings that need no labels."""

    class Faces(FaceSet, skip_registration=True):
        LAYOUT = SimpleNamespace(
            TREE="pictures/",
            UNITS={"both": AUS.numbers},
            recordings=lambda *_: recordings,
        )
        LICENCE = "none"
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = [FaceSetConfig(name="both", description="Two.", crop_size=64)]

    return Faces


def prepare(recordings: list[Recording], folder: Path, data_dir: Path) -> Path:
    builder = fake(recordings)(data_dir=str(data_dir))
    config = tfds.download.DownloadConfig(manual_dir=str(folder))
    builder.download_and_prepare(download_config=config)
    return Path(builder.data_dir)


def test_a_set_with_splits_of_its_own(folder, tmp_path, read_rows, read_left_out):
    recordings = [
        Recording("p", "s1", folder, FRAMES[:1] + FRAMES[3:], split="train"),
        Recording("q", "s2", folder, FRAMES[1:2], split="test", group="male"),
    ]
    prepared = prepare(recordings, folder, tmp_path / "tfds")
    splits = tfds.builder_from_directory(str(prepared)).info.splits
    assert {name: split.num_examples for name, split in splits.items()} == {"train": 1, "test": 1}
    assert [row["group"] for row in read_rows(prepared)] == [b"", b"male"]
    assert sorted(read_left_out(prepared)) == [
        ("s1", "13", "no face found"),
        ("s1", "14", "no picture"),
        ("s1", "15", "not coded"),
        ("s2", "2.jpg", "not coded"),
        ("s2", "6.png", "not coded"),
    ]
    assert not (prepared.parent / "recordings").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "test", "sequence": "other"}, "p is in two splits, everyone and test"),
        ({"subject": "q"}, "two recordings s"),
        ({"subject": "q", "sequence": "t", "frames": FRAMES[:1] * 2}, "has frame 10 twice"),
        (
            {"sequence": "t", "frames": (coded(1, "0.png"), coded(2, "0.png"))},
            r"has picture 0\.png twice",
        ),
        ({"sequence": "t", "media": Path("nowhere")}, "nowhere is missing"),
    ],
)
def test_recordings_that_contradict_each_other_are_refused(folder, tmp_path, changes, message):
    first = Recording("p", "s", folder, FRAMES)
    with pytest.raises(DatasetError, match=message):
        prepare([first, dataclasses.replace(first, **changes)], folder, tmp_path / "tfds")
    assert not list(tmp_path.glob("tfds/**/1.0.0"))


def test_a_set_without_a_face_is_refused(folder, tmp_path):
    with pytest.raises(DatasetError, match="There is no recording"):
        prepare([], folder, tmp_path / "tfds")
    with pytest.raises(DatasetError, match=r"can be used: 1 unreadable picture, 1 no face found\."):
        prepare([Recording("p", "s", folder, FRAMES[2:4])], folder, tmp_path / "tfds")
    assert not list(tmp_path.glob("tfds/**/1.0.0"))


def test_beam_makes_the_same_examples(tmp_path, read_rows, read_left_out):
    pytest.importorskip("apache_beam")
    source = tmp_path / "disfa"
    dummy_data.write(source)
    pool, beam = (
        tfds_builders.prepare("disfa", str(tmp_path / name), str(source), beam=runner)
        for name, runner in (("pool", None), ("beam", "DirectRunner"))
    )
    for ours, theirs in zip(read_rows(pool), read_rows(beam), strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            np.testing.assert_array_equal(value, theirs[name])
    assert sorted(read_left_out(pool)) == sorted(read_left_out(beam))
    assert not (beam.parent / "recordings").exists()


def test_beam_that_is_not_installed_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(MissingExtra, match=r"apache_beam .*tfau\[beam\]"):
        tfds_builders.prepare("disfa", str(tmp_path), str(tmp_path), beam="DirectRunner")


def living(group: int) -> list[int]:
    """Lists the processes of a group that are more than an entry in a table."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def test_a_stopped_preparation_goes_on_where_it_was(tmp_path, read_rows):
    """Ctrl-C after the first recording, the worst after the second."""
    source = tmp_path / "disfa"
    for place, subject in enumerate(("SN001", "SN002", "SN003")):
        dummy_faces.write_video(
            source / "Videos_LeftCamera" / f"LeftVideo{subject}_comp.avi", place, 50
        )
        (source / "ActionUnit_Labels" / subject).mkdir(parents=True)
        for unit in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26):
            path = source / "ActionUnit_Labels" / subject / f"{subject}_au{unit}.txt"
            path.write_text("".join(f"{n},0\n" for n in range(1, 51)))
    sets = tmp_path / "tfds" / "disfa" / "intensity"
    command = [sys.executable, "-m", "tfds_builders", "disfa", "--manual-dir", str(source)]
    command += ["--data-dir", str(tmp_path / "tfds"), "--processes", "1"]

    def finished() -> dict[str, int]:
        paths = sets.glob("recordings/[!.]*.npz")
        return {path.name: path.stat().st_mtime_ns for path in paths}

    kept: dict[str, int] = {}
    for count, how, status in ((1, signal.SIGINT, 130), (2, signal.SIGKILL, -signal.SIGKILL)):
        with subprocess.Popen(
            command, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True
        ) as process:
            deadline = time.monotonic() + 120
            while len(finished()) < count:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            # A terminal sends Ctrl-C to all processes; the worst may hit the first alone.
            (os.killpg if how is signal.SIGINT else os.kill)(process.pid, how)
            error = process.communicate()[1]
        assert process.returncode == status
        while living(process.pid):  # its workers notice
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if how is signal.SIGINT:
            assert error.strip() == "tfau: stopped"
            assert not list(sets.glob("incomplete*"))
        assert not (sets / "1.0.0").exists()
        assert kept.items() <= finished().items()
        kept = finished()
    assert len(kept) == 2

    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "2 of 3 recordings were done before." in done.stderr
    assert "50 frames in" in done.stderr
    assert "150 examples; left out: 24 no such subject" in done.stdout
    assert [path.name for path in sets.iterdir() if path.is_dir()] == ["1.0.0"]
    assert len(read_rows(sets / "1.0.0")) == 150


def test_what_ends_a_worker_ends_the_work(tmp_path, folder, capfd):
    task = Task(Recording("p", "s", folder, FRAMES), AUS.numbers, 65, tmp_path / "a.npz")
    options = {"processes": 2, "total": 2, "noun": "frames"}
    with pytest.raises(ValueError, match="`crop_size` must be a multiple of 32"):
        workers.run(Task.do, [task, task], **options)
    with pytest.raises(DatasetError, match=r"A worker process died \(exit status 1\)"):
        workers.run(divmod, [1, 2], **options)  # a mistake of ours
    assert "TypeError" in capfd.readouterr().err


def test_a_terminal_shows_speed_and_time_left(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with workers._shown(10, "frames") as advance:
        advance(4)
        time.sleep(0.2)
    shown = capsys.readouterr().err
    assert "4/10" in shown
    assert "frames/s" in shown


def test_one_process_at_a_time_prepares_a_set(tmp_path, capsys):
    entered = []

    def enter() -> None:
        with tfds_builders._alone(tmp_path):
            entered.append(True)

    other = threading.Thread(target=enter)
    with tfds_builders._alone(tmp_path):
        other.start()
        other.join(0.2)
        assert not entered
        assert "Waiting for another process" in capsys.readouterr().err
    other.join(10)
    assert entered


def test_workers_do_without_tensorflow():
    code = "import sys, tfds_builders.preparation; print('tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
