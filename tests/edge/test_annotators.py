"""Annotators: they draw where they should, on a copy, at any size."""

import cv2
import numpy as np
import pytest

import edge.annotators
from edge.analyzer import FaceAnalyzer
from edge.annotators import (
    BarsAnnotator,
    FaceAnnotator,
    HeatmapAnnotator,
    MeshAnnotator,
    write_note,
)
from edge.face_mesh import FaceMesh
from tfau.core import ACTION_UNITS, AUReading, AUSet, FaceFrame

AUS = AUSet([12, 25])


def reading(points, intensities, mesh=None, track_id=0, uncertainties=(np.nan, np.nan)):
    if mesh is None:
        mesh = np.zeros((478, 3), "f4")
        mesh[33], mesh[263] = [20, 30, 0], [60, 30, 0]
    face = FaceFrame(mesh, (100, 80), 0.0, track_id, 1.0)
    values = (np.array(values, "f4") for values in (intensities, uncertainties, points))
    return AUReading(AUS, *values, face)


@pytest.fixture(scope="module")
def readings(model, mesh, astronaut):
    return FaceAnalyzer(model, mesh).analyze(astronaut)


@pytest.fixture(
    params=[MeshAnnotator(), HeatmapAnnotator(), BarsAnnotator(AUS), FaceAnnotator(AUS)]
)
def annotator(request):
    return request.param


def test_the_picture_itself_is_not_touched(annotator, astronaut, readings):
    before = astronaut.copy()
    after = annotator.annotate(astronaut, readings)
    assert after.dtype == np.uint8
    assert after.flags.writeable
    assert not np.shares_memory(after, astronaut)
    assert np.array_equal(astronaut, before)


def test_the_same_answer_is_drawn_the_same(annotator, astronaut, readings):
    first, second = (annotator.annotate(astronaut, readings) for _ in range(2))
    assert np.array_equal(first, second)


def test_without_a_face_the_picture_stays(astronaut):
    for annotator in (MeshAnnotator(), HeatmapAnnotator()):
        assert np.array_equal(annotator.annotate(astronaut, []), astronaut)
    for annotator in (BarsAnnotator(AUS), FaceAnnotator(AUS)):
        assert np.array_equal(annotator.annotate(astronaut, [])[:, :512], astronaut)


def test_the_mesh_stays_on_the_face(astronaut, readings):
    changed = MeshAnnotator().annotate(astronaut, readings) != astronaut
    rows, columns = np.nonzero(changed.any(axis=-1))
    low, high = readings[0].face.mesh[:, :2].min(axis=0), readings[0].face.mesh[:, :2].max(axis=0)
    assert np.abs([columns.min(), rows.min()] - low).max() < 4
    assert np.abs([columns.max(), rows.max()] - high).max() < 4


@pytest.mark.parametrize("scale", [1, 2.5])
def test_heat_lies_where_the_points_are(astronaut, readings, scale):
    """What the maps show and what was read from them are one place, enlarged or not."""
    size = round(512 * scale)
    dark = np.zeros((size, size, 3), np.uint8)
    answer = edge.annotators._scaled(readings[0], scale)
    heat = HeatmapAnnotator().annotate(dark, [answer]).astype(int).sum(axis=-1)
    strongest = answer.points[answer.points[:, 2].argmax()]
    seen = np.unravel_index(heat.argmax(), heat.shape)[::-1]
    side = np.ptp(answer.face.mesh[:, 0])
    np.testing.assert_allclose(seen, strongest[:2], atol=0.05 * side)
    assert heat[0, 0] == heat[-1, -1] == 0


def test_no_maps_no_heat(astronaut):
    answer = reading(np.zeros((4, 3)), [5, 5])
    assert np.array_equal(HeatmapAnnotator().annotate(astronaut, [answer]), astronaut)


