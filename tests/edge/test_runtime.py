"""Graph, AUModel and FaceAnalyzer: from a file to readings, and what is refused."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest

from edge.analyzer import FaceAnalyzer
from edge.face_mesh import MODELS, FaceMesh
from edge.runtime import AUModel, Graph, find_runtime
from edge.warp import crop_face
from tfau.core import AUSet, BundleError, EdgeBundle, MissingExtra

# Places and heights of the bumps of the test model, see `conftest.model_path`.
BUMPS = np.array([[40, 50, 1], [20, 44, 0.5], [31, 47, 0.8], [31, 53, 0.8]])


def member(name: str) -> bytes:
    with zipfile.ZipFile(MODELS) as archive:
        return archive.read(name)


def test_runtime_is_named():
    name, interpreter = find_runtime()
    assert name in ("ai_edge_litert", "tflite_runtime", "tensorflow")
    assert callable(interpreter)


def test_no_runtime_is_one_sentence(monkeypatch):
    monkeypatch.setattr("edge.runtime._RUNTIMES", ("no_such_runtime",))
    with pytest.raises(MissingExtra, match="pip install ai-edge-litert"):
        find_runtime()


def test_graph_without_signature_goes_by_tensor_names():
    graph = Graph(member("face_landmarks_detector.tflite"))
    assert graph.inputs == {"input_12": (1, 256, 256, 3)}
    answer = graph(input_12=np.zeros((1, 256, 256, 3), np.float32))
    assert {name: values.shape for name, values in answer.items()} == graph.outputs


def test_graph_with_signature_goes_by_its_names(model_path):
    _, content = EdgeBundle.open(model_path)
    graph = Graph(content)
    assert graph.inputs == {"image": (1, 64, 64, 3)}
    assert graph.outputs == {"heatmaps": (1, 16, 16, 4)}
    answer = graph(image=np.full((1, 64, 64, 3), 102, np.float32))["heatmaps"]
    assert answer.dtype == np.float32
    assert answer.max() == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(threads):
    graph = Graph(member("face_detector.tflite"), threads=threads)
    image = np.random.default_rng(0).normal(size=(1, 128, 128, 3)).astype("f4")
    one = Graph(member("face_detector.tflite"))(input=image)
    assert np.allclose(graph(input=image)["regressors"], one["regressors"], atol=1e-4)


@pytest.mark.parametrize("content", [b"", b"hello", b"\0\0\0\0TFL3" + b"\0" * 64])
def test_a_broken_graph_is_a_bundle_error(content):
    with pytest.raises(BundleError, match="that graph cannot be run"):
        Graph(content, name="that graph")


def test_batch_is_single(model):
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    together = model(crops)["heatmaps"]
    assert together.shape == (3, 16, 16, 4)
    for crop, maps in zip(crops, together, strict=True):
        assert np.array_equal(model(crop[None])["heatmaps"][0], maps)


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((1, 32, 32, 3), np.uint8),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((1, 64, 64, 3), np.float32),
        np.zeros((0, 64, 64, 3), np.uint8),
    ],
)
def test_other_crops_are_refused(model, crops):
    with pytest.raises(ValueError, match="Received: crops.shape"):
        model(crops)


def test_files_that_are_not_ours_are_refused(tmp_path, model_path):
    path = tmp_path / "model.tflite"
    with pytest.raises(BundleError, match="no model file"):
        AUModel(path)
    whole = model_path.read_bytes()
    for content in (b"", b"hello", whole[:4000], whole[:-30], member("face_detector.tflite")):
        path.write_bytes(content)
        with pytest.raises(BundleError, match=r"model\.tflite"):
            AUModel(path)


def test_a_graph_that_is_not_the_one_described_is_refused(tmp_path, model_path):
    _, graph = EdgeBundle.open(model_path)
    for aus, size, content in (
        ((1,), 64, graph),
        ((12, 25), 96, graph),
        ((12, 25), 64, member("face_blendshapes.tflite")),
    ):
        bundle = EdgeBundle(aus=AUSet(aus), crop_size=size, recipe="float32")
        path = bundle.write(tmp_path / "model.tflite", content)
        with pytest.raises(BundleError, match="does not hold the graph"):
            AUModel(path)


# analyzer


def test_no_face_is_an_empty_list(model, mesh):
    assert FaceAnalyzer(model, mesh).analyze(np.zeros((120, 160, 3), np.uint8)) == []


def test_points_come_back_to_the_frame(model, mesh, astronaut):
    (reading,) = FaceAnalyzer(model, mesh).analyze(astronaut, timestamp_ms=120.0)
    assert reading.success
    assert reading.face.timestamp_ms == 120.0
    assert reading.points.dtype == reading.intensities.dtype == np.float32

    aligner = model.bundle.aligner
    matrix = aligner.matrix(reading.face.mesh)
    in_crop = aligner.transform(reading.points[:4, :2], matrix)
    assert np.abs(in_crop - BUMPS[:, :2]).max() < 0.05

    brightness = crop_face(astronaut, matrix, 64).mean() / 51
    assert np.abs(reading.points[:4, 2] - BUMPS[:, 2] * brightness).max() < 0.01
    # AU12 is the mean of its sides; both points of AU25 are alike.
    assert np.allclose(reading.intensities[:2], np.array([0.75, 0.8]) * brightness, atol=0.01)
    # What the network does not know is read off the lids of the mesh: the eyes are open.
    assert reading.aus.numbers == (12, 25, 43, 45)
    assert reading.intensities[2:].tolist() == [0, 0]
    assert np.isnan(reading.uncertainties).all()  # the file does not know them


def test_a_model_that_knows_its_errors_says_them(tmp_path, model_path, mesh, astronaut):
    bundle, graph = EdgeBundle.open(model_path)
    bundle = replace(bundle, expected_error=[[0, 0.1, 0.2, 0.3, 0.4, 0.5], [None] * 6])
    model = AUModel(bundle.write(tmp_path / "m.tflite", graph))
    (reading,) = FaceAnalyzer(model, mesh).analyze(astronaut)
    assert reading.uncertainties.dtype == np.float32
    assert reading.uncertainties[0] == pytest.approx(reading.intensities[0] / 10, abs=1e-6)
    assert np.isnan(reading.uncertainties[1:]).all()


def test_left_is_the_subject_s_left(model, mesh, astronaut):
    """The subject's left lies at larger x in a picture that is not mirrored."""
    (reading,) = FaceAnalyzer(model, mesh).analyze(astronaut)
    names = list(model.bundle.aus.point_names)
    left, right = names.index("AU12_left"), names.index("AU12_right")
    assert reading.points[left, 0] > reading.points[right, 0]
    assert reading.face.mesh[291, 0] > reading.face.mesh[61, 0]


def test_intensities_stay_between_0_and_5(model, mesh, astronaut):
    bright = np.clip(astronaut.astype(int) + 150, 0, 255).astype(np.uint8)
    (reading,) = FaceAnalyzer(model, mesh).analyze(bright)
    assert 0 <= reading.points[:, 2].min() <= reading.points[:, 2].max() <= 5


def test_reading_does_not_depend_on_the_other_face(model, astronaut):
    pair = np.hstack([astronaut[:256, 96:352], np.zeros((256, 256, 3), np.uint8)])
    crowd = np.hstack([astronaut[:256, 96:352], astronaut[:256, 96:352]])
    with FaceMesh(max_faces=2) as mesh:
        analyzer = FaceAnalyzer(model, mesh)
        (alone,) = analyzer.analyze(pair)
        first, second = sorted(analyzer.analyze(crowd), key=lambda r: r.points[0, 0])
    assert np.allclose(first.intensities, alone.intensities, atol=0.02)
    assert np.allclose(first.intensities, second.intensities, atol=0.02)
