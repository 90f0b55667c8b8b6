"""A model file that says what it is, and a reader that believes no other."""

import copy
import io
import json
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from tfau.core.action_units import AUSet
from tfau.core.bundle import FORMAT, EdgeBundle, Golden
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


@pytest.fixture
def whole(bundle):
    """A bundle that says everything."""
    rng = np.random.default_rng(0)
    points = len(bundle.aus.point_names)
    return replace(
        bundle,
        batch=4,
        kept=("stem_relu",),
        calibration={"source": "faces", "crops": 2},
        measured={"passed": True, "icc": {"AU12": None, "mean": 0.5}},
        golden=Golden(
            rng.integers(0, 256, (128, 128, 3), np.uint8),
            rng.random((8, 8, points), np.float32),
            4,
            0.02,
        ),
    )


def test_a_golden_pair_comes_back_as_it_was(whole, tmp_path):
    read = EdgeBundle.read(whole.write(tmp_path / "m.tflite", GRAPH))
    assert (read.batch, list(read.kept)) == (4, ["stem_relu"])
    assert (read.golden.every, read.golden.tolerance) == (4, 0.02)
    assert np.array_equal(read.golden.image, whole.golden.image)
    assert np.array_equal(read.golden.answer, whole.golden.answer)
    assert json.loads(read.to_json(GRAPH)) == read.describe()


def packed(members, graph=GRAPH):
    """Puts members behind a graph."""
    content = io.BytesIO(graph)
    with zipfile.ZipFile(content, "a") as archive:
        for name, member in members:
            archive.writestr(name, member, compress_type=zipfile.ZIP_DEFLATED)
    return content.getvalue()


def rewritten(path, change):
    """Changes the description of a model file, and nothing else of it."""
    described = EdgeBundle.read(path).describe()
    change(described)
    path.write_bytes(packed([("tfau.json", json.dumps(described))]))


def test_a_file_of_format_1_is_read(bundle, tmp_path):
    path = bundle.write(tmp_path / "m.tflite", GRAPH)

    def as_it_was(described):
        described["format"] = 1
        for name in ("batch", "kept", "calibration", "golden"):
            del described[name]

    rewritten(path, as_it_was)
    read = EdgeBundle.read(path)
    assert (read.batch, list(read.kept), read.golden) == (1, [], None)
    assert read.aus == bundle.aus


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (FORMAT + 1, f"has format {FORMAT + 1}, and this version of tfau reads up to"),
        (0, "no known format"),
        (True, "no known format"),
        ("2", "no known format"),
        (None, "no known format"),
    ],
)
def test_another_format_is_refused(bundle, tmp_path, number, message):
    path = bundle.write(tmp_path / "m.tflite", GRAPH)
    rewritten(path, lambda described: described.update(format=number))
    with pytest.raises(BundleError, match=message):
        EdgeBundle.read(path)


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
        (lambda data: data.replace(b'"format": 3', b'"format": 7'), "tfau.json"),
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


# Strangers


def archive_of(members):
    """Makes what a file of ours is, of any members."""
    return lambda data: packed(
        [(name, content) for name, content in members] + [("tfau.json", description_of(data))]
    )


def description_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read("tfau.json")


def bomb(name, size):
    return lambda data: packed([("tfau.json", description_of(data)), (name, b"0" * size)])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (archive_of([("../../evil", b"x")]), "its members are"),
        (archive_of([("/etc/passwd", b"x")]), "its members are"),
        (archive_of([("golden.pkl", b"x")]), "its members are"),
        (archive_of([("tfau.json", b"{}")]), "its members are"),
        (bomb("golden_image.npy", 2**28), "golden_image.npy is larger than"),
        (lambda data: packed([("tfau.json", b" " * 2**27 + b"{}")]), "tfau.json is larger than"),
        (lambda data: packed([("tfau.json", b"[" * 100_000)]), "nested too deeply"),
        (lambda data: packed([("tfau.json", b'{"a": NaN}')]), "NaN is no JSON"),
        (lambda data: packed([("tfau.json", b'{"a": 1e999}')]), "too large"),
        (lambda data: packed([("tfau.json", b'{"a": ' + b"9" * 5000 + b"}")]), "too large"),
        (lambda data: packed([("tfau.json", b'{"a": 1, "a": 2}')]), "a key is there twice"),
        (lambda data: packed([("tfau.json", b"\xff\xfe")]), "tfau.json"),
        (lambda data: packed([("tfau.json", b"[1]")]), "it is \\[1\\]"),
        (lambda data: packed([("tfau.json", b"{}")]), "no known format"),
        (lambda data: packed([("golden_image.npy", b"{}")]), "it has no 'tfau.json'"),
        (lambda data: GRAPH[:4] + b"TFL2" + data[8:], "not a TFLite model"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_a_stranger_may_send_is_refused(bundle, tmp_path, damage, message):
    path = bundle.write(tmp_path / "m.tflite", GRAPH)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BundleError, match=message):
        EdgeBundle.read(path)


