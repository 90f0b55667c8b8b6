"""The rewriting that makes graphs fast leaves their answers as they were."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edge.runtime import Graph
from export.litert import convert
from export.prepare import prepare
from tfau.models import backbones
from tfau.models.heatmap_net import AUHeatmapNet

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module", params=[(), (1, 3)])
def network(request):
    keras.utils.set_random_seed(0)
    made = AUHeatmapNet(backbones.tiny(64), 6, (16, 12, 8), graph_levels=request.param)
    for weight in made.weights:  # statistics of batch normalisation among them
        values = np.asarray(weight)
        if values.ndim == 1:
            weight.assign(values + RANDOM.uniform(0.1, 0.5, values.shape))
    return made


def test_answers_are_the_same_and_nothing_is_transposed(network):
    images = RANDOM.integers(0, 256, (5, 64, 64, 3)).astype("float32")
    expected = network(images, training=False)["heatmaps"]
    before = [np.asarray(weight).copy() for weight in network.weights]
    prepared = prepare(network)
    # Which five neighbours a node has may turn on the last bit where graphs are.
    apart = np.abs(np.asarray(prepared(images, training=False)["heatmaps"] - expected))
    assert np.median(apart) <= 1e-5 * np.abs(expected).max()
    assert network.graph_levels or apart.max() <= 1e-4
    for weight, values in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(weight, values)


def test_a_graph_has_no_transposed_convolution(network):
    graph = convert(network, 64)
    model = schema.ModelT.InitFromPackedBuf(graph)
    codes = {code.builtinCode for code in model.operatorCodes}
    assert schema.BuiltinOperator.TRANSPOSE_CONV not in codes
    image = RANDOM.integers(0, 256, (1, 64, 64, 3)).astype("float32")
    expected = np.asarray(network(image, training=False)["heatmaps"])
    apart = np.abs(Graph(graph)(image=image)["heatmaps"] - expected)
    assert np.median(apart) <= 1e-5 * np.abs(expected).max()


def test_other_networks_stay_as_they_are():
    image = keras.Input((64, 64, 3))
    other = keras.Model(image, {"heatmaps": keras.layers.Conv2D(2, 1)(image)})
    assert prepare(other) is other
