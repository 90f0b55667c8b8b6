"""What every network must stand on every backbone, whatever Keras computes with.

Made, trained, saved, loaded, trained on, exported. Every kind of backbone and every network has its
turn once. All pairs, on one backend after the other:

    export TFAU_BATTERY=all TFAU_BATTERY_FOLDER=/somewhere
    for backend in tensorflow jax torch; do
        KERAS_BACKEND=$backend python -m pytest tests/models/test_battery.py \
            -o junit_family=xunit1 --junitxml $backend.xml
    done

TensorFlow writes networks and answers into the folder; the others load them and must answer the
same. How far they are apart is in the `.xml`.
"""

import itertools
import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

from tfau.configs import TrainConfig
from tfau.core.action_units import AUSet
from tfau.models.backbones import BACKBONES
from tfau.models.networks import NETWORKS

BACKEND = keras.config.backend()
AUS = AUSet([12, 17, 25])
CONFIG = TrainConfig("battery", "none", AUS.numbers, 64, decoder_filters=(16, 8, 8), neighbors=3)
# These differ from a sibling in numbers alone.
SIBLINGS = set("resnet_v1_101 resnet34 vgg19".split())
SIBLINGS |= set("mobilenet_v2_050 mobilenet_v2_075 mobilenet_v2_100".split())
ONCE = [name for name in BACKBONES if name not in SIBLINGS]
WITH_TINY = [("tiny", network) for network in NETWORKS]
SLICES = {
    "tiny": WITH_TINY,
    "some": list(dict.fromkeys([*WITH_TINY, *zip(ONCE, itertools.cycle(NETWORKS))])),
    "all": list(itertools.product(BACKBONES, NETWORKS)),
}
CHOSEN = os.environ.get("TFAU_BATTERY", "some")
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Where networks lie between one test, or one backend, and the next."""
    path = os.environ.get("TFAU_BATTERY_FOLDER")
    folder = Path(path) if path else tmp_path_factory.mktemp("battery")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def forget():
    """Frees what one pair took before the next."""
    yield
    keras.utils.clear_session()


def reference(backbone, network, folder, examples):
    """The file of a network that has learnt a little, and beside it how it went on; made once."""
    path = folder / f"{backbone}-{network}.keras"
    if not path.exists():
        # An optimiser that is saved on PyTorch has a name that only PyTorch knows.
        assert BACKEND == "tensorflow", f"{path} must be made on TensorFlow first"
        keras.utils.set_random_seed(0)
        row = NETWORKS[network]
        model = row.build(BACKBONES[backbone](64), AUS, CONFIG)
        make_lively(model)
        optimizer = keras.optimizers.SGD(1e-3, 0.9, global_clipnorm=1)
        model.compile(optimizer, row.losses(AUS, CONFIG, None))
        as_the_backend_likes(model)
        # A bias before a normalisation has no effect, and may stay.
        kernels = [weight for weight in model.trainable_weights if len(weight.shape) > 1]
        before = [np.array(kernel) for kernel in kernels]
        step(model, network, examples)
        still = [
            k.path for k, old in zip(kernels, before, strict=True) if (np.array(k) == old).all()
        ]
        assert not still
        model(examples[0], training=True)  # statistics of the weights as they now are
        model.save(path)
        path.with_suffix(".json").write_text(described(model))
        np.savez(path.with_suffix(".npz"), **further(model, network, examples))
    return path


def make_lively(model):
    """Gives a network that has learnt nothing graphs that add something and real statistics."""
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        values = keras.ops.convert_to_numpy(weight)
        if values.std() == 0:
            weight.assign(values + rng.normal(0, 0.1, values.shape))
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics of the next batch are its own
            # Most rectifiers let most through: else the deepest networks, which have learnt
            # nothing, answer to a millionth more light with a thousandth, and so to rounding.
            layer.beta.assign(layer.beta + 1)


def as_the_backend_likes(model):
    """Compiles where eager is slow, and nowhere else: there are few steps to a pair."""
    model.run_eagerly, model.jit_compile = BACKEND == "tensorflow", BACKEND == "jax"


def described(model):
    """What a network is without its weights."""
    return json.dumps([type(model).__name__, model.get_config()])


def step(model, network, examples):
    """Trains on the examples once and returns the loss."""
    images, labels = examples
    truth = {output: labels[label] for output, label in NETWORKS[network].learns.items()}
    loss = float(model.train_on_batch(images, truth, return_dict=True)["loss"])
    assert math.isfinite(loss)
    return loss


def further(model, network, examples):
    """What a network says, and the losses of two more steps."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0  # every backend drops others
    answer = model.predict(examples[0], verbose=0)
    losses = [step(model, network, examples) for _ in range(2)]
    return {**answer, "first_loss": np.array(losses[0]), "second_loss": np.array(losses[1])}


