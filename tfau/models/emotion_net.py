"""The network that names an emotion, and beside it the action units that are there."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import layers

from tfau.core.examples import EMOTIONS
from tfau.models.backbone_network import BackboneNetwork


@keras.saving.register_keras_serializable("tfau")
class AUEmotionNet(BackboneNetwork):
    """Estimates which of seven emotions a face shows, and how probable each action unit is.

    Args:
        backbone: `keras.Model` from (S, S, 3) RGB in [0, 255] to (H, W, C) features.
        num_aus: Number A of units; 0 = emotions alone.
        **kwargs: Passed to `keras.Model`, e.g. `name`.

    Call arguments:
        inputs: (B, S, S, 3) RGB in [0, 255].

    Returns:
        `{"emotion": (B, 7)}` probabilities that add up to 1, in the order of `EMOTIONS`; with
        units also `"presence"`, (B, A) probabilities.

    Example:
        >>> import numpy as np
        >>> from tfau.models import backbones
        >>> net = AUEmotionNet(backbones.tiny(64), 14)
        >>> answer = net.predict(np.zeros((2, 64, 64, 3), "uint8"), verbose=0)
        >>> answer["emotion"].shape, answer["presence"].shape
        ((2, 7), (2, 14))

    References:
        Arrotta, "Python library for Action Unit and Emotion recognition with CNNs, SVMs and SVRs",
        https://github.com/lucaArrotta/Python-library-for-Action-Unit-and-Emotion-recognition-with-CNNs-SVMs-and-SVRs:
        there with an EfficientNet-B0 and 14 units.
    """

    ARGUMENTS: ClassVar[tuple[str, ...]] = ("num_aus",)

    def __init__(self, backbone: keras.Model, num_aus: int = 0, **kwargs: Any) -> None:
        # === Functional Model ===
        image = keras.Input(backbone.input_shape[1:], name="image")
        x = layers.GlobalAveragePooling2D(name="pool")(backbone(image))
        x = layers.BatchNormalization(name="bn")(x)
        x = layers.Dropout(0.2, name="dropout")(x)

        def answer(size: int, activation: str, name: str) -> keras.KerasTensor:
            return layers.Dense(size, activation, dtype="float32", name=name)(x)

        outputs = {"emotion": answer(len(EMOTIONS), "softmax", "emotion")}
        if num_aus:
            outputs["presence"] = answer(num_aus, "sigmoid", "presence")
        super().__init__(inputs=image, outputs=outputs, **kwargs)

        # === Config ===
        self.backbone = backbone
        self.num_aus = num_aus
