"""The network that says which action units are there."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import layers

from tfau.core.names import check_name
from tfau.models.backbone_network import BackboneNetwork
from tfau.models.unit_dense import UnitDense

HEADS: dict[str, tuple[str, tuple[int | str, ...]]] = {
    "alexnet_table": ("flatten", ("dropout", 256, "relu")),
    "alexnet_code": ("flatten", (1024, "dropout", "relu", 128, "dropout", "relu")),
    "vgg_table": ("flatten", (1024, "relu", "dropout", 1024, "relu", "dropout")),
    "vgg_code": ("flatten", (512, "relu", "bn", 128, "relu", "bn")),
    "resnet": ("average", (1024, "relu", "dropout", 512, "relu", "dropout")),
    "inception": ("average", ("dropout", 1024, "relu", "dropout", 512, "relu", "dropout")),
}
"""How features become a vector, and what each unit does with it before its last dense layer.

A number is the width of a dense layer. `_table` heads are those of the published table of scores,
`_code` those of the last published code; of the others there is one generation.
"""


@keras.saving.register_keras_serializable("tfau")
class AUPresenceNet(BackboneNetwork):
    """Estimates how probable each action unit is, by a small network of its own for each.

    Args:
        backbone: `keras.Model` from (S, S, 3) RGB in [0, 255] to (H, W, C) features; static where
            the head flattens them.
        num_aus: Number A of units.
        head: A row of `HEADS`.
        freeze_backbone: Leave the backbone as it is, the statistics of its batch normalisation
            included.
        **kwargs: Passed to `keras.Model`, e.g. `name`.

    Call arguments:
        inputs: (B, S, S, 3) RGB in [0, 255].

    Returns:
        `{"presence": (B, A)}` probabilities.

    Example:
        >>> import numpy as np
        >>> from tfau.models import backbones
        >>> net = AUPresenceNet(backbones.tiny(64), 10, head="vgg_code")
        >>> net.predict(np.zeros((2, 64, 64, 3), "uint8"), verbose=0)["presence"].shape
        (2, 10)

    References:
        AU_Recognition, https://github.com/jiweibo/AU_Recognition: heads on frozen backbones for
        CK+. There batch normalisation of the frozen backbone went on learning.
    """

    ARGUMENTS: ClassVar[tuple[str, ...]] = ("num_aus", "head", "freeze_backbone")

    def __init__(
        self,
        backbone: keras.Model,
        num_aus: int,
        head: str = "resnet",
        freeze_backbone: bool = False,
        **kwargs: Any,
    ) -> None:
        check_name("presence head", head, HEADS)

        # === Functional Model ===
        backbone.trainable = not freeze_backbone
        image = keras.Input(backbone.input_shape[1:], name="image")
        pool, steps = HEADS[head]
        pooling = layers.Flatten if pool == "flatten" else layers.GlobalAveragePooling2D
        x = pooling(name="pool")(backbone(image))
        for number, step in enumerate(steps, start=1):
            name = f"head{number}"
            if isinstance(step, int):
                x = UnitDense(num_aus, step, name=name)(x)
            elif step == "dropout":
                x = layers.Dropout(0.5, name=name)(x)
            elif step == "relu":
                x = layers.ReLU(name=name)(x)
            else:  # every unit normalises each of its features
                shape = x.shape[1:]
                x = layers.BatchNormalization(name=name)(layers.Flatten()(x))
                x = layers.Reshape(shape)(x)
        x = layers.Flatten()(UnitDense(num_aus, 1, dtype="float32", name="score")(x))
        presence = layers.Activation("sigmoid", dtype="float32", name="presence")(x)
        super().__init__(inputs=image, outputs={"presence": presence}, **kwargs)

        # === Config ===
        self.backbone = backbone
        self.num_aus = num_aus
        self.head = head
        self.freeze_backbone = freeze_backbone
