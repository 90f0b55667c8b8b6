"""The weights that come with tfau, and what a pair network asks of the edge."""

import csv
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.analyzer import FaceAnalyzer
from edge.annotators import HeatmapAnnotator
from edge.arguments import FREE_MODEL
from edge.face_mesh import FaceMesh
from edge.filters import ReadingFilter
from edge.runtime import AUModel
from edge.video import main
from tfau.core.faces import MESH_MIRROR

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def free():
    return AUModel(FREE_MODEL)


@pytest.fixture(scope="module")
def analyzer(free):
    with FaceMesh(max_faces=4) as mesh:
        yield FaceAnalyzer(free, mesh)


@pytest.fixture(scope="module")
def reading(analyzer):
    import skimage.data

    (reading,) = analyzer.analyze(skimage.data.astronaut())
    return reading


def test_the_file_is_small_whole_and_says_who_may_use_it(free):
    assert FREE_MODEL.stat().st_size < 2_000_000
    assert free.self_test() <= free.bundle.golden.tolerance
    assert free.bundle.measured["passed"] is True
    assert "CC0" in free.bundle.provenance["licence"]


def test_the_manifest_names_every_file_that_ships():
    manifest = (ROOT / "MODELS.md").read_text()
    for path in sorted(FREE_MODEL.parent.glob("tfau_*.tflite")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert re.search(rf"{re.escape(path.name)}.*{digest}", manifest), path.name


def test_the_astronaut_smiles_with_parted_lips_and_open_eyes(reading):
    level = dict(zip(reading.aus.numbers, reading.intensities, strict=True))
    assert level[12] > 2
    assert level[25] > 1
    assert level[45] < 1
    assert level[15] < 0.7


def test_a_mirrored_face_has_mirrored_answers(analyzer, astronaut, reading):
    (other,) = analyzer.analyze(np.ascontiguousarray(astronaut[:, ::-1]))
    points = len(analyzer.model.bundle.aus.point_names)
    mirrored = other.points[:points, 2][analyzer.model.bundle.aus.flip_index]
    assert np.nanmean(np.abs(mirrored - reading.points[:points, 2])) < 0.15


def test_a_mirrored_crop_swaps_sides_and_changes_nothing_else(free):
    golden, flip = free.bundle.golden, free.bundle.aus.flip_index
    turned = golden.mesh[MESH_MIRROR] * np.array((-1, 1, 1), np.float32)
    one = free(golden.image[None], golden.mesh[None])
    other = free(np.ascontiguousarray(golden.image[None, :, ::-1]), turned[None])
    for name in ("intensity", "error"):
        np.testing.assert_allclose(other[name][:, flip], one[name], atol=1e-6)


def test_errors_come_from_the_network_and_are_nan_where_nothing_is_read(analyzer, reading):
    own = len(analyzer.model.bundle.aus)
    assert (reading.uncertainties[:own] > 0).all()
    assert np.isnan(reading.uncertainties[own:]).all()


def test_faces_in_a_frame_do_not_disturb_each_other(analyzer, astronaut):
    both = np.zeros((512, 1024, 3), np.uint8)
    both[:, :512], both[:, 512:] = astronaut, astronaut[::-1][::-1]
    faces = analyzer.mesh.detect(both)
    together = analyzer.read(both, faces)
    alone = [analyzer.read(both, [face])[0] for face in faces]
    assert len(together) == 2
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.intensities, other.intensities)
        np.testing.assert_array_equal(one.features, other.features)


def test_knowing_a_person_changes_the_answers_and_not_the_features(analyzer, astronaut, reading):
    faces = analyzer.mesh.detect(astronaut)
    (calibrated,) = analyzer.read(astronaut, faces, [reading.features])
    np.testing.assert_array_equal(calibrated.features, reading.features)
    own = len(analyzer.model.bundle.aus)
    assert calibrated.intensities[:own].sum() < 0.9 * reading.intensities[:own].sum()


def test_a_photo_at_rest_goes_into_the_network_and_is_not_taken_off(reading):
    filters = ReadingFilter(reading)
    (known,) = filters.neutrals([reading.face])
    np.testing.assert_array_equal(known, reading.features)
    (same,) = filters([reading], 0.0)
    np.testing.assert_array_equal(same.intensities, reading.intensities)


def test_the_first_seconds_are_averaged_as_features_and_survive_a_restart(reading):
    filters = ReadingFilter(1.0)
    assert filters.neutrals([reading.face]) == [None]
    other = replace(reading, features=reading.features + 1)
    for moment, one in ((0, reading), (500, other), (1500, reading)):
        (said,) = filters([one], float(moment))
        assert ("calibrating" in said.reason) == (moment < 1000)
        np.testing.assert_array_equal(said.intensities, one.intensities)
    (mean,) = filters.neutrals([reading.face])
    np.testing.assert_allclose(mean, reading.features + 0.5, rtol=1e-6)
    again = ReadingFilter(1.0)
    again.restore(json.loads(json.dumps(filters.state())))
    np.testing.assert_array_equal(again.neutrals([reading.face])[0], mean)


def test_a_running_neutral_is_taken_off_intensities(reading):
    filters = ReadingFilter("running")
    for moment in range(0, 3000, 100):
        (said,) = filters([reading], float(moment))
    assert filters.neutrals([reading.face]) == [None]
    assert np.nansum(said.intensities) < 0.2 * np.nansum(reading.intensities)


def test_heat_is_drawn_where_the_units_are(astronaut, reading):
    drawn = HeatmapAnnotator().annotate(astronaut, [reading])
    changed = np.abs(drawn.astype(int) - astronaut).max(axis=2)
    strongest = np.nanargmax(reading.points[:, 2])
    x, y = np.round(reading.points[strongest, :2]).astype(int)
    assert changed[y, x] > 40
    assert changed[:50].max() == 0


def test_a_photo_is_read_out_of_the_box(tmp_path, photo, capsys):
    main([str(photo), "-o", str(tmp_path / "out")])
    with (tmp_path / "out" / "astronaut.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["AU12_r"]) > 2
    sidecar = json.loads((tmp_path / "out" / "astronaut.json").read_text())
    assert sidecar["model"]["decoder"]["kind"] == "pair"
    picture = cv2.imread(str(tmp_path / "out" / "astronaut.png"))
    assert picture is not None
    assert "a face in 1" in capsys.readouterr().out
