"""A network that learns to be right in 8 bits: it rounds, in training, as an int8 graph will."""

from __future__ import annotations

from typing import Any, Self

import keras
from keras import layers, ops

from tfau.models.channel_graph import ChannelGraphConv

RECIPES = ("static_wi8_ai8",)
"""The export recipes that training can imitate."""

_STEPS = 255
_FORGET = 0.05  # share by which a range shrinks to that of the batch
# What an int8 graph fuses with the operation before it, or does not compute.
_FUSED = (
    layers.Activation,
    layers.BatchNormalization,
    layers.Dropout,
    layers.ReLU,
    layers.Rescaling,
    layers.ZeroPadding2D,
)


@keras.saving.register_keras_serializable("tfau")
class QuantizationAware(keras.Model):  # type: ignore[misc]
    """Answers as a network does whose weights and activations are rounded to 8 bits.

    Gradients pass the rounding as if it were not there. Weights are rounded symmetrically for each
    output channel, activations between the lowest and highest value seen lately. Batch
    normalisation no longer looks at batches: its statistics are those that a graph has folded in.
    Inside a channel graph only the kernels are rounded.

    Args:
        network: The network; its layers are shared, and what is learnt is learnt by it.
        **kwargs: Passed to `keras.Model`, e.g. `name`.

    References:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877.
    """

    def __init__(self, network: keras.Model, **kwargs: Any) -> None:
        rounded: dict[int, tuple[keras.KerasTensor, keras.KerasTensor]] = {}

        def eight_bit(tensor: Any) -> Any:
            if not isinstance(tensor, keras.KerasTensor):
                return tensor
            if id(tensor) not in rounded:
                after = EightBitActivation(name=f"range_{len(rounded)}")(tensor)
                rounded[id(tensor)] = tensor, after
            return rounded[id(tensor)][1]

        def call(operation: Any, *args: Any, **options: Any) -> Any:
            if isinstance(operation, keras.Model):
                return operation(*args, **options)
            if not isinstance(operation, _FUSED):
                args = keras.tree.map_structure(eight_bit, args)
            if not isinstance(operation, layers.Layer) or not operation.weights:
                return operation(*args, **options)
            if isinstance(operation, layers.BatchNormalization | ChannelGraphConv):
                options["training"] = False
            return EightBitKernels(operation, options, name=f"{operation.name}_8bit")(*args)

        graph = keras.models.clone_model(
            network, clone_function=lambda layer: layer, call_function=call, recursive=True
        )
        outputs = {name: eight_bit(tensor) for name, tensor in graph.output.items()}
        super().__init__(inputs=graph.input, outputs=outputs, **kwargs)
        self.network = network

    def get_config(self) -> dict[str, Any]:
        """Returns what `__init__` takes, ready for JSON."""
        return {"network": keras.saving.serialize_keras_object(self.network), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Rebuilds a network from `get_config`."""
        config = dict(config)
        network = keras.saving.deserialize_keras_object(config.pop("network"), custom_objects)
        return cls(network, **config)


class EightBitActivation(layers.Layer):  # type: ignore[misc]
    """Rounds to 256 values between the lowest and the highest seen lately, 0 among them."""

    def build(self, _input_shape: tuple[int | None, ...]) -> None:
        """Makes the range; an empty one has seen nothing yet."""
        self.low, self.high = (
            self.add_weight(name=name, shape=(), initializer="zeros", trainable=False)
            for name in ("low", "high")
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Rounds; in training the range follows the batch, at once where that is wider."""
        if training:
            for end, widest, found in (
                (self.low, ops.minimum, ops.min(inputs)),
                (self.high, ops.maximum, ops.max(inputs)),
            ):
                seen = ops.cast(ops.stop_gradient(found), end.dtype)
                end.assign(widest(widest(seen, end + _FORGET * (seen - end)), 0.0))
        low, high = (ops.cast(end, inputs.dtype) for end in (self.low, self.high))
        step = ops.maximum((high - low) / _STEPS, 1e-9)
        below = ops.round(-low / step)
        inputs = ops.clip(inputs, -below * step, (_STEPS - below) * step)
        return _rounded(inputs, step)


class EightBitKernels(layers.Layer):  # type: ignore[misc]
    """Runs a layer with its kernels rounded to 255 values for each output channel.

    Args:
        layer: The layer.
        options: What to call it with besides its inputs, in training too.
        **kwargs: Passed to `keras.layers.Layer`.
    """

    def __init__(self, layer: layers.Layer, options: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer, self.options = layer, options

    def call(self, *inputs: Any) -> Any:
        """Runs the layer."""
        values = [(variable, self._value(variable)) for variable in self.layer.variables]
        with keras.StatelessScope(state_mapping=values):
            return self.layer(*inputs, **self.options)

    def _value(self, variable: keras.Variable) -> Any:
        value = ops.convert_to_tensor(variable)
        if not _is_kernel(variable):
            return value
        channels: tuple[int, ...] = (len(variable.shape) - 1,)
        if isinstance(self.layer, layers.DepthwiseConv2D):
            channels = (2, 3)
        elif isinstance(self.layer, layers.Conv2DTranspose):
            channels = (2,)
        others = [axis for axis in range(len(variable.shape)) if axis not in channels]
        largest = ops.stop_gradient(ops.max(ops.abs(value), axis=others, keepdims=True))
        return _rounded(value, ops.maximum(largest / (_STEPS // 2), 1e-12))


def learnt(model: keras.Model) -> keras.Model:
    """Returns the network that a model trains: its own, or itself."""
    return model.network if isinstance(model, QuantizationAware) else model


def _is_kernel(variable: keras.Variable) -> bool:
    return bool(variable.trainable) and len(variable.shape) > 1


def _rounded(value: Any, step: Any) -> Any:
    """Rounds to a multiple of a step; the gradient is that of the value itself."""
    return value + ops.stop_gradient(ops.round(value / step) * step - value)
