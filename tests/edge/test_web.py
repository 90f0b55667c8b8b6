"""The page in a real browser: Python's numbers, nothing leaves it, and what goes wrong."""

import base64
import csv
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.analyzer import FaceAnalyzer
from edge.arguments import FREE_MODEL
from edge.face_mesh import FaceMesh
from edge.filters import ReadingFilter
from edge.runtime import AUModel
from edge.sinks import CsvSink
from edge.sources import Frame
from edge.tracks import Tracker, assign
from edge.warp import crop_face, steady
from edge.web import __main__ as web
from edge.web import site, vendor
from tfau.core import AUSet, FaceAligner
from tfau.core.expressions import FINE, SHOWN
from tfau.core.signals import OneEuro
from tfau.core.uncertainty import expected_error

playwright = pytest.importorskip("playwright.sync_api")

CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as a folder; what tests put in `given` is served too."""
    folder = tmp_path_factory.mktemp("web")
    site.write_site(folder / "site", site.site_files())
    (folder / "site" / "given").mkdir()
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with web.make_server("127.0.0.1", 0, folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.fixture(scope="module")
def library() -> Iterator[Any]:
    with playwright.sync_playwright() as library:
        yield library


def chromium(library: Any, *arguments: str) -> Any:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        pytest.skip("needs chromium")
    return library.chromium.launch(executable_path=path, args=["--no-sandbox", *arguments])


class Tab:
    """A page, everything that it asked for, and every error that it did not catch."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.wrong: list[str] = []
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.goto(address)
        self.until("document.documentElement.dataset.state")

    def until(self, expression: str, seconds: float = 60.0) -> Any:
        """Waits until something is true; the page's own rules forbid playwright's way of it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                value = self.page.evaluate(expression)
            except playwright.Error as error:  # the page has just loaded itself anew
                if "context was destroyed" not in str(error):
                    raise
                value = None
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds} s: {expression}; says {self.status!r}")

    @property
    def status(self) -> str:
        return self.page.locator("#status").inner_text()

    def saved(self, button: str = "#record") -> tuple[str, list[dict[str, str]]]:
        """Clicks and returns the name and the rows of the table that is handed over."""
        with self.page.expect_download() as download:
            self.page.locator(button).click()
        text = Path(download.value.path()).read_text()
        return download.value.suggested_filename, list(csv.DictReader(text.splitlines()))


@pytest.fixture(scope="module")
def tab(library: Any, address: str) -> Iterator[Tab]:
    browser = chromium(library, *CAMERA)
    tab = Tab(browser, address)
    yield tab
    browser.close()
    assert tab.wrong == []
    assert {url.split("/")[2] for url in tab.asked if not url.startswith("blob:")} == {
        address.split("/")[2]
    }


def moving(astronaut: np.ndarray, count: int = 30) -> list[np.ndarray]:
    """A head that moves, turns, comes closer, gets darker and mirrored: (240, 320, 3) each."""
    frames = []
    for i in range(count):
        scale, angle = 1.0 + 0.35 * np.sin(i / 5), 25 * np.sin(i / 4)
        turn = cv2.getRotationMatrix2D((222.0, 120.0), angle, scale)
        turn[:, 2] += (160 - 222 + 40 * np.cos(i / 6), 125 - 120 + 10 * np.sin(i / 3))
        frame = cv2.warpAffine(astronaut, turn, (320, 240), borderMode=cv2.BORDER_REFLECT)
        frames.append(
            np.ascontiguousarray(
                (frame[:, :: -1 if i >= 20 else 1] * (1 - i / 60)).astype(np.uint8)
            )
        )
    return frames


def give(folder: Path, name: str, images: list[np.ndarray]) -> None:
    """Puts pictures of one size where the page can fetch them, RGBA."""
    rgba = [cv2.cvtColor(image, cv2.COLOR_RGB2RGBA) for image in images]
    (folder / "site" / "given" / name).write_bytes(np.stack(rgba).tobytes())


PICTURES = """
async function pictures(name, width, height) {
  const bytes = await (await fetch(`given/${name}`)).arrayBuffer();
  const size = width * height * 4;
  return Array.from({ length: bytes.byteLength / size }, (_, i) => (
    { data: new Uint8ClampedArray(bytes, i * size, size), width, height }));
}
const base64 = (bytes) => {
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) {
    text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  }
  return btoa(text);
};
"""


def test_thirty_frames_are_read_as_python_reads_them(tab, folder, astronaut, tmp_path):
    frames = moving(astronaut)
    give(folder, "frames", frames)
    answer = tab.page.evaluate(
        "async () => {"
        + PICTURES
        + """
        const [{ FaceMesh }, { Tracker }, { ReadingFilter }, table] = await Promise.all(
          ["face_mesh", "tracks", "signals", "table"].map((name) => import(`./${name}.js`)));
        const archive = await (await fetch("models/face_landmarker.task")).arrayBuffer();
        const mesh = await FaceMesh.load(new Uint8Array(archive), { maxFaces: 2 });
        const { analyzer, threshold } = tfau;
        const tracker = new Tracker();
        const filter = new ReadingFilter(analyzer.aus, { smooth: false });
        const rows = [table.header(analyzer.aus)];
        const meshes = [];
        for (const [i, image] of (await pictures("frames", 320, 240)).entries()) {
          const faces = tracker.update(await mesh.detect(image, i * 40), i * 40);
          const raw = await analyzer.read(image, faces, filter.neutrals(faces));
          const readings = filter.next(raw, i * 40);
          meshes.push(readings.map(({ face }) => face.mesh));
          for (const reading of readings.length ? readings : [null]) {
            rows.push(table.row(i + 1, i * 40, reading, analyzer.aus, threshold));
          }
        }
        return { rows, meshes };
        }"""
    )
    path = tmp_path / "python.csv"
    model, meshes = AUModel(FREE_MODEL), []
    with FaceMesh(follow=True, max_faces=2) as mesh:
        analyzer, tracker, filters = FaceAnalyzer(model, mesh), Tracker(), ReadingFilter()
        with CsvSink(path, analyzer.aus, model.bundle.threshold, sides=True) as sink:
            for i, image in enumerate(frames):
                faces = tracker.update(mesh.detect(image, i * 40.0), i * 40.0)
                readings = analyzer.read(image, faces, filters.neutrals(faces))
                meshes.append([reading.face.mesh for reading in readings])
                sink.append(Frame(i, i * 40.0, image, ""), filters(readings, i * 40.0))
    header, *rows = csv.reader(path.read_text().splitlines())
    assert answer["rows"][0] == header
    assert len(answer["rows"]) - 1 == len(rows) >= 30
    for theirs, ours in zip(answer["meshes"], meshes, strict=True):
        assert len(theirs) == len(ours) == 1
        assert np.abs(np.array(theirs[0]) - ours[0]).max() < 0.05  # px of a face 150 px wide
    given = answer["rows"][1:]
    compare_tables(header, given, rows)


def compare_tables(header: list[str], given: list[list[str]], expected: list[list[str]]) -> None:
    """Compares two tables of one header, each column by its own measure."""
    measures = {"pose_T": 1.0, "pose_R": 2e-3, "gaze": 5e-3, "AU": 0.02, "quality": 0.01}
    for name, theirs, ours in zip(header, zip(*given), zip(*expected)):  # noqa: B905
        if name.endswith("_c"):  # a level at the threshold may fall on either side
            levels = [float(row[header.index(f"{name[:-2]}_r")] or "nan") for row in expected]
            for a, b, level in zip(theirs, ours, levels, strict=True):
                assert a == b or abs(level - 1.0) < 0.02, name
        elif name == "reason":
            assert theirs == ours
        else:
            a, b = (np.array([float(cell or "nan") for cell in row]) for row in (theirs, ours))
            within = next((m for start, m in measures.items() if name.startswith(start)), 2e-3)
            np.testing.assert_allclose(a, b, atol=within, rtol=0, err_msg=name)


def test_a_photo_is_read_as_python_reads_it(tab, photo, tmp_path):
    from edge import video

    tab.page.locator("#file").set_input_files(photo)
    tab.until("tfau.source?.kind === 'photo' && tfau.frames === 1")
    assert tab.status == "One face."
    name, rows = tab.saved()
    assert name.endswith(".csv")
    video.main([str(photo), "-o", str(tmp_path / "out"), "--no-pictures", "--sides"])
    (header, *expected) = csv.reader((tmp_path / "out" / "astronaut.csv").read_text().splitlines())
    assert list(rows[0]) == header[:-1]  # Python adds the name of the file
    compare_tables(header[:-1], [list(row.values()) for row in rows], [e[:-1] for e in expected])


def test_models_answer_exactly_as_in_python(tab, folder, model_path):
    """The 8-bit one bit for bit, the one in floats to 1e-5."""
    rng = np.random.default_rng(7)
    for path, within in ((FREE_MODEL, 0.0), (model_path, 1e-5)):
        model = AUModel(path)
        size, pair = model.bundle.crop_size, bool(model.bundle.features)
        crops = rng.integers(0, 256, (6, size, size, 3), np.uint8)
        crops[1:4] = cv2.GaussianBlur(crops[1], (0, 0), 9)
        meshes = rng.normal(0, 0.4, (6, 468, 3)).astype(np.float32)
        neutrals = rng.normal(0, 1, (6, max(model.bundle.features, 1))).astype(np.float32)
        ours = model(crops, meshes, neutrals) if pair else model(crops)
        given = folder / "site" / "given"
        given.joinpath(f"{path.stem}.tflite").write_bytes(path.read_bytes())
        for name, array in (("crops", crops), ("meshes", meshes), ("neutrals", neutrals)):
            given.joinpath(f"{path.stem}.{name}").write_bytes(array.tobytes())
        answers = tab.page.evaluate(
            """async (stem) => {
            const { AUModel } = await import("./au_model.js");
            const bytes = async (end, Kind) =>
              new Kind(await (await fetch(`given/${stem}.${end}`)).arrayBuffer());
            const model = await AUModel.load(await bytes("tflite", Uint8Array));
            const inputs = [await bytes("crops", Uint8Array),
              await bytes("meshes", Float32Array), await bytes("neutrals", Float32Array)];
            const answers = [];
            for (let i = 0; i < 6; i++) {
              const answer = await model.run(
                ...inputs.map((all) => all.subarray(i * all.length / 6, (i + 1) * all.length / 6)));
              answers.push(Object.fromEntries(Object.entries(answer).map(([k, v]) => [k, [...v]])));
            }
            model.graph.free();
            return answers;
            }""",
            path.stem,
        )
        for name, expected in ours.items():
            theirs = np.array([answer[name] for answer in answers], np.float32)
            difference = np.abs(theirs.reshape(expected.shape) - expected).max()
            # What the network says of its errors is computed in floats.
            allowed = within if name != "error" else 1e-6
            assert difference <= allowed, f"{path}: {name} is {difference} off"


@pytest.mark.parametrize("size", [64, 128])
def test_crops_are_pythons(tab, folder, astronaut, size):
    give(folder, "one", [astronaut])
    rng = np.random.default_rng(size)
    matrices = []
    for _ in range(24):
        angle, scale = rng.uniform(-3, 3), size / rng.uniform(20, 900)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = rng.uniform(-40, 550, 2)
        matrices.append(np.column_stack([turn, size / 2 - turn @ centre]))
    answer = tab.page.evaluate(
        "async ([matrices, size]) => {"
        + PICTURES
        + """
        const { cropFace, steady } = await import("./align.js");
        const [image] = await pictures("one", 512, 512);
        return matrices.map((m) => [base64(cropFace(image, m, size)), steady(m, size)]);
        }""",
        [[matrix.ravel().tolist() for matrix in matrices], size],
    )
    different = 0
    for matrix, (crop, snapped) in zip(matrices, answer, strict=True):
        ours = crop_face(astronaut, matrix, size).astype(int)
        theirs = np.frombuffer(base64.b64decode(crop), np.uint8).reshape(ours.shape).astype(int)
        assert np.abs(ours - theirs).max() <= 1
        different += int((ours != theirs).sum())
        np.testing.assert_allclose(np.reshape(snapped, (2, 3)), steady(matrix, size), atol=1e-9)
    assert different / (24 * size * size * 3) < 0.002


def test_the_rest_is_pythons_too(tab):
    """Aligned meshes, maps, errors, smoothing, expressions and who is who."""
    rng = np.random.default_rng(3)
    model = AUModel(FREE_MODEL)
    mesh = rng.normal(0, 60, (468, 3)) + 200
    levels = rng.uniform(0, 5, (40, len(model.bundle.aus)))
    levels[rng.random(levels.shape) < 0.1] = np.nan
    from tfau.core.heatmaps import HeatmapCodec

    codec = HeatmapCodec(64)
    points = np.concatenate([rng.uniform(-2, 66, (12, 2)), rng.uniform(0, 5, (12, 1))], axis=1)
    maps = codec.encode(points).astype(np.float32) + rng.normal(0, 0.05, (16, 16, 12)).astype(
        np.float32
    )
    maps[..., 11] = -1.0
    table = rng.uniform(0, 1, (1, 6))
    costs = [rng.uniform(0, 9, rng.integers(1, 7, 2)) for _ in range(40)]
    times = np.cumsum(rng.uniform(0.01, 0.2, 40))
    hole = lambda values: [[None if np.isnan(v) else v for v in row] for row in values.tolist()]  # noqa: E731
    answer = tab.page.evaluate(
        """async ({ mesh, levels, maps, table, costs, times, numbers }) => {
        const [align, decode, { OneEuro }, { score }, { assign }, { AUSet }] = await Promise.all(
          ["align", "decode", "signals", "expressions", "tracks", "units"].map(
            (name) => import(`./${name}.js`)));
        const known = levels.map((row) => row.map((v) => v ?? NaN));
        const [aus, smooth] = [new AUSet(numbers), new OneEuro()];
        const shown = (rows) =>
          rows.map((row) => [...row].map((v) => (Number.isNaN(v) ? null : v)));
        return {
          aligned: [...align.alignedMesh(mesh)],
          decoded: shown(decode.decodeMaps(Float32Array.from(maps), 16, 12, 4, 2)),
          errors: known[0].map((level) => decode.expectedError(level, table)),
          smooth: shown(known.map((row, i) => smooth.next(row, times[i]))),
          scores: shown(known.map((row) => score(row, aus))),
          pairs: costs.map((cost) => assign(cost, cost[0].length)),
        };
        }""",
        {
            "mesh": mesh.tolist(),
            "levels": hole(levels),
            "maps": maps.ravel().tolist(),
            "table": table[0].tolist(),
            "costs": [cost.tolist() for cost in costs],
            "times": times.tolist(),
            "numbers": list(model.bundle.aus.numbers),
        },
    )
    array = lambda rows: np.array([[np.nan if v is None else v for v in row] for row in rows])  # noqa: E731
    aligned = FaceAligner.aligned_mesh(mesh)
    np.testing.assert_allclose(np.reshape(answer["aligned"], (468, 3)), aligned, atol=1e-5)
    np.testing.assert_allclose(array(answer["decoded"]), codec.decode(maps), atol=2e-4)
    errors = expected_error(levels[0], table)
    given = np.array([np.nan if v is None else v for v in answer["errors"]], float)
    np.testing.assert_allclose(given, errors, atol=1e-6)
    euro = OneEuro()
    smooth = [euro(row, t) for row, t in zip(levels, times, strict=True)]
    np.testing.assert_allclose(array(answer["smooth"]), smooth, atol=1e-9)
    scores = FINE.of(*SHOWN).score(levels, model.bundle.aus)
    np.testing.assert_allclose(array(answer["scores"]), scores, atol=1e-9)
    for cost, pairs in zip(costs, answer["pairs"], strict=True):
        assert sorted(map(tuple, pairs)) == assign(cost)


def test_a_camera_is_read_recorded_and_lost(tab):
    tab.page.locator("#camera").click()
    tab.until("tfau.frames > 3")
    assert tab.status == "No face is in the picture."  # the browser's own test picture
    assert tab.page.locator("#neutral").is_enabled()
    tab.page.locator("#neutral").click()
    assert tab.status == "A face must be in the picture for that."
    tab.page.locator("#record").click()
    tab.until("tfau.rows?.length > 3")
    assert "Recording" in tab.status
    _, rows = tab.saved()
    assert len(rows) > 3
    assert {row["reason"] for row in rows} == {"no_face"}
    times = [float(row["timestamp"]) for row in rows]
    assert times == sorted(times)
    tab.page.locator("#record").click()
    tab.until("tfau.rows?.length > 1")
    with tab.page.expect_download():  # what was recorded is not lost with the camera
        tab.page.evaluate(
            "tfau.source.video.srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))"
        )
    tab.until("!tfau.source")
    assert tab.page.locator("#camera").inner_text() == "Start camera"


def test_several_faces_and_a_neutral_face(tab, folder, astronaut):
    """Two heads side by side, as a camera sees them: each is told, and each is calibrated."""
    give(folder, "two", [np.hstack([astronaut[:320, 60:380], astronaut[:320, 380:60:-1]])])
    answer = tab.page.evaluate(
        "async () => {"
        + PICTURES
        + """
        const [{ ReadingFilter }, { Tracker }] = await Promise.all(
          ["signals", "tracks"].map((n) => import(`./${n}.js`)));
        const [image] = await pictures("two", 640, 320);
        const { mesh, analyzer } = tfau;
        Object.assign(mesh, { maxFaces: 3, follow: true });
        mesh.reset();
        const tracker = new Tracker();
        const filter = new ReadingFilter(analyzer.aus, { smooth: false });
        const twelve = analyzer.aus.numbers.indexOf(12);
        const seen = [];
        for (let i = 0; i < 3; i++) {
          const faces = tracker.update(await mesh.detect(image, i * 40), i * 40);
          const raw = await analyzer.read(image, faces, filter.neutrals(faces));
          const readings = filter.next(raw, i * 40);
          if (i === 0) filter.calibrate(readings);
          seen.push(readings.map((r) => [r.face.track, r.levels[twelve]]));
        }
        return seen;
        }"""
    )
    before, *after = ({int(track): level for track, level in faces} for faces in answer)
    assert sorted(before) == [0, 1]
    for faces in after:
        assert sorted(faces) == [0, 1]
        assert all(faces[track] < before[track] - 1 for track in faces)  # smiles count for less


def test_what_is_no_picture_is_said_in_a_sentence(tab, tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_bytes(b"not a video at all")
    tab.page.locator("#file").set_input_files(path)
    tab.until("document.getElementById('status').textContent.startsWith('notes.mp4')")
    assert tab.status == "notes.mp4 is no picture or video that this browser can read."


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((CAMERA[0], "--deny-permission-prompts"), "The camera is blocked."),
        ((CAMERA[1],), "There is no camera here."),
    ],
)
def test_without_a_camera_the_page_says_what_to_do(library, address, arguments, sentence):
    browser = chromium(library, *arguments)
    tab = Tab(browser, address)
    tab.page.locator("#camera").click()
    tab.until("document.getElementById('status').classList.contains('problem')")
    assert tab.status.startswith(sentence)
    assert "choose a photo or a video" in tab.status.lower()
    browser.close()
    assert tab.wrong == []


def test_it_opens_without_a_network_the_second_time(library, address):
    browser = chromium(library)
    tab = Tab(browser, address)
    tab.until("!!navigator.serviceWorker.controller")
    tab.context.set_offline(True)
    tab.page.reload()
    tab.until("document.documentElement.dataset.state === 'ready'")
    assert tab.page.evaluate("crossOriginIsolated")
    browser.close()


def test_another_version_takes_the_place_of_the_one_that_was_kept(library, tmp_path):
    files = site.site_files()
    site.write_site(tmp_path / "site", files)
    with web.make_server("127.0.0.1", 0, tmp_path) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = chromium(library)
        tab = Tab(browser, f"http://127.0.0.1:{server.server_address[1]}/")
        tab.until("!!navigator.serviceWorker.controller")
        files["strings.js"] = files["strings.js"].replace(b'"Neutral face"', b'"At rest"')
        files["files.js"] = files["files.js"].replace(b'VERSION = "', b'VERSION = "2')
        site.write_site(tmp_path / "site", files)
        tab.page.reload()
        tab.until("document.getElementById('neutral').textContent === 'At rest'")
        tab.until("document.documentElement.dataset.state === 'ready'")
        assert len(tab.page.evaluate("caches.keys()")) == 1
        browser.close()
        server.shutdown()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(library, address, photo, scheme):
    browser = chromium(library)
    tab = Tab(
        browser,
        address,
        viewport={"width": 360, "height": 740},
        device_scale_factor=2.0,
        has_touch=True,
        is_mobile=True,
        color_scheme=scheme,
    )
    tab.page.locator("#file").set_input_files(photo)
    tab.until("tfau.frames === 1")
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 360
    buttons = tab.page.locator("button:visible, summary, select, label")
    for i in range(buttons.count()):
        box = buttons.nth(i).bounding_box()
        assert box["height"] >= 24
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    # Text against what it stands on: WCAG's 4.5 to 1.
    for place in ("#status", "#bars .value", ".note", "#camera", "#choose"):
        assert contrast(tab, place) >= 4.5, place
    browser.close()


def contrast(tab: Tab, place: str) -> float:
    colors = tab.page.evaluate(
        """(place) => {
        const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
        let box = document.querySelector(place);
        const text = rgb(getComputedStyle(box).color);
        let back = rgb(getComputedStyle(box).backgroundColor);
        while (back[3] === 0) {
          box = box.parentElement;
          back = rgb(getComputedStyle(box).backgroundColor);
        }
        return [text, back];
        }""",
        place,
    )
    light, dark = sorted((luminance(color[:3]) for color in colors), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: list[float]) -> float:
    shares = [c / 255 for c in color]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_keys_and_screen_readers_reach_everything(tab):
    assert (
        tab.page.evaluate(
            """() => [...document.querySelectorAll("button, select, input, canvas, [role=meter]")]
          .filter((e) => !e.hidden && !(e.textContent.trim() || e.ariaLabel
            || e.labels?.[0]?.textContent.trim())).map((e) => e.outerHTML)"""
        )
        == []
    )
    tab.page.locator("body").click(position={"x": 1, "y": 1})
    reached = []
    for _ in range(8):
        tab.page.keyboard.press("Tab")
        reached.append(tab.page.evaluate("document.activeElement.id"))
    assert reached[:2] == ["camera", "choose"]
    assert {"faces", "show_mesh", "show_heat", "smooth"} <= set(reached)


def test_the_site_is_whole_or_not_there(tmp_path, monkeypatch):
    files = {"files.js": b"const FILES = [];", "a/b.js": b"1"}
    site.write_site(tmp_path / "site", files)
    site.write_site(tmp_path / "site", {**files, "c.js": b"2"})
    assert (tmp_path / "site" / "c.js").read_bytes() == b"2"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="must name a new folder"):
        site.write_site(tmp_path / "mine", files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "site"]


def test_only_the_pinned_runtime_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(vendor, "_fetch", lambda _: b"something else")
    with pytest.raises(ValueError, match="is not the one that tfau was tested with"):
        vendor.runtime_files(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(ImportError, match="npm is needed once"):
        vendor.runtime_files(tmp_path)


def test_the_server_hands_out_the_site_and_nothing_else(address, folder):
    from urllib.error import HTTPError
    from urllib.request import urlopen

    (folder / "secret.txt").write_text("not for you")
    with urlopen(address) as answer:  # noqa: S310
        for name, value in web.HEADERS.items():
            assert answer.headers[name] == value
    for path in ("given/", "../secret.txt", "%2e%2e/secret.txt", "..%2fsecret.txt", "nothing.js"):
        with pytest.raises(HTTPError, match="404"):
            urlopen(address + path)  # noqa: S310


def test_over_https_the_page_is_the_same(folder, address):
    import ssl
    from urllib.request import urlopen

    pytest.importorskip("cryptography")
    with web.make_server("127.0.0.1", 0, folder) as server:
        web.secure(server, folder)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        port = server.server_address[1]
        with urlopen(f"https://127.0.0.1:{port}/app.js", context=trusting) as answer:
            content = answer.read()
        server.shutdown()
    assert content == (site.PAGE / "app.js").read_bytes()
    assert not list(folder.glob("*.pem"))


def test_tables_are_pythons():
    tables = site.tables()
    aus = AUSet(tables["UNITS"])
    assert [p for unit in tables["UNITS"].values() for p in unit["points"]] == list(aus.point_names)
    assert json.loads(json.dumps(tables))["VERSION"]


def test_the_command_serves_until_ctrl_c(tmp_path):
    import signal
    import subprocess
    import sys
    from urllib.request import urlopen

    command = [sys.executable, "-m", "edge.web", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        address = server.stdout.readline().strip()
        assert server.stdout.readline() == "Ctrl-C ends it.\n"
        with urlopen(f"{address}models/model.tflite") as answer:  # noqa: S310
            assert answer.read() == FREE_MODEL.read_bytes()
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model", "nothing.tflite"], "There is no model file at nothing.tflite."),
        (["--model", __file__, "--export", "site"], "is not a TFLite model."),
        (["--port", "70000"], "`--port` must be 0 to 65535. Received: --port=70000"),
        (["--export", "."], "`--export` must name a new folder, or one it made. Received: ."),
    ],
)
def test_a_wrong_word_gets_one_sentence(words, sentence, tmp_path, monkeypatch, capsys):
    from tfau.core.errors import run_cli

    (tmp_path / "mine.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert run_cli(lambda _: web.main(words)) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert len(said.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_port_that_is_taken_is_named(address):
    port = int(address.rstrip("/").rpartition(":")[2])
    with pytest.raises(OSError, match="cannot be listened on"):
        web.make_server("127.0.0.1", port, Path())


def test_the_bench_films_and_weighs(tmp_path, photo):
    from tfau.bench import web_contender

    web_contender.write_film(str(photo), tmp_path / "film.y4m")
    film = (tmp_path / "film.y4m").read_bytes()
    head, frame = film.index(b"\n") + 1, 6 + 640 * 480 * 3 // 2
    assert film.startswith(b"YUV4MPEG2 W640 H480 F30:1")
    assert (len(film) - head) / frame == 100 + 98  # there and back
    raw, packed = web_contender.weigh(str(FREE_MODEL))
    assert FREE_MODEL.stat().st_size < packed < raw < 20e6


def test_a_gpu_must_pass_the_self_test_and_be_faster(library, address):
    """On an imitation of a GPU, which is right and slow."""
    imitation = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
    browser = chromium(library, *imitation, "--enable-features=Vulkan")
    tab = Tab(browser, f"{address}?nocache&accelerator=webgpu")
    if tab.page.evaluate("document.documentElement.dataset.state") == "failed":
        pytest.skip("this Chromium imitates no GPU")
    assert "the GPU (WebGPU)" in tab.page.locator("#card").text_content()
    assert tab.page.evaluate("tfau.analyzer.model.graph.model.isFullyAccelerated")
    tab.page.goto(f"{address}?nocache")
    tab.until("document.documentElement.dataset.state === 'ready'")
    assert "the processor" in tab.page.locator("#card").text_content()
    browser.close()
