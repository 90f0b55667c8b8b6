"""Crops with every kind of label."""

import numpy as np
import pytest

from tfau.core.action_units import AUSet
from tfau.models.emotion_net import EMOTIONS

AUS = AUSet([12, 17, 25])


@pytest.fixture(scope="session")
def examples() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Six crops of 64 px, and what any network may learn from them."""
    rng = np.random.default_rng(0)
    points = rng.uniform([5, 5, 0], [58, 58, 5], (6, len(AUS.point_names), 3)).astype("float32")
    labels = {
        "points": points,
        "presence": (AUS.pool(points[..., 2]) > 2.5).astype("float32"),
        "emotion": np.eye(len(EMOTIONS), dtype="float32")[:6],
    }
    # Of noise alone all pictures look alike, and normalisation would blow up what rounding adds.
    patches = rng.integers(0, 200, (6, 4, 4, 3)).repeat(16, axis=1).repeat(16, axis=2)
    return (patches + rng.integers(0, 56, patches.shape)).astype("float32"), labels
