"""Formats for machines that do not run TFLite, compared with the network they are made from."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from export.formats import OnnxGraph, SavedModelGraph, onnx_graph, save_saved_model
from tfau.models import backbones
from tfau.models.heatmap_net import AUHeatmapNet

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def network(run_folder) -> keras.Model:
    return keras.saving.load_model(run_folder / "model.keras", compile=False)


def crops(batch: int = 1) -> np.ndarray:
    return RANDOM.integers(0, 256, (batch, 64, 64, 3)).astype(np.float32)


def assert_answers_alike(graph, network: keras.Model, batch: int) -> None:
    image = crops(batch)
    answer = graph(image=image)
    expected = np.asarray(network(image, training=False)["heatmaps"])
    assert list(answer) == ["heatmaps"]
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(answer["heatmaps"], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
def test_onnx_answers_as_the_network(network, batch):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    content = onnx_graph(network, 64, batch)
    assert_answers_alike(OnnxGraph(content, threads=2), network, batch)
    graph = onnx.load_from_string(content).graph
    layers = [node.name for node in graph.node if node.op_type in {"Add", "Mul"}]
    assert [name for name in layers if "_bn" in name] == []


def test_onnx_of_layers_that_share_a_constant():
    """Batch normalisations that are all alike become one constant."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    keras.utils.set_random_seed(0)
    network = AUHeatmapNet(backbones.tiny(64), 4, (8, 8, 8), graph_levels=())
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(np.full(layer.gamma.shape, 2.0))
            layer.beta.assign(np.full(layer.beta.shape, 0.5))
    assert_answers_alike(OnnxGraph(onnx_graph(network, 64)), network, 1)


@keras.saving.register_keras_serializable("tests")
class _Bessel(keras.layers.Layer):
    def call(self, inputs):
        return tf.math.bessel_i0e(inputs)


def test_what_onnx_cannot_do_is_named():
    pytest.importorskip("tf2onnx")
    image = keras.Input((64, 64, 3), name="image")
    with pytest.raises(ValueError, match=r"^ONNX has no operation for BesselI0e\.$"):
        onnx_graph(keras.Model(image, {"heatmaps": _Bessel()(image)}), 64)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_saved_model_answers_as_the_network(network, tmp_path, batch):
    save_saved_model(network, tmp_path / "new" / "model", 64, batch)
    graph = SavedModelGraph(tmp_path / "new" / "model")
    assert_answers_alike(graph, network, batch)
