"""What makes rendered pictures as hard as real ones, as far as it needs no rig."""

import dataclasses
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import skimage.data

from edge.face_mesh import FaceMesh
from tfds_builders.synthetic_faces import sampling, wild
from tfds_builders.synthetic_faces.rig import Skin


@pytest.fixture(scope="module")
def portrait():
    image = skimage.data.astronaut()[0:256, 96:352]
    with FaceMesh() as finder:
        (face,) = finder.detect(np.ascontiguousarray(image))
    return image, face.mesh


def shot(seed=0, **changes):
    return dataclasses.replace(sampling.sample_shot(np.random.default_rng(seed), {}), **changes)


def test_expressions_are_on_the_scale_and_do_not_conflict():
    rng = np.random.default_rng(0)
    drawn = [wild.sample_expression(rng) for _ in range(2000)]
    levels = [level for one in drawn for sides in one.values() for level in sides]
    assert 0 <= min(levels) < max(levels) <= 5
    assert max(len(one) for one in drawn) >= 7
    assert not any({12, 15} <= one.keys() or {24, 26} <= one.keys() for one in drawn)
    with_teeth = sum(one.get(12, (0, 0))[0] > 2 and one.get(25, (0, 0))[0] > 1 for one in drawn)
    assert with_teeth > 200


def test_heads_turn_further_but_not_when_somebody_is_calibrated():
    rng = np.random.default_rng(0)
    wide = [wild.roughen_shot(shot(i), rng) for i in range(500)]
    assert 35 < max(abs(one.yaw) for one in wide) <= 40
    assert 25 < max(abs(one.pitch) for one in wide) <= 30
    assert {one.cover for one in wide} == set(wild.COVERS[:5])
    calm = wild.roughen_shot(shot(), rng, calm=True)
    assert calm.camera is None
    assert calm.cover == ""
    assert abs(calm.pitch) <= 9


