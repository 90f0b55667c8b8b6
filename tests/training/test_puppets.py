"""Photographs whose heads turn and whose faces move by a known amount."""

import dataclasses
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from edge.arguments import FREE_MODEL
from edge.face_mesh import FaceMesh
from edge.geometry import measure
from tfau.core.action_units import AUSet
from tfau.core.align import FaceAligner
from tfau.pairs import ALL_UNITS, exam
from tfau.pairs.lessons import Changes, Classes, Photos
from tfau.pairs.puppets import PITCH_DEG, YAW_DEG, Puppeteer

AUS = AUSet(ALL_UNITS)
MOUTH = {12, 14, 15, 17, 18, 20, 22, 24, 28}
LIPS = (0, 17, 61, 291, 13, 14, 37, 267, 84, 314)
RIG = os.environ.get("TFAU_FACE_RIG", "")
STILL = np.zeros(len(AUS.point_names), np.float32)


def unit_of(point):
    return AUS.numbers[AUS.point_owner[point]]


@pytest.fixture(scope="module")
def finder():
    with FaceMesh(max_faces=1) as finder:
        yield finder


@pytest.fixture(scope="module")
def astronaut(finder):
    photo = skimage.data.astronaut()
    (face,) = finder.detect(photo)
    return photo, face.mesh


@pytest.fixture(scope="module")
def puppeteer(astronaut):
    """Every point of a unit lifts the mouth; a rig is not at hand everywhere."""
    places = FaceAligner.aligned_mesh(astronaut[1][:468])
    apart = np.linalg.norm((places - places[list(LIPS)].mean(axis=0))[:, :2], axis=1)
    fields = np.zeros((len(AUS.point_names), 468, 3))
    fields[:, :, 1] = -0.01 * np.exp(-((apart / 0.35) ** 2))
    return Puppeteer(AUS, fields)


def aspect(mesh):
    """Height of the mouth below the eyes, in distances of their outer corners."""
    eyes = mesh[[33, 263], :2]
    return (mesh[LIPS, 1].mean() - eyes[:, 1].mean()) / np.linalg.norm(eyes[0] - eyes[1])


def test_who_neither_turns_nor_moves_looks_the_same(puppeteer, finder, astronaut):
    photo, mesh = astronaut
    same = puppeteer.move(photo, mesh, STILL)
    assert same.shape == (256, 256, 3)
    (face,) = finder.detect(same)
    scale = np.ptp(face.mesh[:468, 0]) / np.ptp(mesh[:468, 0])
    apart = face.mesh[:468, :2] - scale * mesh[:468, :2]
    assert np.abs(apart - apart.mean(axis=0)).max() < 2.5
    assert np.linalg.norm(apart - apart.mean(axis=0), axis=1).mean() < 0.8


def test_a_moved_mouth_is_found_where_it_was_moved(puppeteer, finder, astronaut):
    photo, mesh = astronaut
    (before,) = finder.detect(puppeteer.move(photo, mesh, STILL))
    change = STILL.copy()
    change[[AUS.point_names.index(f"AU12_{side}") for side in ("left", "right")]] = 5
    (after,) = finder.detect(puppeteer.move(photo, mesh, change))
    assert aspect(after.mesh) - aspect(before.mesh) == pytest.approx(-0.1, abs=0.03)
    eyes = [33, 133, 362, 263]
    np.testing.assert_allclose(after.mesh[eyes, :2], before.mesh[eyes, :2], atol=2)


@pytest.mark.parametrize(("pitch", "yaw"), [(15, 0), (-15, 0), (0, 15), (0, -15)])
def test_heads_turn_as_the_edge_measures_turns(pitch, yaw, puppeteer, finder, astronaut):
    (before,) = finder.detect(puppeteer.move(*astronaut, STILL))
    (after,) = finder.detect(puppeteer.move(*astronaut, STILL, pitch, yaw))
    turned = np.degrees(measure(after).rotation - measure(before).rotation)[:2]
    along, across = (turned @ (pitch, yaw)) / 15, turned @ (yaw != 0, pitch != 0)
    assert 7 < along < 16
    assert abs(across) < 3


def test_what_changes_is_one_movement_of_the_mouth_and_few_of_the_eyes(puppeteer):
    taken, one_sided = 0, 0
    for seed in range(200):
        change = puppeteer.draw(np.random.default_rng(seed))
        np.testing.assert_array_equal(change, puppeteer.draw(np.random.default_rng(seed)))
        units = {unit_of(k) for k in np.flatnonzero(np.nan_to_num(change))}
        assert 1 <= len(units) <= 3
        assert len(units & MOUTH) <= 1
        assert not {5, 45} <= units
        lips = np.isnan(change)
        assert {unit_of(k) for k in np.flatnonzero(lips)} == ({25} if units & MOUTH else set())
        known = change[~lips]
        assert np.abs(known).max() <= 5
        assert all(unit_of(k) == 12 for k in np.flatnonzero(change < 0))
        taken += bool((known < 0).any())
        left, right = (
            change[[AUS.point_names.index(n) for n in AUS.point_names if n.endswith(side)]]
            for side in ("left", "right")
        )
        one_sided += bool((left != right).any())
    assert taken > 5
    assert 10 < one_sided < 100


def test_the_first_two_views_are_turned_only(puppeteer, astronaut):
    views = list(puppeteer.views(*astronaut, 5, 3))
    assert [bool(np.nan_to_num(view.change).any()) for view in views] == [0, 0, 1, 1, 1]
    assert all(abs(view.pitch_deg) <= PITCH_DEG and abs(view.yaw_deg) <= YAW_DEG for view in views)
    again = list(puppeteer.views(*astronaut, 3, 3))
    np.testing.assert_array_equal(again[2].image, views[2].image)


