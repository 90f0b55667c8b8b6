"""What a training runs on: backend, precision, compiler, and how many devices."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tfau.core.names import check_name

PRECISIONS = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}
"""What a network computes in, and what Keras calls it: its weights are float32 always."""
JIT = ("auto", "on", "off")


def check(precision: str, jit: str) -> None:
    """Checks names; ValueError with the nearest if one is unknown."""
    check_name("precision", precision, PRECISIONS)
    check_name("jit", jit, JIT)


def set_up() -> None:
    """Divides the devices between backend and data, and makes float32 mean float32 on them.

    To be called before TensorFlow is used for anything. Calling it again changes nothing.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow" and tf.config.get_visible_devices("GPU"):
        tf.config.set_visible_devices([], "GPU")  # it only feeds, and would take their memory
    if backend == "tensorflow":
        tf.config.experimental.enable_tensor_float_32_execution(False)
        _normalise_in_one_pass()
    elif backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "float32")
    else:
        import torch

        torch.backends.cudnn.allow_tf32 = False


def seed(number: int, *, deterministic: bool) -> None:
    """Makes random numbers repeatable.

    Args:
        number: Seed of everything that draws from a global generator.
        deterministic: Forbid operations that may round differently from run to run.
    """
    keras.utils.set_random_seed(number)
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        torch.use_deterministic_algorithms(deterministic)
    elif deterministic and backend == "tensorflow":
        tf.config.experimental.enable_op_determinism()
    elif deterministic:  # read when a program for the GPU is compiled
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true"


def _normalise_in_one_pass() -> None:
    """Lets batch normalisation learn by TensorFlow's own operation, where Keras uses a dozen.

    A training step on a CPU takes a tenth to a sixth less time by it (ResNet-50, 128 px, one
    thread). Weights, files and answers are what they were.
    """
    layer = keras.layers.BatchNormalization
    if tf.config.list_physical_devices("GPU") or hasattr(layer.call, "__wrapped__"):
        return  # XLA fuses on a GPU
    slow = layer.call

    @functools.wraps(slow)
    def call(
        self: keras.layers.BatchNormalization, inputs: Any, training: Any = None, mask: Any = None
    ) -> Any:
        learns = training and self.trainable and mask is None
        usual = inputs.shape.rank == 4 and self.axis in (-1, 3)
        if not learns or not usual or self.synchronized or self.renorm:
            return slow(self, inputs, training=training, mask=mask)
        channels = inputs.shape[-1]
        normal, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma) if self.scale else tf.ones(channels),
            offset=tf.convert_to_tensor(self.beta) if self.center else tf.zeros(channels),
            mean=tf.zeros(0),
            variance=tf.zeros(0),
            epsilon=self.epsilon,
            is_training=True,
        )
        values = tf.cast(tf.size(inputs) // channels, "float32")
        variance *= (values - 1) / values  # of the batch, as Keras has it
        for moving, seen in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + seen * (1.0 - self.momentum))
        return normal

    layer.call = call


def compiled(jit: str) -> bool:
    """Says whether a training step is compiled as a whole.

    JAX knows no other way. XLA makes TensorFlow several times slower on a CPU.
    """
    if jit != "auto":
        return jit == "on"
    backend = keras.backend.backend()
    return backend == "jax" or (
        backend == "tensorflow" and bool(tf.config.list_physical_devices("GPU"))
    )


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Lets the layers that are made inside compute in a precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(PRECISIONS[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Spread:
    """Shares batches between devices, for networks that are made and trained in its scope.

    With TensorFlow that is `tf.distribute`, with JAX `keras.distribution`; Keras has nothing of the
    kind for torch. All devices are of one host: over several, Keras 3.15 does not get through
    `fit` with TensorFlow.

    Args:
        distribute: If not, its scope changes nothing.

    Attributes:
        count: The number of devices.

    Raises:
        ValueError: If the backend cannot.
    """

    def __init__(self, distribute: bool = False) -> None:
        set_up()
        backend = keras.backend.backend()
        self.count = 1
        self._enter: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
        if not distribute:
            return
        if backend == "tensorflow":
            strategy = _strategy()
            self.count = strategy.num_replicas_in_sync
            self._enter = strategy.scope
        elif backend == "jax":
            data = keras.distribution.DataParallel(auto_shard_dataset=False)
            self.count = data.device_mesh.shape[0]
            self._enter = data.scope
        else:
            raise ValueError(
                f"`--distribute` needs the backend tensorflow or jax. Received: {backend}."
            )

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Returns the context to make, load and train networks in."""
        return self._enter()


def _strategy() -> tf.distribute.Strategy:
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return tf.distribute.MirroredStrategy(
        [device.name for device in tf.config.list_logical_devices(kind)]
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Says whether a backend gave up for want of memory."""
    said = str(error).lower()
    return (
        isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError))
        or "resource_exhausted" in said
        or "out of memory" in said
    )