def test_bars_grow_with_the_intensity(astronaut):
    def length(value):
        points = np.zeros((4, 3))
        panel = BarsAnnotator(AUS).annotate(astronaut, [reading(points, [value, np.nan])])[:, 512:]
        bar = np.all(panel == (64, 224, 208), axis=-1)
        return bar.any(axis=0).sum()

    assert length(5) > length(3) > length(1) > 0
    assert length(np.nan) == 0
    assert length(5) == pytest.approx(5 * length(1), abs=3)


@pytest.mark.parametrize(
    ("value", "error", "low", "high"), [(3, 1, 2, 4), (0.5, 1, 0, 1.5), (4.5, 2, 2.5, 5)]
)
def test_a_line_shows_how_far_the_truth_may_lie(astronaut, value, error, low, high):
    def panel(value, error):
        answer = reading(np.zeros((4, 3)), [value, np.nan], uncertainties=(error, error))
        return BarsAnnotator(AUS).annotate(astronaut, [answer])[:, 512:]

    def columns(where):
        found = np.flatnonzero(where.any(axis=0))
        return np.array([found[0], found[-1] + 1])

    left, right = columns(np.all(panel(5, np.nan) == (64, 224, 208), axis=-1))
    line = columns((panel(value, error) != panel(value, np.nan)).any(axis=-1))
    np.testing.assert_allclose(5 * (line - left) / (right - left), [low, high], atol=0.05)


def test_a_bar_below_the_threshold_is_dim(astronaut):
    def brightest(threshold):
        answer = reading(np.zeros((4, 3)), [2, 2])
        panel = BarsAnnotator(AUS, threshold).annotate(astronaut, [answer])[:, 512:]
        return np.all(panel == (64, 224, 208), axis=-1).any()

    assert brightest(1.0)
    assert not brightest(3.0)


def test_every_face_has_its_colour(astronaut):
    answers = [reading(np.zeros((4, 3)), [3, 3], track_id=index) for index in range(8)]
    panel = BarsAnnotator(AUS).annotate(astronaut, answers)[:, 512:]
    for color in ((64, 224, 208), (255, 176, 59), (186, 140, 255)):
        assert np.all(panel == color, axis=-1).any()


@pytest.mark.parametrize(
    ("height", "width"), [(48, 64), (720, 1280), (1280, 720), (2160, 3840), (1, 1), (20, 900)]
)
@pytest.mark.parametrize("aus", [AUSet([12]), AUSet(ACTION_UNITS)])
def test_any_size_and_any_set(height, width, aus):
    picture = FaceAnnotator(aus).annotate(np.full((height, width, 3), 40, np.uint8), [])
    scale = max(1, 400 / min(height, width))
    assert picture.shape[0] == round(height * scale)
    assert picture.shape[1] > round(width * scale)
    assert (picture[:, round(width * scale) :] > 200).any()  # there is something to read


def test_huge_frames_are_shrunk(model, astronaut):
    huge = cv2.resize(astronaut, (5120, 5120))
    picture = FaceAnnotator(AUS).annotate(huge, FaceAnalyzer(model, FaceMesh()).analyze(huge))
    assert picture.shape[0] == 4096


def test_small_frames_are_enlarged_with_what_is_drawn(model, mesh, astronaut):
    """The mesh drawn on the enlarged frame lies where the enlarged face is."""
    small = astronaut[20:180, 145:305]
    answers = FaceAnalyzer(model, mesh).analyze(small)
    assert len(answers) == 1
    large = FaceAnnotator(AUS).annotate(small, answers)
    plain = FaceAnnotator(AUS).annotate(small, [])
    rows, _ = np.nonzero((large != plain)[:, :400].any(axis=-1))
    top, bottom = answers[0].face.mesh[[10, 152], 1] * 2.5
    assert rows.min() == pytest.approx(top, abs=8)
    assert rows.max() == pytest.approx(bottom, abs=8)


def test_note_is_written_into_the_corner():
    image = np.zeros((480, 640, 3), np.uint8)
    write_note(image, "25 frames a second")
    rows, columns = np.nonzero(image.any(axis=-1))
    assert rows.min() > 400
    assert columns.max() < 400