@pytest.fixture(scope="module")
def photos(tmp_path_factory, puppeteer):
    folder = tmp_path_factory.mktemp("photos")
    picture = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / "a.png"), picture)
    cv2.imwrite(str(folder / "b.png"), np.zeros((90, 90, 3), np.uint8))
    cv2.imwrite(str(folder / "c.png"), cv2.resize(picture, None, fx=0.7, fy=0.7))
    return folder, Photos.read(folder, AUS, 64, puppeteer, 4)


def test_a_photograph_is_a_person_of_several_pictures(photos):
    lessons = photos[1].lessons
    assert lessons.subject.tolist() == [0] * 5 + [1] * 5
    assert lessons.frame.tolist() == [*range(5)] * 2
    assert lessons.images.shape == (10, 64, 64, 3)
    assert photos[1].shapes.shape == (10, 52)
    assert not photos[1].change[lessons.frame <= 2].any()
    assert not lessons.at_rest.any()


def test_views_that_are_looked_at_in_a_mirror_are_turned_back(photos, puppeteer, finder):
    folder, made = photos
    picture = cv2.cvtColor(cv2.imread(str(folder / "a.png")), cv2.COLOR_BGR2RGB)
    (face,) = finder.detect(picture)
    for number, view in enumerate(puppeteer.views(picture, face.mesh, 2, 0), start=1):
        (seen,) = finder.detect(view.image)
        mesh, found = FaceAligner.aligned_mesh(seen.mesh[:468]), made.lessons.meshes[number]
        assert np.abs(mesh - found).mean() < 0.02
        assert bool((mesh == found).all()) == (number == 2)


def test_what_is_taught_is_what_was_seen_at_rest_and_what_was_moved(photos):
    made = photos[1]
    rng = np.random.default_rng(0)
    crop, mesh = rng.uniform(0, 2, (2, 10, len(STILL))).astype(np.float32)
    taught = made.taught(crop, mesh)
    units = np.array([unit_of(k) for k in range(len(STILL))])
    for person in (0, 1):
        rows = np.flatnonzero(made.lessons.subject == person)
        base = {4: (crop + mesh)[rows[:3]].mean(axis=0) / 2, 6: mesh[rows[:3]].mean(axis=0)}
        for unit, expected in base.items():
            at = units == unit
            shown = np.clip(expected[at] + made.change[rows][:, at], 0, 5)
            np.testing.assert_allclose(taught[rows][:, at], shown, rtol=1e-5)
    assert (np.isnan(taught) == np.isnan(made.change)).all()


def test_pictures_of_one_photograph_are_compared_with_one_another(photos):
    """People of a set are compared with themselves at rest, photographs with any of their own."""
    made = photos[1]
    taught = made.taught(*np.ones((2, 10, len(STILL)), np.float32))
    people = dataclasses.replace(
        made.lessons,
        levels=np.where(made.lessons.frame[:, None] == 0, STILL, STILL + 2),
    )
    nothing = Changes(**{field.name: 0.0 for field in dataclasses.fields(Changes)})
    changes = dataclasses.replace(nothing, unknown=0.4)
    compared = 0
    for seed in range(8):
        classes = Classes(people, 2, 3, changes, photos=(made.lessons, taught), photos_each=7)
        for inputs, levels in classes.epoch(seed):
            assert levels.shape == (13, 2 * len(STILL))
            assert np.isnan(levels[6:, : len(STILL)]).all()
            assert np.isnan(levels[:6, len(STILL) :]).all()
            rest, known = inputs["rest"], inputs["known"][:, 0] > 0
            assert (rest[:6] == [0, 0, 0, 3, 3, 3]).all()
            assert (rest[6:9] // 3 == 2).all()
            assert (rest[9:12] // 3 == 3).all()
            assert rest[12] == 12
            itself = np.flatnonzero(known & (rest == np.arange(13)))
            assert (np.nan_to_num(levels[itself[itself >= 6], len(STILL) :]) == 0).all()
            compared += int((known & (rest != np.arange(13)))[6:].sum())
    assert compared > 10


def test_an_exam_says_how_much_of_a_movement_is_seen(photos, puppeteer):
    found = exam.moved(exam.Reader(FREE_MODEL), photos[0], puppeteer, every=1, views=4)
    assert found["pictures"] == 8
    assert set(found["r"]) == {*AUS.names, "mean"}
    assert 0 < found["turned_apart"] < 1
    with pytest.raises(ValueError, match="no face"):
        exam.moved(exam.Reader(FREE_MODEL), Path(__file__).parent, puppeteer)


@pytest.mark.skipif(not RIG, reason="TFAU_FACE_RIG names no face rig")
def test_the_rig_says_how_faces_move():
    fields = dict(zip(AUS.point_names, Puppeteer.of_rig(Path(RIG), AUS).fields, strict=True))
    left, right = (fields[f"AU12_{side}"] for side in ("left", "right"))
    assert left[291, 1] < -0.015  # the corner of the mouth goes up
    assert left[291, 0] > 0.01  # and to the subject's left
    np.testing.assert_allclose(right[61] * (-1, 1, 1), left[291], atol=2e-3)
    assert np.abs(left[61]).max() < 0.1 * np.abs(left[291]).max()
    both = fields["AU17_upper"] + fields["AU17_lower"]
    assert both[17, 1] < -0.005  # the lower lip goes up
    assert all(np.abs(field).max() < 0.1 for field in fields.values())
