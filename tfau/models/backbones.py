"""Feature extractors: raw RGB crop in, feature map at stride 32 out.

Pixel statistics live inside each graph, so nobody outside can get them wrong. Adding a backbone is
adding a function and its row in `BACKBONES`.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers, ops

STRIDE = 32


def tiny(crop_size: int) -> keras.Model:
    """Builds a residual network small enough to train on a laptop in minutes.

    Two 3x3 convolutions per stage, ReLU6 throughout (it quantises well), 1.2 M parameters.

    Args:
        crop_size: Side S of the crop, px; a multiple of 32.

    Returns:
        `keras.Model` from (B, S, S, 3) RGB in [0, 255] to (B, S / 32, S / 32, 256).
    """
    image = keras.Input((crop_size, crop_size, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(image)
    x = _convolve(x, 24, strides=2, name="stem")
    for stage, filters in enumerate((32, 64, 128, 256), start=1):
        shortcut = layers.AveragePooling2D(2, name=f"stage{stage}_pool")(x)
        shortcut = layers.Conv2D(filters, 1, use_bias=False, name=f"stage{stage}_project")(shortcut)
        shortcut = layers.BatchNormalization(name=f"stage{stage}_project_bn")(shortcut)
        x = _convolve(x, filters, strides=2, name=f"stage{stage}_conv1")
        x = _convolve(x, filters, strides=1, name=f"stage{stage}_conv2", activate=False)
        x = layers.Add(name=f"stage{stage}_add")([x, shortcut])
        x = layers.ReLU(6.0, name=f"stage{stage}_relu")(x)
    return keras.Model(image, x, name="tiny")


def resnet_v1_50(crop_size: int, weights: str | None = None) -> keras.Model:
    """Builds the ResNet-50 of `keras.applications`.

    It is the variant with biases and the stride on the first 1x1 convolution of a block.

    Args:
        crop_size: Side S of the crop, px; a multiple of 32.
        weights: None (random), `"imagenet"` (Keras downloads them), or a weights file.

    Returns:
        `keras.Model` from (B, S, S, 3) RGB in [0, 255] to (B, S / 32, S / 32, 2048).
    """
    shape = (crop_size, crop_size, 3)
    image = keras.Input(shape, name="image")
    x = ops.flip(image, axis=-1)  # its weights know BGR minus the ImageNet mean
    x = layers.Rescaling(1.0, offset=[-103.939, -116.779, -123.68], name="normalise")(x)
    network = keras.applications.ResNet50(include_top=False, weights=weights, input_shape=shape)
    return keras.Model(image, network(x), name="resnet_v1_50")


BACKBONES: dict[str, Callable[[int], keras.Model]] = {
    "tiny": tiny,
    "resnet_v1_50": resnet_v1_50,
}


def _convolve(
    x: keras.KerasTensor, filters: int, strides: int, name: str, *, activate: bool = True
) -> keras.KerasTensor:
    x = layers.Conv2D(
        filters,
        3,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if activate else x