def test_a_file_larger_than_any_model_is_not_even_read(tmp_path):
    path = tmp_path / "m.tflite"
    with path.open("wb") as file:
        file.truncate(2**40)  # holds nothing, and takes no room
    with pytest.raises(BundleError, match="larger than any model"):
        EdgeBundle.read(path)


def pickled():
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", pickled(), b"\x93NUMPY\x01\x00v\x00{'descr'" + b"9" * 200]
)
def test_a_golden_pair_that_is_none_is_refused(whole, tmp_path, content):
    path = whole.write(tmp_path / "m.tflite", GRAPH)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["golden_image.npy"] = content
    path.write_bytes(packed(members.items()))
    with pytest.raises(BundleError, match="its golden pair is no uint8 array"):
        EdgeBundle.read(path)


ODD = (
    *(None, True, False, 0, -1, 1, 2**70, 0.5, -1e308, 1e308, "", "x", "\0", "a" * 5000),
    *([], {}, [[]], [None], [{}], {"": None}, [1, 2, 3], ["12"], [[0.1] * 6] * 2),
)


def shaken(described, rng):
    """Changes one thing somewhere in a description."""
    described = copy.deepcopy(described)
    place = described
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = keys[rng.integers(len(keys))]
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.6:
            place = place[key]
            continue
        action = rng.integers(4)
        if action == 0 and isinstance(place, dict):
            del place[key]
        elif action == 1 and isinstance(place, list):
            place.append(ODD[rng.integers(len(ODD))])
        else:
            place[key] = ODD[rng.integers(len(ODD))]
        return described


def damaged(data, rng):
    """Flips, cuts, moves or repeats bytes."""
    content = bytearray(data)
    # Most of what can go wrong lies behind the graph.
    start = len(GRAPH) if rng.random() < 0.8 else 0
    first, last = sorted(rng.integers(start, len(content), 2).tolist())
    action = rng.integers(5)
    if action == 0:
        return bytes(content[:first])
    if action == 1:
        return bytes(content[:first] + content[last:])
    if action == 2:
        return bytes(content[:last] + content[first:])
    few = rng.integers(1, 9) if action == 3 else 1
    for place in rng.integers(start, len(content), few).tolist():
        content[place] = rng.integers(256)
    return bytes(content)


def opened(path):
    """Opens a file, or says in a sentence why not."""
    try:
        bundle, graph = EdgeBundle.open(path)
    except BundleError as error:
        return str(error), None
    assert graph == GRAPH
    return "", bundle


def test_nothing_but_bundle_errors_comes_of_12_000_damaged_files(whole, tmp_path):
    path, rng = tmp_path / "m.tflite", np.random.default_rng(0)
    data = whole.write(path, GRAPH).read_bytes()
    described = EdgeBundle.read(path).describe()
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()][1:]
    read = refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(12_000):
            content = damaged(data, rng)
            if number % 3 == 0:
                text = json.dumps(shaken(described, rng))
                content = packed([("tfau.json", text), *members])
            path.write_bytes(content)
            sentence, bundle = opened(path)
            if bundle is None:
                assert "\n" not in sentence
                assert len(sentence) < 700
                refused += 1
                continue
            assert bundle.codec.size * bundle.stride == bundle.crop_size
            assert bundle.error_table.shape == (len(bundle.aus), 6)
            json.dumps(bundle.describe(), allow_nan=False)
            read += 1
    assert refused > 9_000
    assert read > 500  # provenance may say anything
