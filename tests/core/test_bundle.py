"""A model file that says what it is, and a reader that believes no other."""

import io
import json
import zipfile

import numpy as np
import pytest

from tfau.core.action_units import AUSet
from tfau.core.bundle import EdgeBundle
from tfau.core.errors import BundleError

GRAPH = b"\x1c\x00\x00\x00TFL3" + bytes(range(256)) * 20


@pytest.fixture
def bundle():
    errors = [[0.1, 1.0, 0.9, 0.8, 0.7, 0.6], [None] * 6]
    return EdgeBundle(
        AUSet([12, 25]), 128, "float32", expected_error=errors, provenance={"dataset": "none"}
    )


def test_what_is_written_is_read(bundle, tmp_path):
    path = bundle.write(tmp_path / "m.tflite", GRAPH)
    read, graph = EdgeBundle.open(path)
    assert graph == GRAPH
    assert read.graph_sha256
    assert read.describe() | {"graph_sha256": ""} == bundle.describe()
    assert read.codec.size == 32
    assert read.aligner.crop_size == 128
    np.testing.assert_allclose(read.error_table[0], bundle.expected_error[0])
    assert np.isnan(read.error_table[1]).all()


def rewritten(path, change):
    """Changes the description of a model file, and nothing else of it."""
    described = EdgeBundle.read(path).describe()
    change(described)
    content = io.BytesIO(GRAPH)
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("tfau.json", json.dumps(described))
    path.write_bytes(content.getvalue())


def test_a_file_from_before_uncertainty_is_read(bundle, tmp_path):
    path = bundle.write(tmp_path / "m.tflite", GRAPH)
    rewritten(path, lambda described: described["decoder"].pop("expected_error"))
    assert EdgeBundle.read(path).error_table.shape == (2, 6)
    assert np.isnan(EdgeBundle.read(path).error_table).all()


@pytest.mark.parametrize("table", [[[0.1] * 6], [[0.1] * 5] * 2, "much", {"AU12": 1}])
def test_an_error_table_of_another_shape_is_refused(bundle, tmp_path, table):
    path = bundle.write(tmp_path / "m.tflite", GRAPH)
    rewritten(path, lambda described: described["decoder"].update(expected_error=table))
    with pytest.raises(BundleError, match="cannot be read"):
        EdgeBundle.read(path)


def test_the_description_can_be_had_with_any_unzip(bundle, tmp_path):
    path = bundle.write(tmp_path / "m.tflite", GRAPH)
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("tfau.json"))["action_units"] == [12, 25]
    assert path.read_bytes().startswith(GRAPH)


def test_the_same_model_has_the_same_bytes(bundle, tmp_path):
    one = bundle.write(tmp_path / "one.tflite", GRAPH).read_bytes()
    assert bundle.write(tmp_path / "two.tflite", GRAPH).read_bytes() == one


def test_a_failed_write_leaves_what_was_there(bundle, tmp_path):
    path = bundle.write(tmp_path / "m.tflite", GRAPH)
    before = path.read_bytes()
    broken = EdgeBundle(AUSet([12]), 128, "float32", provenance={"x": object()})
    with pytest.raises(TypeError):
        broken.write(path, GRAPH)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.tflite"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "not a TFLite model"),
        (lambda data: b"hello, this is text", "not a TFLite model"),
        (lambda data: GRAPH, "tfau.json"),
        (lambda data: data[:-30], "tfau.json"),
        (lambda data: data[:100] + b"?" + data[101:], "checksum"),
        (lambda data: data.replace(b'"format": 1', b'"format": 7'), "damaged|format 7|tfau.json"),
    ],
)
def test_damaged_files_are_refused(bundle, tmp_path, damage, message):
    path = bundle.write(tmp_path / "m.tflite", GRAPH)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BundleError, match=message):
        EdgeBundle.read(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BundleError, match="no model file"):
        EdgeBundle.read(tmp_path / "none.tflite")
