"""A video told as tables, plots, pictures and a page."""

import csv
import json
import os
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib")
av = pytest.importorskip("av")

from edge.analyze import main  # noqa: E402
from edge.findings import Findings, Questions, peaks, together  # noqa: E402
from edge.outlines import read_outlines  # noqa: E402
from edge.story import Story  # noqa: E402
from edge.tables import read_faces  # noqa: E402
from tfau.core.errors import SourceError  # noqa: E402
from tfau.core.expressions import NEUTRAL, SHOWN  # noqa: E402


def film(path, pictures, rate=25, *, sound=False):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=rate, options={"crf": "20"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        voice = file.add_stream("aac", rate=44100) if sound else None
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if voice:
            for at in range(0, 44100 * len(pictures) // rate, 1024):
                tone = np.sin(np.arange(at, at + 1024) / 16)[None].astype(np.float32)
                frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
                frame.rate, frame.pts = 44100, at
                file.mux(voice.encode(frame))
            file.mux(voice.encode())
    return path


@pytest.fixture(scope="module")
def astronaut_film(tmp_path_factory):
    """A second and a half: the astronaut moves, goes away, and comes back; with sound."""
    import skimage.data

    image = skimage.data.astronaut()[:240, 60:380]
    there = [np.roll(image, 4 * step, axis=1) for step in range(13)]
    away = [np.full_like(image, 80)] * 12
    return film(
        tmp_path_factory.mktemp("films") / "moves & goes.mp4", [*there, *away, *there], sound=True
    )


@pytest.fixture(scope="module")
def told(astronaut_film, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    main([str(astronaut_film), "-o", str(out)])
    return out / "moves & goes"


def rows_of(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_everything_is_there(told):
    names = {path.name for path in told.iterdir()}
    assert names >= {
        *("aus.csv", "aus.json", "expressions.csv", "events.csv", "summary.json", "report.html"),
        *("annotated.mp4", "plots"),
    }
    assert not [name for name in names if "part" in name or "outlines" in name]
    plots = {path.name for path in (told / "plots").iterdir()}
    assert plots == {
        f"{name}.{suffix}"
        for name in ("action_units", "expressions", "lately", "neutral", "sides", "together")
        for suffix in ("png", "svg")
    }
    assert ("aus.parquet" in names) == bool(find_spec("pyarrow"))


def test_tables_agree_with_each_other(told):
    summary = json.loads((told / "summary.json").read_text())
    assert summary["frames"] == 38
    assert summary["frames_with_a_face"] == 26
    assert summary["length_s"] == pytest.approx(38 / 25, abs=0.01)
    (face,) = summary["faces"]
    _, (table,) = read_faces(told / "aus.csv")
    assert len(table) == face["frames"] == 26
    column = table.levels[:, table.aus.index(12)]
    assert face["units"]["AU12"]["max"] == pytest.approx(column.max(), abs=1e-3)
    scores = rows_of(told / "expressions.csv")
    assert len(scores) == 26
    assert set(scores[0]) >= {*SHOWN, NEUTRAL, "top_1", "top_3", "lately"}
    for row in scores:
        best = max((*SHOWN, NEUTRAL), key=lambda name: float(row[name]))
        assert float(row[row["top_1"]]) == float(row[best])
    for row in rows_of(told / "events.csv"):
        assert float(row["onset"]) <= float(row["apex"]) <= float(row["offset"])
        # The face was away in between.
        assert not float(row["onset"]) < 0.75 < float(row["offset"])


def test_the_sidecar_says_how(told):
    sidecar = json.loads((told / "aus.json").read_text())
    assert sidecar["analysis"]["expressions"]["happy"]["code"] == {
        "AU06": 0.51,
        "AU12": 1.0,
        "AU25": 1.0,
    }
    assert sidecar["analysis"]["window_s"] == 10
    assert sidecar["model"]
    assert sidecar["tfau"]


def test_the_video_keeps_times_and_sound_and_shows_what_it_says(told, astronaut_film):
    with av.open(str(told / "annotated.mp4")) as file, av.open(str(astronaut_film)) as source:
        assert [s.type for s in file.streams] == ["video", "audio"]
        sound = [float(p.pts * p.time_base) for p in file.demux(file.streams.audio[0]) if p.pts]
        assert sound[-1] == pytest.approx(38 / 25, abs=0.1)
        file.seek(0)
        frames = list(file.decode(video=0))
        times = [frame.time for frame in source.decode(video=0)]
    assert [frame.time for frame in frames] == pytest.approx(times, abs=2e-3)
    pictures = [frame.to_ndarray(format="rgb24") for frame in frames]
    # 240 px are enlarged to 480, panels stand beside, the time line below.
    assert pictures[0].shape[0] > 500
    assert pictures[0].shape[1] > 900
    assert not np.array_equal(pictures[2], pictures[20])


def test_the_report_needs_no_network(told):
    page = (told / "report.html").read_text()
    assert "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", page)
    assert "moves &amp; goes.mp4" in page
    data = json.loads(re.search(r"id=data>(.*?)</script>", page)[1])
    assert data["faces"][0]["units"]
    assert len(data["faces"][0]["best"]) == len(data["faces"][0]["levels"][0])
    assert page.count("data:image/jpeg") == page.count("<button data-seek") > 3


def test_a_browser_opens_it_and_the_time_line_can_be_clicked(told):
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as library:
        browser = library.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        wrong, asked = [], []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((told / "report.html").as_uri())
        page.wait_for_function("document.querySelector('video').readyState > 0")
        line = page.locator("canvas")
        line.scroll_into_view_if_needed()
        box = line.bounding_box()
        # Names take 74 px on the left; a third of the way is .5 s.
        x = 74 + (box["width"] - 80) / 3
        page.mouse.click(box["x"] + x, box["y"] + 20)
        page.wait_for_function("document.querySelector('video').currentTime > 0.4")
        assert page.evaluate("document.querySelector('video').currentTime") == pytest.approx(
            38 / 25 / 3, abs=0.05
        )
        assert "s: " in page.locator("#said").text_content()
        line.press("ArrowRight")
        assert page.locator("#said").text_content() != "0.51 s"
        browser.close()
    assert wrong == []
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}


def _chromium():
    import shutil

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        pytest.skip("needs chromium")
    return path


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("size", [(640, 360), (360, 640), (3840, 2160), (16, 16)])
def test_any_size_and_number_of_faces(told, size, count):
    _, (table,) = read_faces(told / "aus.csv")
    import dataclasses

    found = [
        Findings.of(dataclasses.replace(table, face_id=number), Questions())
        for number in range(count)
    ]
    story = Story(size, found, 1.5, ("heat", "mesh"))
    image = np.full((size[1], size[0], 3), 120, np.uint8)
    picture = story.draw(image, 3, 0.1, [])
    assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0
    assert min(picture.shape[:2]) >= 480
    later = story.draw(image, 20, 1.2, []).copy()  # nobody is there
    assert later.shape == picture.shape
    again = story.draw(np.full((50, 70, 3), 120, np.uint8), 3, 0.1, [])  # of another size
    assert again.shape == picture.shape


def test_faces_of_two(told):
    import dataclasses

    _, (table,) = read_faces(told / "aus.csv")
    other = dataclasses.replace(table, face_id=1)
    found = [Findings.of(face, Questions()) for face in (table, other)]
    assert {moment[0] for moment in peaks(found)} == {0, 1}
    (pair,) = together(found)
    assert pair["faces"] == [0, 1]


def test_several_videos_and_going_on(tmp_path, astronaut_film, capsys, monkeypatch):
    import skimage.data

    nobody = film(tmp_path / "nobody.mp4", [np.full((64, 96, 3), 90, np.uint8)] * 2, rate=1)
    short = film(tmp_path / "short.mp4", [skimage.data.astronaut()[:240, 60:380]] * 2)
    out = tmp_path / "out"
    main([str(nobody), str(short), "-o", str(out), "--no-draw"])
    assert (out / "index.html").exists()
    rows = rows_of(out / "all.csv")
    assert [row["video"] for row in rows] == ["short.mp4"]
    assert not (out / "short" / "annotated.mp4").exists()
    assert "No face" in (out / "nobody" / "report.html").read_text()
    capsys.readouterr()
    with pytest.raises(ValueError, match="--force"):
        main([str(short), "-o", str(out)])
    before = (out / "short" / "summary.json").stat().st_mtime_ns
    (out / "nobody" / "summary.json").unlink()  # as if it had been stopped
    main([str(nobody), str(short), "-o", str(out), "--no-draw", "--resume"])
    assert "was there" in capsys.readouterr().out
    assert (out / "short" / "summary.json").stat().st_mtime_ns == before
    assert (out / "nobody" / "summary.json").exists()
    main([str(short), "-o", str(out), "--no-draw", "--force"])
    assert (out / "short" / "summary.json").stat().st_mtime_ns > before


def test_killed_while_reading_it_goes_on_and_says_the_same(tmp_path, astronaut_film, told):
    out = tmp_path / "out"
    words = [sys.executable, "-m", "edge.analyze", str(astronaut_film), "-o", str(out)]
    words += ["--no-draw"]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    for _ in range(300):
        if (out / "moves & goes" / "aus.part.csv").exists():
            break
        time.sleep(0.02)
    process.kill()
    process.wait()
    environment = {**os.environ, "PYTHONWARNINGS": "default"}
    subprocess.run([*words, "--resume"], check=True, env=environment, stdout=subprocess.DEVNULL)
    for name in ("aus.csv", "expressions.csv", "events.csv"):
        assert (out / "moves & goes" / name).read_text() == (told / name).read_text()


def test_stopped_while_drawing_it_need_not_read_again(tmp_path, astronaut_film, told, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("edge.story.Story.draw", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            main([str(astronaut_film), "-o", str(out)])
    folder = out / "moves & goes"
    assert not list(folder.glob("annotated*"))
    before = (folder / "aus.csv").stat().st_mtime_ns
    main([str(astronaut_film), "-o", str(out), "--resume"])
    assert (folder / "aus.csv").stat().st_mtime_ns == before
    assert (folder / "events.csv").read_text() == (told / "events.csv").read_text()
    assert (folder / "annotated.mp4").exists()


def test_photos_have_overlays_and_a_plot(tmp_path, photo):
    (photo.parent / "second.png").write_bytes(photo.read_bytes())
    main([str(photo.parent), "-o", str(tmp_path / "out")])
    folder = tmp_path / "out" / "input"
    sheet = cv2.imread(str(folder / "overlays" / "astronaut.png"))
    assert sheet.shape[1] > 700
    assert (folder / "across_photos.png").exists()
    assert (folder / "across_photos.svg").exists()
    assert len(rows_of(folder / "aus.csv")) == 2


def test_outlines_are_kept_as_they_were(tmp_path, astronaut, mesh):
    from edge.analyzer import FaceAnalyzer
    from edge.arguments import FREE_MODEL
    from edge.outlines import OutlineSink
    from edge.runtime import AUModel
    from edge.sources import Frame

    readings = FaceAnalyzer(AUModel(FREE_MODEL), mesh).analyze(astronaut)
    path = tmp_path / "x.outlines"
    with OutlineSink(path) as sink:
        for index, faces in enumerate(([], readings, readings * 2)):
            sink.append(Frame(index, 0.0, astronaut, ""), faces)
    kept = list(read_outlines(path))
    assert [len(faces) for faces in kept] == [0, 1, 2]
    np.testing.assert_array_equal(kept[1][0].points, readings[0].points)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--expressions", "hapy"], "no expression 'hapy'"),
        (["--top", "0"], "`--top`"),
        (["--overlay", "glitter"], "`--overlay`"),
        (["--neutral-threshold", "2"], "`--neutral-threshold`"),
        (["--force", "--resume"], "take one"),
        (["--window", "nan"], "`--window`"),
    ],
)
def test_bad_words_are_one_sentence(tmp_path, astronaut_film, words, sentence):
    with pytest.raises(ValueError, match=sentence):
        main([str(astronaut_film), "-o", str(tmp_path / "out"), *words])
    assert not (tmp_path / "out").exists()


def test_bad_files_are_one_sentence(tmp_path, astronaut_film):
    with pytest.raises(ValueError, match="no file"):
        main([str(tmp_path / "none.mp4"), "-o", str(tmp_path / "out")])
    with pytest.raises(ValueError, match="Name a video"):
        main(["-o", str(tmp_path / "out")])
    with pytest.raises(ValueError, match="must be a folder"):
        main([str(astronaut_film), "-o", str(astronaut_film)])
    codes = tmp_path / "codes.toml"
    codes.write_text("[x]\ncode = {AU99 = 1.0}")
    with pytest.raises(ValueError, match="no AU 99"):
        main([str(astronaut_film), "-o", str(tmp_path / "out"), "--codes", str(codes)])
    assert not (tmp_path / "out").exists()


def test_a_damaged_video_takes_nothing_away(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(SourceError):
        main([str(tmp_path / "x.mp4"), "-o", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
    kept = tmp_path / "out" / "x" / "summary.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    with pytest.raises(SourceError):
        main([str(tmp_path / "x.mp4"), "-o", str(tmp_path / "out"), "--force"])
    assert kept.read_text() == "{}"


def test_where_its_pages_are():
    pages = Path(sys.modules["edge.report"].__file__).parent / "pages"
    assert {path.name for path in pages.iterdir()} >= {"report.css", "report.js"}
