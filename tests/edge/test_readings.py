"""What is said of a face beside its units: pose, gaze, quality, reasons; and filters."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge import geometry, quality
from edge.analyzer import FaceAnalyzer
from edge.face_mesh import BLENDSHAPES, FaceMesh
from edge.filters import ReadingFilter
from tfau.core import AUReading, AUSet, FaceFrame

AUS = AUSet([12, 25])


def turned(rotation, distance_mm=600.0, size=(640, 480)):
    """The head of `geometry`, seen through its own camera under angles in degrees."""
    mesh = np.zeros((478, 3))
    mesh[geometry._VERTICES] = geometry._MODEL * 90
    matrix, _ = cv2.Rodrigues(np.array([0.0, 0.0, 0.0]))
    for axis, angle in enumerate(rotation):
        vector = np.zeros(3)
        vector[axis] = np.radians(angle)
        matrix = matrix @ cv2.Rodrigues(vector)[0]
    seen = mesh @ matrix.T + [0, 0, distance_mm]
    scale = size[0] / seen[:, 2:]
    middle = (np.array(size) - 1) / 2
    points = np.column_stack([seen[:, :2] * scale + middle, seen[:, 2] - distance_mm])
    return FaceFrame(points.astype(np.float32), size)


@pytest.mark.parametrize(
    "rotation", [(0, 0, 0), (20, 0, 0), (0, -30, 0), (0, 0, 40), (10, 25, -15)]
)
def test_pose_of_a_head_that_is_known(rotation):
    shape = geometry.measure(turned(rotation))
    assert np.degrees(shape.rotation) == pytest.approx(rotation, abs=0.1)
    assert shape.translation == pytest.approx([0, 0, 600], abs=2)
    assert shape.yaw_deg == pytest.approx(-rotation[1], abs=0.1)


def test_the_astronaut_looks_ahead_with_open_eyes(astronaut, mesh):
    (face,) = mesh.detect(astronaut)
    shape = geometry.measure(face)
    assert np.abs(np.degrees(shape.rotation)).max() < 20
    assert np.allclose(np.linalg.norm(shape.gaze, axis=1), 1)
    assert shape.gaze[:, 2].max() < -0.9
    assert np.all(geometry.closure(shape.eye_aspect) == 0)
    assert geometry.closure(np.array([0.10, 0.17])) == pytest.approx([5, 2.5])


def test_a_mirrored_face_is_turned_the_other_way(astronaut, mesh):
    (one,), (other,) = (
        map(geometry.measure, mesh.detect(np.ascontiguousarray(image)))
        for image in (astronaut, astronaut[:, ::-1])
    )
    assert other.yaw_deg == pytest.approx(-one.yaw_deg, abs=3)
    assert other.gaze_angles[0] == pytest.approx(-one.gaze_angles[0], abs=0.12)


def test_without_irises_there_is_no_gaze(astronaut):
    with FaceMesh(fast=True) as fast:
        (face,) = fast.detect(astronaut)
    assert face.mesh.shape == (468, 3)
    assert np.isnan(geometry.measure(face).gaze_angles).all()


def test_the_fast_mesh_lies_where_the_other_does(astronaut, mesh):
    (face,) = mesh.detect(astronaut)
    with FaceMesh(fast=True) as fast:
        (quick,) = fast.detect(astronaut)
    off = np.linalg.norm(face.mesh[:468, :2] - quick.mesh[:, :2], axis=1).mean()
    assert off < 0.05 * np.linalg.norm(face.mesh[33] - face.mesh[263])


def test_blendshapes_see_the_smile(astronaut):
    with FaceMesh(blendshapes=True) as mesh:
        (face,) = mesh.detect(astronaut)
    assert face.blendshapes.shape == (len(BLENDSHAPES),) == (52,)
    shapes = dict(zip(BLENDSHAPES, face.blendshapes, strict=True))
    assert min(shapes["mouthSmileLeft"], shapes["mouthSmileRight"]) > 0.5
    assert shapes["eyeBlinkLeft"] < 0.3
    with pytest.raises(ValueError, match="needs the irises"):
        FaceMesh(fast=True, blendshapes=True)


def reasons(model, image, **options):
    with FaceMesh(**options) as mesh:
        readings = FaceAnalyzer(model, mesh).analyze(np.ascontiguousarray(image))
    assert len(readings) == 1
    return readings[0]


def test_reasons(model, astronaut):
    good = reasons(model, astronaut)
    assert (good.reason, good.quality, good.success) == ("", 1.0, True)
    blurred = reasons(model, cv2.GaussianBlur(astronaut, (0, 0), 5))
    assert "blurred" in blurred.reason.split()
    assert blurred.quality < 1
    assert "under_exposed" in reasons(model, astronaut // 8).reason
    bright = np.clip(astronaut.astype(int) + 150, 0, 255).astype(np.uint8)
    assert "over_exposed" in reasons(model, bright).reason
    small = cv2.resize(astronaut, (140, 140), interpolation=cv2.INTER_AREA)
    assert "small_face" in reasons(model, small).reason
    for reading in (good, reasons(model, small)):
        assert set(reading.reason.split()) <= set(quality.REASONS)


def test_what_the_frame_cuts_off_is_not_known(model, astronaut):
    reading = reasons(model, astronaut[:, :240])  # her left mouth corner is missing
    assert "at_border" in reading.reason.split()
    names = list(reading.aus.point_names)
    assert np.isnan(reading.points[names.index("AU12_left")]).all()
    assert reading.points[names.index("AU12_right"), 2] >= 0
    assert reading.intensities[0] == reading.points[names.index("AU12_right"), 2]


@pytest.mark.parametrize(("yaw", "hidden"), [(0, ""), (45, "left"), (-45, "right"), (70, "all")])
def test_hidden_sides_are_not_known(yaw, hidden):
    face = turned((0, -yaw, 0), distance_mm=900)
    shape = geometry.measure(face)
    points, cut = quality.hidden_points(face, shape, AUS)
    names = [name for name, is_hidden in zip(AUS.point_names, points, strict=True) if is_hidden]
    expected = list(AUS.point_names) if hidden == "all" else [f"AU12_{hidden}"] if hidden else []
    assert names == expected
    assert not cut


def test_many_faces_read_as_each_alone(model, astronaut):
    """Batch = single, whatever the order."""
    picture = np.hstack([astronaut[:256, 96:352], astronaut[:256, 96:352][:, ::-1]])
    with FaceMesh(max_faces=2) as mesh:
        faces = mesh.detect(picture)
        analyzer = FaceAnalyzer(model, mesh)
        both, turned_round = analyzer.read(picture, faces), analyzer.read(picture, faces[::-1])
        alone = [analyzer.read(picture, [face])[0] for face in faces]
    assert len(both) == 2
    for one, two, three in zip(both, turned_round[::-1], alone, strict=True):
        assert np.array_equal(one.points, two.points)
        assert np.array_equal(one.points, three.points)
        assert one.reason == two.reason == three.reason


# filters


def reading(level, track_id=0):
    face = FaceFrame(np.zeros((478, 3), "f4"), (64, 48), 0.0, track_id)
    points = np.column_stack([np.zeros((4, 2)), np.full(4, level)]).astype("f4")
    return AUReading(AUS, np.full(2, level, "f4"), np.zeros(2, "f4"), points, face)


def levels(filters, signal, step_ms=100.0, track_id=0):
    return [
        filters([reading(level, track_id)], index * step_ms)[0]
        for index, level in enumerate(signal)
    ]


def test_no_filter_changes_nothing():
    one = reading(2.0)
    assert ReadingFilter()([one], 0.0) == [one]


def test_a_photo_is_the_neutral():
    found = levels(ReadingFilter(reading(1.5)), [1.0, 1.5, 4.0])
    assert [r.intensities[0] for r in found] == [0, 0, 2.5]


def test_the_first_seconds_are_the_neutral():
    found = levels(ReadingFilter(1.0), [1.0] * 11 + [4.0])
    assert found[-1].intensities == pytest.approx([3, 3])
    assert [r.reason for r in found] == ["calibrating"] * 10 + ["", ""]


def test_people_have_their_own_neutral():
    filters = ReadingFilter("running")
    for time in range(0, 20_000, 100):
        one, two = filters([reading(1.0, 0), reading(3.0, 1)], float(time))
    assert one.intensities[0] == two.intensities[0] == pytest.approx(0, abs=0.05)
    one, two = filters([reading(4.0, 0), reading(4.0, 1)], 20_000.0)
    assert one.intensities[0] == pytest.approx(3, abs=0.1)
    assert two.intensities[0] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("neutral", ["later", 0.0, -1.0, float("inf"), float("nan")])
def test_senseless_neutrals_are_refused(neutral):
    with pytest.raises(ValueError, match="`neutral` must be"):
        ReadingFilter(neutral)


def test_filters_go_on_from_their_state():
    signal = np.abs(np.sin(np.arange(60) / 7)) * 4
    for neutral in ("running", 2.0, None):
        unbroken = levels(ReadingFilter(neutral, smooth=True), signal)
        first, second = (ReadingFilter(neutral, smooth=True) for _ in range(2))
        for index, level in enumerate(signal):
            filters = first if index < 25 else second
            if index == 25:
                second.restore(json.loads(json.dumps(first.state())))
            (found,) = filters([reading(level)], index * 100.0)
            assert np.array_equal(found.points, unbroken[index].points)
            assert found.reason == unbroken[index].reason


def test_a_reading_without_an_answer_stays_without():
    hidden = replace(reading(1.0), points=np.full((4, 3), np.nan, "f4"))
    (found,) = ReadingFilter("running", smooth=True)([hidden], 0.0)
    assert np.isnan(found.intensities).all()
