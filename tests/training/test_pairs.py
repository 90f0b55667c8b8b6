"""The network that compares a face with the person at rest: its lessons, its learning, its loss."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

from tfau import checkpoints
from tfau.core.action_units import AUSet
from tfau.core.align import FaceAligner
from tfau.core.faces import MESH_MIRROR, MESH_VERTICES
from tfau.pairs.__main__ import main
from tfau.pairs.learning import PairConfig, PairLoss, PairRun, answers
from tfau.pairs.lessons import Changes, Classes, Lessons, Photos, mirrored, witnessed

UNITS = (12, 25, 26)
PEOPLE, EACH, SIDE = 12, 5, 64
NONE = Changes(**{field.name: 0.0 for field in dataclasses.fields(Changes)})


@pytest.fixture(scope="module")
def lessons():
    """Twelve people whose mouth is a bright bar: as wide as they smile, as high as it is open."""
    rng, aus = np.random.default_rng(0), AUSet(UNITS)
    template = np.zeros((MESH_VERTICES, 3), np.float32)
    template[:, 0] = np.linspace(-1, 1, MESH_VERTICES)
    images, meshes, levels, subject, frame = [], [], [], [], []
    for person in range(PEOPLE):
        own = rng.normal(0, 3)  # everybody's mouth is another one
        for number in range(EACH):
            left, right, wide = rng.uniform(0, 5, 3) * (number > 0)
            image = np.full((SIDE, SIDE, 3), 60, np.uint8)
            image[40 : 42 + int(3 * wide), int(32 + own - 3 * right) : int(34 + own + 3 * left)] = (
                220
            )
            images.append(image)
            mesh = template.copy()
            mesh[13, 1], mesh[61, 0], mesh[291, 0] = wide / 50, -right / 50, left / 50
            meshes.append(mesh + rng.normal(0, 0.001, mesh.shape).astype(np.float32))
            levels.append([left, right, wide, wide, wide, wide])
            subject.append(person)
            frame.append(number)
    split = np.array(["train", "train", "validation", "test"])[np.array(subject) % 4]
    return Lessons(
        aus,
        np.stack(images),
        np.stack(meshes),
        np.array(levels, np.float32),
        np.array(subject),
        np.array(frame),
        split,
    )


@pytest.fixture(scope="module")
def config():
    return PairConfig(
        "small", aus=UNITS, crop_size=SIDE, backbone="tiny", epochs=2, people=3, each=4
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory, lessons, config):
    run, lines = PairRun(tmp_path_factory.mktemp("runs") / config.name, config), []
    run.train(lessons, lines.append)
    run.finish(lessons, {"dataset": "imitation", "licence": "CC0"})
    assert len(lines) == config.epochs
    return run


def test_everybody_has_a_picture_at_rest(lessons):
    assert lessons.at_rest.sum() == PEOPLE
    np.testing.assert_array_equal(lessons.rest_of(), np.arange(len(lessons)) // EACH * EACH)
    few = lessons.part(lessons.frame > 0)
    assert (few.rest_of() == -1).all()


def test_the_mirror_is_its_own_inverse_and_knows_the_eyes():
    assert (MESH_MIRROR[MESH_MIRROR] == np.arange(MESH_VERTICES)).all()
    assert MESH_MIRROR[[33, 61, 13]].tolist() == [263, 291, 13]
    mesh = np.random.default_rng(0).normal(size=(2, MESH_VERTICES, 3)).astype(np.float32)
    np.testing.assert_array_equal(mirrored(mirrored(mesh)), mesh)


def test_a_mirrored_face_has_the_mirrored_mesh():
    """The template of the crops is as symmetric as faces are."""
    template = FaceAligner(64).template
    mesh = np.zeros((MESH_VERTICES, 3), np.float32)
    for vertex, place in zip((33, 133, 362, 263), template, strict=False):
        mesh[vertex] = (place - template[[0, 3]].mean(axis=0)) / 64
    np.testing.assert_allclose(
        mirrored(mesh)[[33, 133, 362, 263]], mesh[[33, 133, 362, 263]], atol=1e-6
    )


def test_lessons_survive_a_file(lessons, tmp_path):
    lessons.save(tmp_path / "l.npz")
    again = Lessons.load(tmp_path / "l.npz")
    assert again.aus == lessons.aus
    for field in dataclasses.fields(Lessons)[1:]:
        np.testing.assert_array_equal(getattr(again, field.name), getattr(lessons, field.name))


def test_a_batch_is_people_who_meet_themselves_at_rest(lessons):
    classes = Classes(lessons, 3, 4, NONE)
    assert classes.steps == PEOPLE * (EACH - 1) // 9
    seen = []
    for inputs, levels in classes.epoch(1):
        assert inputs["image"].shape == (12, SIDE, SIDE, 3)
        assert inputs["rest"].tolist() == [0] * 4 + [4] * 4 + [8] * 4
        assert (levels[[0, 4, 8]] == 0).all()
        assert not inputs["known"][[0, 4, 8]].any()
        assert inputs["known"].sum() == 9
        # Rest and the rest of a person are of one person: their mouths are at one place.
        middle = [np.flatnonzero(image[40, :, 0] > 100).mean() for image in inputs["image"]]
        assert np.ptp(middle[:4]) < 18
        seen.append(levels)
    moving = np.concatenate(seen)
    moving = moving[moving.max(axis=1) > 0]
    assert len(np.unique(moving, axis=0)) > 0.8 * len(moving)  # nearly everything once


def test_what_is_compared_with_another_face_shows_what_is_more(lessons):
    changes = dataclasses.replace(NONE, relative=1.0)
    compared = 0
    for (inputs, more), (_, levels) in zip(
        Classes(lessons, 3, 4, changes).epoch(1), Classes(lessons, 3, 4, NONE).epoch(1), strict=True
    ):
        rest = inputs["rest"]
        assert (rest // 4 == np.arange(12) // 4).all()  # the same person
        known = inputs["known"][:, 0] > 0
        np.testing.assert_array_equal(more[~known], levels[~known])
        expected = np.maximum(levels - levels[rest], 0)
        np.testing.assert_array_equal(more[known], expected[known])
        assert (inputs["senses"][rest] == 1).all()
        compared += int((known & (rest % 4 > 0)).sum())
    assert compared > 10


def test_the_same_seed_makes_the_same_batches(lessons):
    one, other = (list(Classes(lessons, 3, 4).epoch(5)) for _ in range(2))
    for (a, x), (b, y) in zip(one, other, strict=True):
        np.testing.assert_array_equal(x, y)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
    third = next(Classes(lessons, 3, 4).epoch(6))
    assert not np.array_equal(third[0]["image"], one[0][0]["image"])


def test_an_epoch_that_nobody_finishes_leaves_no_thread(lessons):
    import threading

    before = threading.active_count()
    batches = Classes(lessons, 2, 2).epoch(0)
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_mirrored_lessons_swap_sides(lessons):
    other = lessons.mirrored()
    np.testing.assert_array_equal(other.images[3, :, ::-1], lessons.images[3])
    np.testing.assert_array_equal(other.levels[:, [1, 0]], lessons.levels[:, :2])


def test_photographs_are_alone_and_only_the_teacher_speaks_of_them(lessons):
    photos = dataclasses.replace(
        lessons.part(lessons.frame == 1), levels=np.full((PEOPLE, 6), np.nan, np.float32)
    )
    said = np.full((PEOPLE, 6), 3.0, np.float32)
    one = dataclasses.replace(photos, subject=np.arange(PEOPLE))
    classes = Classes(lessons, 3, 4, NONE, photos=(one, said), photos_each=5)
    inputs, levels = next(classes.epoch(0))
    assert levels.shape == (17, 12)
    assert np.isnan(levels[12:, :6]).all()
    assert (levels[12:, 6:] == 3).all()
    assert np.isnan(levels[:12, 6:]).all()
    assert inputs["rest"][12:].tolist() == [12, 13, 14, 15, 16]
    assert not inputs["known"][12:].any()


def test_blendshapes_bear_witness_to_smiles_only():
    from edge.face_mesh import BLENDSHAPES

    rng = np.random.default_rng(0)
    aus, shapes = AUSet([6, 12, 25]), rng.uniform(0, 1, (400, 52)).astype(np.float32)
    smile = shapes[:, [BLENDSHAPES.index(f"mouthSmile{side}") for side in ("Left", "Right")]]
    said = rng.uniform(0, 5, (400, 6)).astype(np.float32)
    said[:, 2:4] = 4 * smile**2 + rng.normal(0, 1, smile.shape)
    heard = witnessed(said, shapes, aus)
    np.testing.assert_array_equal(heard[:, [0, 1, 4, 5]], said[:, [0, 1, 4, 5]])
    for side in (0, 1):
        order = np.argsort(smile[:, side])
        assert (np.diff(heard[order, 2 + side]) >= 0).all()
        assert np.abs(heard[:, 2 + side] - 4 * smile[:, side] ** 2).mean() < 0.3


def test_photographs_of_a_folder_are_cut_as_the_edge_cuts(tmp_path):
    import cv2
    import skimage.data

    picture = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((90, 90, 3), np.uint8))
    photos = Photos.read(tmp_path, AUSet(UNITS), SIDE)
    assert photos.lessons.images.shape == (1, SIDE, SIDE, 3)
    assert photos.shapes.shape == (1, 52)
    assert not photos.change.any()
    assert not photos.lessons.at_rest.any()
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match="no face"):
        Photos.read(tmp_path, AUSet(UNITS), SIDE)


def test_too_few_people_is_one_sentence(lessons):
    with pytest.raises(ValueError, match="`people` must be at most 12"):
        Classes(lessons, 13, 2)


def loss_of(true, seen, error=1.0, **options):
    true, seen = (np.asarray(x, np.float32) for x in (true, seen))
    pred = np.concatenate([seen, np.full_like(seen, error), seen, seen[:, :1] * 0 + 2], axis=1)
    options = {"agreement": 0.0, "doubt": 0.0, "sight": 0.0, **options}
    return float(PairLoss([1.0] * seen.shape[1], **options)(true, pred))


def test_the_loss_is_the_squared_error_of_what_is_coded():
    assert loss_of([[0.0], [2.0]], [[1.0], [2.0]]) == pytest.approx(0.5)
    assert loss_of([[np.nan], [2.0]], [[9.0], [3.0]]) == pytest.approx(1.0)
    assert loss_of([[np.nan]], [[9.0]]) == 0


def test_the_loss_likes_agreement_and_honest_errors():
    true = np.array([[0.0], [1.0], [4.0], [5.0]])
    timid = 2.5 + 0.2 * (true - 2.5)
    shifted = true + np.sqrt(np.mean((timid - true) ** 2))
    gap = [loss_of(true, seen, agreement=1.0) - loss_of(true, seen) for seen in (timid, shifted)]
    assert gap[0] > gap[1] > 0
    said = [loss_of(true, true + 1, error, doubt=1.0) for error in (0.1, 0.98, 5.0)]
    assert said[1] < min(said[0], said[2])


def test_the_teacher_counts_where_he_speaks():
    taught = [[0.0, np.nan], [0.0, 4.0]]
    assert loss_of(taught, [[0.0], [2.0]]) == pytest.approx(4.0 + 2.0)


def test_what_the_crop_alone_gets_wrong_counts_too():
    alone = loss_of([[0.0], [2.0]], [[1.0], [2.0]], sight=1.0)
    assert alone == pytest.approx(0.5 + 0.5 + 2.0)


def test_learning_helps_and_knowing_the_person_too(run, lessons):
    history = checkpoints.load(run.folder / "model.keras")[1]
    assert [row["epoch"] for row in history] == [1, 2]
    assert history[1]["loss"] < history[0]["loss"]
    assert {"plain", "calibrated"} <= history[0].keys()
    plain, calibrated = (
        answers(run.model(), lessons, calibrated=known)[0] for known in (False, True)
    )
    assert plain.shape == (len(lessons), 6)
    assert ((plain >= 0) & (plain <= 5)).all()
    assert not np.allclose(plain, calibrated)


def test_a_run_that_was_stopped_and_resumed_is_the_same(run, lessons, config, tmp_path):
    class Stopped(Exception):
        pass

    def stop(batch, steps, _loss):
        if batch == steps and (tmp_path / "small" / "last.keras").exists():
            raise Stopped

    other = PairRun(tmp_path / "small", config)
    with pytest.raises(Stopped):
        other.train(lessons, lambda _: None, stop)
    other.train(lessons, lambda _: None)
    for ours, theirs in zip(run.model().get_weights(), other.model().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_frozen_backbone_stays_and_the_rest_learns(run, lessons, config, tmp_path):
    further = dataclasses.replace(
        config, name="further", epochs=1, start=str(run.folder), frozen=True
    )
    after = PairRun(tmp_path / "further", further)
    after.train(lessons, lambda _: None)
    one, other = run.model(), after.model()
    for old, new in zip(one.backbone.get_weights(), other.backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert not np.array_equal(one.halves.compare.kernel, other.halves.compare.kernel)


def test_a_mean_is_of_runs_that_differ_in_their_seed_alone(run, tmp_path):
    runs = []
    for seed in (0, 1):
        config = dataclasses.replace(run.config, name=f"s{seed}", start="a.tflite", seed=seed)
        runs.append(PairRun(shutil.copytree(run.folder, tmp_path / config.name), config))
        (runs[-1].folder / "config.json").write_text(json.dumps(dataclasses.asdict(config)))
    net = run.model()
    net.set_weights([weights + 1 for weights in net.get_weights()])
    checkpoints.save(net, runs[1].folder / "model.keras", [])
    words = ["m", "--runs", str(tmp_path), "--mean-of", *(str(one.folder) for one in runs)]
    main(words)
    mean = PairRun.open(tmp_path / "m")
    for ours, first in zip(mean.model().get_weights(), run.model().get_weights(), strict=True):
        np.testing.assert_allclose(ours, first + 0.5, atol=1e-5)
    assert mean.provenance()["network"]["mean_of"] == ["s0", "s1"]
    assert len(mean.evidence("test")) == len(run.evidence("test"))
    with pytest.raises(ValueError, match="same --start"):
        PairRun.mean(tmp_path / "n", [runs[0], run])
    (runs[0].folder / "test.npz").unlink()
    with pytest.raises(ValueError, match="with --resume"):
        PairRun.mean(tmp_path / "n", runs)
    assert not (tmp_path / "n").exists()
    with pytest.raises(ValueError, match="exists"):
        main(words)


def test_features_of_one_call_calibrate_another(run, lessons):
    both = run.model().both_ways(lessons.aus.flip_index)
    unknown = np.zeros(both.input["neutral"].shape, np.float32)
    expected, error = answers(run.model(), lessons, calibrated=True)
    for row, rest in enumerate(lessons.rest_of()[:10]):
        image, mesh = lessons.images[[rest, row]].astype(np.float32), lessons.meshes[[rest, row]]
        first = both({"image": image[:1], "mesh": mesh[:1], "neutral": unknown})
        second = both(
            {"image": image[1:], "mesh": mesh[1:], "neutral": np.array(first["features"])}
        )
        seen, doubt = (np.asarray(second[name][0]) for name in ("intensity", "error"))
        np.testing.assert_allclose(seen.clip(0, 5), expected[row], atol=1e-4)
        np.testing.assert_allclose(doubt, error[row], atol=1e-4)
    assert (error > 0).all()


def test_a_network_that_is_loaded_knows_its_widths(run, tmp_path):
    net = run.model()
    net.save(tmp_path / "n.keras")
    again = keras.saving.load_model(tmp_path / "n.keras")
    assert (again.seen, again.shaped, again.hidden) == (net.seen, net.shaped, net.hidden)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["x", "--epochs", "0"], "--epochs"),
        (["x", "--each", "1"], "--each"),
        (["x", "--photo-folder", "."], "--teacher"),
        (["x", "--photo-folder", ".", "--teacher", "t", "--views", "8"], "--rig"),
        (["x", "--frozen"], "--frozen"),
        (["x", "--views", "-1"], "--views"),
        (["x", "--keep", ".4"], "--keep"),
        (["x", "--teacher", "nowhere.tflite"], "nowhere"),
        (["x", "--start", "runs/nowhere"], "nowhere"),
        (["x", "--resume"], "to resume"),
    ],
)
def test_the_command_line_says_what_is_wrong(words, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        main([*words, "--runs", str(tmp_path)])


def test_a_config_survives_its_file(tmp_path):
    config = PairConfig("x", teacher=("a.tflite", "runs/b"), mean_of=("c", "d"))
    (tmp_path / "config.json").write_text(json.dumps(dataclasses.asdict(config)))
    assert PairRun.open(tmp_path).config == config


def test_a_run_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no run of a pair network"):
        PairRun.open(tmp_path)
    for text in ("[1]", "3", '{"name": "x"}', "{"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match="no run of a pair network"):
            PairRun.open(tmp_path)
    with pytest.raises(ValueError, match="with --resume"):
        PairRun(tmp_path, PairConfig("x")).evidence("test")
