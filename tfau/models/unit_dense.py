"""Dense layers that every action unit has for itself."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("tfau")
class UnitDense(layers.Layer):  # type: ignore[misc]
    """Gives every unit a dense layer of its own, all of them in one product.

    Args:
        units: Number A of action units.
        features: Numbers G that come out for each unit.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        inputs: (B, A, F), or (B, F) that all units share.

    Returns:
        (B, A, G).

    Example:
        >>> tuple(UnitDense(3, 4)(ops.ones((2, 8))).shape)
        (2, 3, 4)
    """

    def __init__(self, units: int, features: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.features = units, features

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights: a kernel (A, F, G) and a bias (A, G)."""
        before = input_shape[-1]
        if before is None or (len(input_shape) == 3 and input_shape[1] != self.units):
            raise ValueError(
                f"`inputs` must be (B, F) or (B, {self.units}, F). Received: {input_shape}."
            )
        # Keras would take the units for pixels of a kernel, and start too small.
        bound = 1 / math.sqrt(before)
        start = keras.initializers.RandomUniform(-bound, bound)
        self.kernel = self.add_weight(
            name="kernel", shape=(self.units, before, self.features), initializer=start
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.units, self.features), initializer="zeros"
        )
        super().build(input_shape)

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Runs the layer."""
        equation = "bf,afg->bag" if len(inputs.shape) == 2 else "baf,afg->bag"
        return ops.einsum(equation, inputs, self.kernel) + self.bias

    def get_config(self) -> dict[str, Any]:
        """Returns what `__init__` takes."""
        return {**super().get_config(), "units": self.units, "features": self.features}