def apart(ours, theirs):
    """The largest difference, as a share of the largest value."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize(("backbone", "network"), SLICES[CHOSEN])
def test_a_network_goes_on_from_its_file(
    backbone, network, folder, examples, tmp_path, record_property
):
    path = reference(backbone, network, folder, examples)
    model = keras.saving.load_model(path)
    as_the_backend_likes(model)
    assert described(model) == path.with_suffix(".json").read_text()
    found = further(model, network, examples)
    with np.load(path.with_suffix(".npz")) as expected:
        assert set(found) == set(expected)
        difference = {name: apart(values, expected[name]) for name, values in found.items()}
    for name, value in difference.items():
        record_property(name, value)
    assert max(difference.values()) <= 1e-4, difference
    # What the optimiser carries over from the file may lead uphill for a step or two.
    lower = (step(model, network, examples) < found["first_loss"] for _ in range(12))
    assert found["second_loss"] < found["first_loss"] or any(lower)

    if BACKEND != "tensorflow":  # which wrote the first file
        model.save(tmp_path / "again.keras")
        again = keras.saving.load_model(tmp_path / "again.keras")
        ours, theirs = (one.weights + one.optimizer.variables for one in (again, model))
        for own, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(
                keras.ops.convert_to_numpy(own), keras.ops.convert_to_numpy(other)
            )


@on_tensorflow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_network_goes_on_with_another_backend(backend, folder, examples):
    if not find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    for backbone, network in WITH_TINY:
        reference(backbone, network, folder, examples)
    environment = {"KERAS_BACKEND": backend, "TFAU_BATTERY": "tiny"}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", __file__, "-k", "from_its_file"],
        env=os.environ | environment | {"TFAU_BATTERY_FOLDER": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


@on_tensorflow
@pytest.mark.parametrize(("backbone", "network"), SLICES["all" if CHOSEN == "all" else "tiny"])
def test_a_network_can_be_exported(backbone, network, folder, examples, record_property):
    pytest.importorskip("ai_edge_quantizer")
    from edge.runtime import Graph
    from export.litert import convert
    from export.quantize import RECIPES, Quantizer

    path = reference(backbone, network, folder, examples)
    crops = examples[0]
    with np.load(path.with_suffix(".npz")) as arrays:
        expected = {name: arrays[name] for name in arrays if not name.endswith("_loss")}
    float_graph = convert(keras.saving.load_model(path, compile=False), 64)
    quantizer = Quantizer(float_graph, {"image": crops.astype("uint8")})
    for recipe in RECIPES:
        graph = Graph(quantizer(recipe))
        answers = [graph(image=crop[None]) for crop in crops]
        assert set(answers[0]) == set(expected)
        difference = max(
            apart(np.concatenate([answer[name] for answer in answers]), values)
            for name, values in expected.items()
        )
        record_property(recipe, difference)
        # Weights that have learnt nothing say little of what fewer bits cost.
        assert difference <= (1e-4 if recipe == "float32" else 1.0), recipe
