"""The page's numbers are Python's, in a real browser."""

import base64
import csv
from pathlib import Path

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
from tfau.core import FaceAligner
from tfau.core.expressions import FINE, SHOWN
from tfau.core.signals import OneEuro
from tfau.core.uncertainty import expected_error


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
