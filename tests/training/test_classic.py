"""Classic models: what they look at, that their search cannot leak, and what their folder keeps."""

import contextlib
import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("skops", reason="needs tfau[classic]")
pytest.importorskip("skimage", reason="needs tfau[classic]")
pytest.importorskip("sklearn", reason="needs tfau[classic]")

import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from threadpoolctl import threadpool_limits

from tfau import cli, evaluate
from tfau.classic import __main__ as classic
from tfau.classic.emotions import EMOTIONS, describe, emotions
from tfau.classic.features import HOG_LENGTH, face_mask, features
from tfau.classic.folder import ClassicConfig, ClassicModel
from tfau.classic.unit_model import GRIDS, TASKS, UnitModel, pipeline
from tfau.core.action_units import AUSet
from tfau.core.errors import run_cli
from tfau.predictions import Predictions
from tfau.protocols import persons

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "docs" / "astronaut.jpg"
CONFIG = ClassicConfig("synthetic_faces/tiny", (12, 25), "subjects_20", limit=100, grid="small")
FOLDS = ("--protocol", "subjects_20", "--folds", "1,3")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Keeps linear algebra from waiting for a core that others use."""
    with threadpool_limits(1), pytest.MonkeyPatch.context() as environment:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment.setenv(name, "1")
        yield


@pytest.fixture(scope="module")
def faces(data):
    """Twenty crops and their landmarks."""
    crops, points = data.sample(np.ones(len(data), bool), data.aus, 128, 20)
    return crops, points[..., :2]


def command(data_dir, runs, *more):
    words = ["train", "--aus", "12", "25", "--limit", "100", "--grid", "small"]
    return [*words, "--runs", str(runs), "--data-dir", data_dir, *more]


@pytest.fixture(scope="module")
def folds(data_dir, tmp_path_factory):
    """A folder of two folds, trained and scored by the command, and what it said."""
    runs, said = tmp_path_factory.mktemp("runs"), io.StringIO()
    with contextlib.redirect_stdout(said):
        classic.main(command(data_dir, runs, *FOLDS))
    return runs / "classic", said.getvalue()


@pytest.fixture(scope="module")
def trained(folds):
    """The first of these folders."""
    return ClassicModel.open(folds[0] / "fold1")


@pytest.fixture
def copy(trained, tmp_path):
    """The same folder, to be spoilt."""
    return Path(shutil.copytree(trained.folder, tmp_path / "classic"))


def test_features_have_the_published_length(faces, data):
    crops, points = faces
    values = features(crops[0], points[0])
    assert HOG_LENGTH == 13 * 13 * 2 * 2 * 9 == 6084
    assert values.shape == (HOG_LENGTH + 2 * len(data.aus.point_names),)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[HOG_LENGTH:].reshape(-1, 2), (points[0] + 0.5) / 128)


def test_features_depend_on_nothing_but_the_face(faces):
    for crop, points in zip(*faces, strict=True):
        values = features(crop, points)
        np.testing.assert_array_equal(features(crop.copy(), points), values)
        mask = face_mask((points + 0.5) / 128)
        # Another background, far enough from the mask that resizing does not mix it in.
        inside = np.kron(mask, np.ones((8, 8), bool)).reshape(128, 7, 128, 7).any(axis=(1, 3))
        near = np.pad(inside, 2)
        near = np.any([np.roll(near, (y, x), (0, 1)) for y in (-2, 0, 2) for x in (-2, 0, 2)], 0)
        near = near[2:-2, 2:-2]
        other = np.where(near[..., None], crop, 0).astype(np.uint8)
        assert (other != crop).any()
        np.testing.assert_array_equal(features(other, points), values)
        inner = crop.copy()
        inner[50:90, 50:78] = 0
        assert np.abs(features(inner, points) - values)[:HOG_LENGTH].max() > 0.1


def test_mask_covers_every_landmark_and_grows_with_the_face(faces):
    _, points = faces
    for places in (points + 0.5) / 128:
        mask = face_mask(places)
        columns, rows = np.clip(np.rint(places * 112 - 0.5), 0, 111).astype(int).T
        assert mask[rows, columns].all()
        assert 0.2 < mask.mean() < 0.7
        brows = places[:, 1].min()
        assert not mask[: max(int((brows - 0.25) * 112), 0)].any()
        assert mask[int((brows - 0.05) * 112), 56]  # some forehead


def test_features_mean_the_same_at_every_crop_size(faces):
    crops, points = faces
    # Every pixel four times: the same picture.
    big = crops[0].repeat(2, axis=0).repeat(2, axis=1)
    values = features(crops[0], points[0])
    other = features(big, (points[0] + 0.5) * 2 - 0.5)
    np.testing.assert_allclose(other[HOG_LENGTH:], values[HOG_LENGTH:], rtol=1e-6)
    assert np.corrcoef(other[:HOG_LENGTH], values[:HOG_LENGTH])[0, 1] > 0.99


@pytest.mark.parametrize(
    ("crop", "points", "message"),
    [
        (np.zeros((128, 128), np.uint8), np.zeros((4, 2)), "`crop` must be"),
        (np.zeros((128, 128, 3), np.float32), np.zeros((4, 2)), "`crop` must be"),
        (np.zeros((128, 128, 3), np.uint8), np.full((4, 2), np.nan), "`points` must be"),
        (np.zeros((128, 128, 3), np.uint8), np.zeros((4, 3)), "`points` must be"),
    ],
)
def test_features_refuse_what_is_no_face(crop, points, message):
    with pytest.raises(ValueError, match=message):
        features(crop, points)


@pytest.mark.parametrize("task", TASKS)
def test_all_that_learns_is_a_step_of_the_pipeline(task):
    steps = pipeline(task).named_steps
    assert list(steps) == ["few", "scale", "svm"]
    assert isinstance(steps["few"], ColumnTransformer)
    assert isinstance(steps["scale"], StandardScaler)
    (name, components, columns), (_, landmarks, rest) = steps["few"].transformers
    assert (name, components.n_components) == ("hog", 0.95)
    assert isinstance(components, PCA)
    assert (columns, landmarks, rest) == (
        slice(0, HOG_LENGTH),
        "passthrough",
        slice(HOG_LENGTH, None),
    )
    assert steps["svm"].kernel == "rbf"
    assert {key.partition("__")[0] for key in GRIDS["published"][task]} == {"svm"}


def test_search_keeps_people_apart_and_fits_nothing_on_those_it_scores(monkeypatch):
    rng = np.random.default_rng(0)
    people = np.repeat(["a", "b", "c", "d", "e", "f"], 10)
    values = rng.normal(size=(60, HOG_LENGTH + 2)).astype(np.float32)
    values[:, -1] = np.repeat(range(6), 10)  # who it is
    truth = rng.integers(0, 2, 60).astype(np.float32)
    truth[7] = np.nan
    fitted = []
    fit = StandardScaler.fit

    def spy(self, X, y=None, sample_weight=None):  # noqa: N803 - scikit-learn's name
        fitted.append({round(float(value)) for value in X[:, -1]})
        return fit(self, X, y, sample_weight)

    monkeypatch.setattr(StandardScaler, "fit", spy)
    model = UnitModel.train("presence", values, truth, people, GRIDS["published"]["presence"])
    assert model.rows == 59  # the uncoded one is left out
    everybody = [who for who in fitted if len(who) == 6]
    held_out = {frozenset(range(6)) - who for who in fitted if len(who) < 6}
    assert len(everybody) == 1  # the last fit, after the search
    assert sorted(person for part in held_out for person in part) == list(range(6))


def test_a_unit_that_hardly_anybody_is_coded_for_is_refused():
    values = np.random.default_rng(0).normal(size=(20, HOG_LENGTH)).astype(np.float32)
    truth = np.zeros(20, np.float32)
    people = np.repeat(["a", "b"], 10)
    with pytest.raises(ValueError, match="20 crops of 2 people are coded, 0 above 0"):
        UnitModel.train("presence", values, truth, people, GRIDS["small"]["presence"])


def test_models_beat_a_constant_on_people_they_have_not_seen(folds, data):
    folder, said = folds
    lines = [line.partition(":")[0] for line in said.splitlines() if " in the search" in line]
    units = "AU12 presence, AU12 intensity, AU25 presence, AU25 intensity".split(", ")
    assert lines == 2 * units
    predictions = Predictions.read(folder / "predictions.parquet")
    assert len(predictions) == 200
    assert predictions.facts["folds_done"] == "2 of 20"
    who = persons(data.labels.dataset, data.labels.subject)
    tested = persons(predictions.dataset, predictions.subject)
    train = np.zeros(len(data), bool)
    for number in (1, 3):
        model = ClassicModel.open(folder / f"fold{number}")
        name, seen = model.fold(data).name, model.training_rows(data)
        assert name == f"fold {number} of 20"
        assert len({*tested[predictions.fold == name]}) == 10
        assert not {*tested[predictions.fold == name]} & {*who[seen]}
        assert seen.sum() == 100
        train |= seen
    for column, number in enumerate((12, 25)):
        truth, said = predictions.intensity_true[:, column], predictions.intensity[:, column]
        constant = np.abs(truth - data.labels.intensity[train, data.aus.index(number)].mean())
        assert np.abs(truth - said).mean() < 0.85 * constant.mean()
        present, likely = predictions.presence_true[:, column] == 1, predictions.presence[:, column]
        assert likely[present].mean() > likely[~present].mean() + 0.3
    assert np.nanmin(predictions.intensity) >= 0
    assert np.nanmax(predictions.intensity) <= 5
    assert "renderer" in predictions.facts["note"]
    for place in (folder, folder / "fold3"):
        assert "renderer" in (place / "scores.md").read_text()


def test_the_usual_evaluation_scores_them_as_it_does_networks(folds, data_dir, tmp_path, capsys):
    for source in (folds[0], folds[0] / "predictions.parquet"):
        out = tmp_path / source.name
        evaluate.main([str(source), "-o", str(out), "--data-dir", data_dir])
        assert "AU25" in capsys.readouterr().out
        for name in ("scores.csv", "scores.md", "scores.tex"):
            assert (out / name).read_text() == (folds[0] / name).read_text()
        again, before = (Predictions.read(at / "predictions.parquet") for at in (out, folds[0]))
        np.testing.assert_array_equal(again.presence, before.presence)
        np.testing.assert_array_equal(again.fold, before.fold)
        assert again.facts == before.facts


def test_what_is_done_is_not_done_again(folds, data_dir, capsys):
    folder, _ = folds
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("fold*/*")}
    classic.main(command(data_dir, folder.parent, *FOLDS))
    assert "in the search" not in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in folder.glob("fold*/*")} == stamps


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (("/tiny/1", "/tiny/0"), [], "was trained on synthetic_faces/tiny/0"),
        (("tfau.classic 1", "tfau.classic 0"), [], "is not the config of classic models"),
        (("", ""), ["--split", "validation"], "has nobody in its 'validation' part"),
        (("", ""), ["--dataset", "nothing"], "There is no data set 'nothing'"),
    ],
)
def test_evaluating_nonsense_is_one_sentence(change, words, message, copy, data_dir, capsys):
    path = copy / "config.json"
    path.write_text(path.read_text().replace(*change))
    argv = [str(copy), "--data-dir", data_dir, *words]
    assert run_cli(lambda _: evaluate.main(argv)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_set_without_the_landmarks_is_refused(trained):
    class Other:
        name = "other"

        def batches(self, rows, marks, size, _):
            points = np.full((1, len(marks.point_names), 3), np.nan)
            batch = (np.zeros((1, size, size, 3)), {"points": points})
            return SimpleNamespace(as_numpy_iterator=lambda: iter([batch]))

    with pytest.raises(ValueError, match="other lacks landmarks that .*fold1 was trained on"):
        trained.answers(Other(), np.ones(1, bool))


def test_score_is_half_where_the_machine_decides(trained, data):
    rows = np.zeros(len(data), bool)
    rows[:60] = True
    values = np.concatenate(list(trained.features(data, rows, lambda _: None)))
    unit = trained.units[25, "presence"]
    assert unit.slope > 0
    np.testing.assert_array_equal(unit.predict(values) > 0.5, unit.estimator.predict(values) == 1)


def test_what_is_read_is_what_was_written(trained, tmp_path):
    for (number, task), unit in trained.units.items():
        path = tmp_path / f"{number}{task}.skops"
        unit.write(path)
        other = UnitModel.read(path)
        values = np.random.default_rng(0).random((5, unit.estimator.n_features_in_), np.float32)
        np.testing.assert_array_equal(other.predict(values), unit.predict(values))
        assert (other.slope, other.score, other.rows) == (unit.slope, unit.score, unit.rows)
    assert {path.suffix for path in tmp_path.iterdir()} == {".skops"}


def test_damaged_or_foreign_files_are_refused(copy, capfd):
    path = copy / "AU12_presence.skops"
    whole = path.read_bytes()
    spoilt = bytearray(whole)
    spoilt[len(whole) // 2] ^= 0xFF
    for content in (b"", b"no zip", whole[: len(whole) // 2], bytes(spoilt)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="AU12_presence.skops is damaged, or not ours"):
            ClassicModel.open(copy).units  # noqa: B018 - reads
    for thing in (
        {"estimator": FunctionTransformer(os.system), "slope": 1.0, "score": 1.0, "rows": 1},
        {"estimator": 1, "slope": 1.0, "score": 1.0, "rows": 1},
        {"slope": 1.0},
        [1],
    ):
        skops.io.dump(thing, path)
        with pytest.raises(ValueError, match="AU12_presence.skops is"):
            ClassicModel.open(copy)
    # The right kind of file, for something else.
    shutil.copy(copy / "AU25_intensity.skops", path)
    with pytest.raises(ValueError, match="does not belong"):
        ClassicModel.open(copy)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace("tfau.classic 1", "tfau.classic 0"),
        lambda text: text.replace('"small"', '"large"'),
        lambda text: text.replace('"crop_size": 128', '"crop_size": 100'),
        lambda text: text.replace('"limit"', '"limits"'),
    ],
)
def test_damaged_config_is_refused(copy, change):
    path = copy / "config.json"
    text = path.read_text()
    path.write_text(change(text))
    assert path.read_text() != text
    with pytest.raises(ValueError, match="is not the config of classic models"):
        ClassicModel.open(copy)


def test_finished_units_are_not_trained_again(trained, copy, data):
    kept = copy / "AU12_presence.skops"
    before = kept.stat().st_mtime_ns
    for path in copy.glob("AU25_*"):
        path.unlink()
    model, lines = ClassicModel.create(CONFIG, data, copy), []
    model.train(data, log=lines.append)
    assert [line[:4] for line in lines] == ["AU25", "AU25"]
    assert kept.stat().st_mtime_ns == before
    values = np.random.default_rng(0).random((5, HOG_LENGTH + 84), np.float32)
    for resumed, unbroken in zip(model.predict(values), trained.predict(values), strict=True):
        assert np.isfinite(resumed).all()
        np.testing.assert_array_equal(resumed, unbroken)


def test_other_settings_need_another_name(copy, data):
    other = dataclasses.replace(CONFIG, limit=90)
    with pytest.raises(ValueError, match="was made with other settings"):
        ClassicModel.create(other, data, copy)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_training_that_was_stopped_goes_on(data, data_dir, tmp_path, how):
    folder = tmp_path / "classic"
    words = command(data_dir, tmp_path, "--grid", "published")
    with subprocess.Popen(
        [sys.executable, "-m", "tfau.classic", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not list(folder.glob("AU*")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(how)
        out, err = process.communicate()
    assert process.returncode == (-how if how == signal.SIGKILL else 130), err
    if how == signal.SIGINT:
        assert "The same command goes on from there." in out
        assert "Traceback" not in err
    done = sorted(path.name for path in folder.glob("AU*"))
    assert 1 <= len(done) < 4
    assert not (folder / "predictions.parquet").exists()

    config = json.loads((folder / "config.json").read_text())
    assert config["grid"] == "published"
    model, lines = ClassicModel.open(folder), []
    model.train(data, log=lines.append)
    assert len(lines) == 4 - len(done)
    assert len(model.units) == 4


def test_emotions_are_shares_of_their_units():
    numbers = {number for units in EMOTIONS.values() for number in units}
    nothing = dict.fromkeys(numbers, False)
    assert set(emotions(nothing).values()) == {0.0}
    assert set(emotions(dict.fromkeys(numbers, True)).values()) == {1.0}
    some = emotions(nothing | {6: True, 12: True, 4: True})
    assert some["happiness"] == 1.0
    assert some["contempt"] == 0.5
    assert some["anger"] == 0.25
    assert some["sadness"] == pytest.approx(1 / 3)
    del nothing[23]
    assert np.isnan(emotions(nothing)["anger"])


def test_description_says_what_is_seen_and_what_is_not_known():
    text = describe(
        AUSet((6, 12, 25, 26)),
        np.array([0.2, 0.9, np.nan, np.nan], np.float32),
        np.array([0.0, 3.456, 1.5, np.nan], np.float32),
        presence_from=2.0,
    )
    six, twelve, parted, *felt = text.splitlines()
    assert six.split() == "AU06 cheek raiser absent intensity 0.00".split()
    assert twelve.split() == "AU12 lip corner puller present intensity 3.46".split()
    assert parted.split() == "AU25 lips part absent intensity 1.50".split()
    assert felt[0].split() == "happiness 0.50 of its units".split()
    assert felt[2] == "surprise   not known: no model of AU01, AU02, AU05, AU26"
    assert len(felt) == len(EMOTIONS)


def test_photo_is_read_without_tensorflow(trained):
    folder = trained.folder
    code = (
        "import sys; from tfau.cli import main\n"
        f"sys.argv = ['tfau', 'image', {str(PHOTO)!r}, '--model', {str(folder)!r}]\n"
        "try: main()\n"
        "finally: print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    smile, parted, *felt, imported = done.stdout.splitlines()
    assert smile.startswith("AU12  lip corner puller     present  intensity ")
    assert 1 < float(smile.split()[-1]) <= 5
    assert parted.startswith("AU25  lips part")
    assert len(felt) == len(EMOTIONS)
    assert imported == "False False"


def test_photo_without_a_face_is_refused(trained, tmp_path):
    broken, blank = tmp_path / "broken.png", tmp_path / "blank.png"
    broken.write_bytes(b"no picture")
    cv2.imwrite(str(blank), np.zeros((200, 200, 3), np.uint8))
    for path, message in (
        (broken, "broken.png: unreadable picture."),
        (blank, "blank.png: no face found."),
        (tmp_path / "none.png", "There is no picture"),
        (ROOT / "docs" / "missing" / "x.jpg", "There is no picture"),
    ):
        with pytest.raises(ValueError, match=message):
            trained.read_photo(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--aus", "12", "99"], "no AU 99"),
        (["--aus", "12", "12"], "12"),
        (["--aus", "12", "23"], "AU [23] not among the labelled units"),
        (["--grid", "wide"], "There is no grid 'wide'. Known: published, small."),
        (["--protocol", "none"], "There is no protocol 'none'"),
        (["--fold", "0"], "`fold` must be at least 1. Received: 0."),
        (["--fold", "2"], "`fold` must be 1 to 1 in this protocol. Received: 2."),
        (["--folds", "1,2"], "`--folds` must be all, or numbers from 1 to 1. Received: 1,2."),
        (["--limit", "-1"], "`limit` must be at least 0. Received: -1."),
        (["--limit", "1"], "the lines above say why"),
        (["--dataset", "nothing"], "There is no data set 'nothing'"),
        (["--dataset", "synthetic_faces/tiny+synthetic_faces/tiny"], "must be different data sets"),
    ],
)
def test_bad_settings_end_in_one_sentence(data_dir, tmp_path, capsys, words, message):
    argv = command(data_dir, tmp_path, *words)
    assert run_cli(lambda _: classic.main(argv)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tfau: ")
    assert message in line


@pytest.mark.parametrize("folder", ["nothing", "."])
def test_image_without_models_ends_in_one_sentence(tmp_path, capsys, folder):
    argv = ["image", str(PHOTO), "--model", str(tmp_path / folder)]
    assert run_cli(lambda _: classic.main(argv)) == 2
    assert "There are no classic models in" in capsys.readouterr().err


def test_folder_without_a_trained_unit_is_no_model(copy):
    for path in copy.glob("AU*"):
        path.unlink()
    with pytest.raises(ValueError, match="has no trained unit yet"):
        ClassicModel.open(copy)


def test_front_door_says_image_and_means_classic_image(monkeypatch):
    seen = []
    monkeypatch.setattr(
        cli.runpy, "run_module", lambda name, **_: seen.append((name, sys.argv[1:]))
    )
    monkeypatch.setattr(sys, "argv", ["tfau"])
    cli.hand_over(["image", "photo.jpg"])
    cli.hand_over(["classic", "train"])
    assert seen == [("tfau.classic", ["image", "photo.jpg"]), ("tfau.classic", ["train"])]
