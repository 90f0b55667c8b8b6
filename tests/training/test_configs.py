"""The experiments: each can be found, fits its data set, and makes a network that learns."""

import dataclasses
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from tfau import configs
from tfau.core.action_units import AUSet
from tfau.models import backbones, networks
from tfau.training import Run

KNOWN = {name: configs.load(name) for name in configs.names()}
LICENSED = {name: config for name, config in KNOWN.items() if config.dataset[:5] != "synth"}
PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
SIZE = 64


def small(config):
    """The same network and losses on a backbone and crops that cost nothing."""
    return dataclasses.replace(
        config,
        name="small",
        crop_size=SIZE,
        backbone="tiny",
        weights=None,
        decoder_filters=tuple(filters // 8 for filters in config.decoder_filters),
    )


def decides(config):
    """What of a small config decides its network and losses."""
    names = (
        "network",
        "segment",
        "presence_head",
        "graph_levels",
        "decoder_filters",
        "intensity_weight",
    )
    return tuple(getattr(config, name) for name in names)


DIFFERENT = {decides(small(config)): name for name, config in KNOWN.items()}


def label(kind, config, aus):
    """Labels of two segments, or of two crops."""
    rng = np.random.default_rng(0)
    crops = 4 * config.segment or 2
    if kind == "points":
        points = rng.uniform(0, SIZE, (crops, len(aus.point_names), 3))
        return np.concatenate([points[..., :2], points[..., 2:] * 5 / SIZE], axis=-1)
    if kind == "presence":
        return rng.integers(0, 2, (crops, len(aus)))
    if kind == "emotion":
        return np.eye(7)[:crops]
    # A keyframe at both ends of each segment, then mixtures, whose intensity nobody knows.
    intensity = np.full((2, 2 * config.segment, len(aus)), np.nan)
    intensity[:, 0], intensity[:, config.segment - 1] = 0, 3
    own = np.arange(2 * config.segment) % config.segment
    person = np.broadcast_to([[0], [1]], (2, len(own)))
    columns = [person, np.broadcast_to(own, person.shape), np.ones(person.shape)]
    return np.concatenate([intensity, np.stack(columns, axis=-1)], axis=-1).reshape(crops, -1)


@pytest.mark.parametrize("name", KNOWN)
def test_a_config_is_accepted(name):
    config = KNOWN[name]
    assert config.name == name
    Run.check(config)


@pytest.mark.parametrize("name", LICENSED)
def test_a_data_set_codes_the_units_of_its_config(name):
    base, _, kind = KNOWN[name].dataset.partition("/")
    layout = importlib.import_module(f"tfds_builders.{base}.layout")
    assert set(KNOWN[name].aus) <= set(layout.UNITS[kind])


def test_no_name_is_given_twice():
    folder = Path(configs.__file__).parent
    files = [f"{configs.__name__}.{path.stem}" for path in folder.glob("[!_]*.py")]
    count = sum(len(importlib.import_module(file).CONFIGS) for file in files)
    assert count == len(KNOWN)


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(ValueError, match="'disfa_scc'. Nearest: disfa, disfa_scc_resnet50. Known"):
        configs.load("disfa_scc")


def test_nothing_is_frozen_that_knows_nothing():
    frozen = [config for config in KNOWN.values() if config.freeze_backbone]
    assert len(frozen) == 8
    assert all(config.weights for config in frozen)


def test_weights_that_cannot_be_downloaded_have_a_command():
    for name, config in KNOWN.items():
        row = re.search(rf"^{config.backbone} .*", backbones.__doc__, re.MULTILINE)[0]
        if config.weights == "imagenet" and "Keras" not in row:
            assert re.search(
                rf"^\| `{name}` .*`--weights {config.backbone}.npz`", PAGE, re.MULTILINE
            )


@pytest.mark.parametrize("name", DIFFERENT.values())
def test_a_network_learns_from_its_labels(name):
    config = small(KNOWN[name])
    aus, network = AUSet(config.aus), networks.row(config)
    model = network.build(backbones.tiny(SIZE), aus, config)
    losses = network.losses(aus, config, np.ones(len(aus)))
    assert losses.keys() == network.learns.keys()
    labels = {
        out: label(kind, config, aus).astype("float32") for out, kind in network.learns.items()
    }
    crops = len(next(iter(labels.values())))
    images = np.random.default_rng(1).uniform(0, 255, (crops, SIZE, SIZE, 3)).astype("float32")
    answer = model(images, training=True)
    values = [float(np.mean(losses[out](labels[out], answer[out]))) for out in network.learns]
    assert np.isfinite(values).all()
    assert sum(values) > 0


def test_the_page_of_recipes_lists_every_one():
    assert sorted(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == sorted(LICENSED)
