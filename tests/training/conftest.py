"""A prepared tiny set and a run small enough to repeat."""

import dataclasses

import pytest

import tfds_builders
from tfau import configs
from tfau.data.pipeline import PreparedSet


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Folder of prepared sets, with `synthetic_faces/tiny` in it."""
    folder = str(tmp_path_factory.mktemp("tfds"))
    tfds_builders.prepare("synthetic_faces/tiny", folder)
    return folder


@pytest.fixture(scope="session")
def data(data_dir):
    return PreparedSet(tfds_builders.prepare("synthetic_faces/tiny", data_dir))


@pytest.fixture(scope="session")
def small():
    """Three epochs of some seconds: enough for the opening of the mouth, and for nothing else."""
    return dataclasses.replace(
        configs.load("synthetic_tiny"),
        name="small",
        aus=(12, 25, 26),
        crop_size=64,
        decoder_filters=(16, 8, 8),
        epochs=3,
        batch_size=50,
    )
