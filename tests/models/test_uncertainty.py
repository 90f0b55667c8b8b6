"""Uncertainty on tensors is uncertainty on arrays."""

import numpy as np
from keras import ops

from tfau.core.uncertainty import expected_error, level_deviation


def test_keras_reads_the_same_uncertainty_as_numpy():
    rng = np.random.default_rng(0)
    intensity = rng.uniform(0, 5, (2, 3, 4)).astype("float32")
    table = rng.random((4, 6)).astype("float32")
    table[0], intensity[0, 0, 1] = np.nan, np.nan
    found = expected_error(ops.convert_to_tensor(intensity), ops.convert_to_tensor(table), ops)
    expected = expected_error(intensity, table)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-6)
    levels = np.sort(rng.random((2, 4, 5)).astype("float32"))[..., ::-1].copy()
    found = level_deviation(ops.convert_to_tensor(levels), ops)
    np.testing.assert_allclose(ops.convert_to_numpy(found), level_deviation(levels), atol=1e-5)