def test_the_same_seed_draws_the_same():
    one, other = (wild.roughen_shot(shot(), np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(one.backdrop, other.backdrop)
    assert dataclasses.replace(one, backdrop=None) == dataclasses.replace(other, backdrop=None)


@pytest.mark.parametrize("kind", ["hand", "mask", "object", "strands"])
def test_covers_hide_a_part_of_the_face_and_no_more(portrait, kind):
    image, mesh = portrait
    shares = []
    for seed in range(6):
        covered = wild.cover_face(image, mesh, kind, seed, (0.02, 0.02, 0.02))
        assert covered.dtype == np.uint8
        assert covered.shape == image.shape
        again = wild.cover_face(image, mesh, kind, seed, (0.02, 0.02, 0.02))
        np.testing.assert_array_equal(covered, again)
        changed = np.abs(covered.astype(int) - image).max(axis=2) > 12
        outline = cv2.convexHull(np.round(mesh[:, :2]).astype(np.int32))
        face = cv2.fillConvexPoly(np.zeros(image.shape[:2], np.uint8), outline, 1) > 0
        shares.append(changed[face].mean())
    assert 0.02 < np.mean(shares) < 0.8


@pytest.mark.parametrize("kind", ["", "dark glasses"])
def test_what_is_drawn_elsewhere_is_left_alone(portrait, kind):
    image, mesh = portrait
    assert wild.cover_face(image, mesh, kind, 0, (0, 0, 0)) is image


def test_a_bad_camera_blurs_dims_and_sees_grey():
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(wild.Camera().see(image), image)
    grey = wild.Camera(grey=True).see(image)
    assert np.ptp(grey.astype(int), axis=2).max() == 0
    assert wild.Camera(exposure=0.5).see(image).mean() == pytest.approx(image.mean() / 2, abs=1)
    for blurred in (wild.Camera(resolution=0.2), wild.Camera(shake=7.0, shake_angle=30.0)):
        seen = blurred.see(image)
        assert seen.shape == image.shape
        assert seen.std() < 0.7 * image.std()
        assert seen.mean() == pytest.approx(image.mean(), abs=4)


def test_glasses_sit_before_the_eyes(portrait):
    _, mesh = portrait
    points = (mesh[:468] - mesh[168]) * (1, -1, -1) / 100  # as in the rig: y up, z out of the face
    glasses = wild.Glasses(0.27, 0.18, 3.0, 0.015, 0.05, (0, 0, 0), (0.3, 0.3, 0.3), 0.1)
    rig = SimpleNamespace(mesh_index=np.arange(468))
    (frame, frame_faces), (lenses, lens_faces) = glasses.build(points.astype(np.float32), rig)
    for vertices, faces in ((frame, frame_faces), (lenses, lens_faces)):
        assert np.isfinite(vertices).all()
        assert 0 <= faces.min() < faces.max() < len(vertices)
    right, left = points[[33, 133]].mean(axis=0), points[[362, 263]].mean(axis=0)
    centres = lenses[:1], lenses[len(lenses) // 2 : len(lenses) // 2 + 1]
    for centre, eye in zip(centres, (right, left), strict=True):
        assert abs(centre[0, 0] - eye[0]) < 0.1
        assert centre[0, 2] > eye[2]


def test_a_beard_darkens_the_chin_and_leaves_lips_and_brow(portrait):
    _, mesh = portrait
    skin = np.full((512, 512, 4), 180, np.float32)
    wild.Beard("full", 0.9, 0.6, (20.0, 15.0, 10.0), 1).paint(skin, mesh[:468, :2] * 2.0)

    def around(vertex):
        x, y = np.round(mesh[vertex, :2] * 2).astype(int)
        return skin[y - 5 : y + 6, x - 5 : x + 6, :3].mean()

    assert around(199) < 140
    assert around(9) == 180
    assert around(13) > 150


def test_nobody_learns_from_what_is_reserved():
    names = ("old_darkskinned_male", "young_lightskinned_male", "young_lightskinned_male2")
    skins = tuple(Skin(name, "", "young", "male", "african") for name in names)
    kinds = {"brows01": "brows", "brows11": "brows", "eyes": "eyes", "hair_short04": "hair"}
    parts = {name: SimpleNamespace(name=name, kind=kind) for name, kind in kinds.items()}
    rig = dataclasses.make_dataclass("Rig", ["skins", "parts"])(skins, parts)
    ours, theirs = (wild.half(rig, reserved=reserved) for reserved in (False, True))
    assert [skin.name for skin in ours.skins] == ["young_lightskinned_male"]
    assert len(theirs.skins) == 2
    assert set(ours.parts) == {"brows01", "eyes"}
    assert set(theirs.parts) == {"brows11", "eyes", "hair_short04"}


def test_weights_of_captured_faces_are_many_weak_and_even():
    rng = np.random.default_rng(0)
    drawn = [wild.sample_weights(rng) for _ in range(1000)]
    values = np.array([sides for one in drawn for sides in one.values()])
    assert 0 <= values.min() < values.max() <= 1
    assert np.median([len(one) for one in drawn]) > 15
    assert np.median(values) < 0.2
    assert np.corrcoef(values.T)[0, 1] > 0.95
    for one in drawn:
        assert one["mouthClose"][0] <= one.get("jawOpen", (0.0, 0.0))[0]


def test_a_lively_mouth_moves_more_and_the_brows_as_before():
    rng = np.random.default_rng(0)
    loose, lively = ([wild.sample_weights(rng, lively=x) for _ in range(1000)] for x in (0, 1))

    def mean(drawn, name):
        return np.mean([one.get(name, (0.0, 0.0)) for one in drawn])

    assert mean(lively, "mouthPress") > 1.4 * mean(loose, "mouthPress")
    assert mean(lively, "jawOpen") > 1.4 * mean(loose, "jawOpen")
    assert mean(lively, "browDown") == pytest.approx(mean(loose, "browDown"), rel=0.15)


def test_weights_say_the_intensities_and_lift_the_cheek():
    weights = {"mouthSmile": (0.4, 0.2), "cheekSquint": (0.5, 0.5), "jawOpen": (0.3, 0.3)}
    set_by = wild.with_weights(shot(weights={"eyeLookUp": (0.1, 0.1)}), weights)
    assert set_by.intensities[12] == pytest.approx((2.5, 1.25))
    assert set_by.intensities[26] == pytest.approx((2.5, 2.5))
    assert set_by.weights["cheekRaise"] == pytest.approx((0.5, 0.5))
    assert set_by.weights["eyeLookUp"] == (0.1, 0.1)
    assert set_by.weights["mouthSmile"] == (0.4, 0.2)
