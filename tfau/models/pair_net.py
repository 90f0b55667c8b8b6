"""The network that sees a face beside the same person's face at rest, if it is known."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from tfau.core.faces import MESH_MIRROR, MESH_TO_68, MESH_VERTICES
from tfau.models.backbone_network import BackboneNetwork

_FAR = 4.0  # deviations beyond which a coordinate says no more


@keras.saving.register_keras_serializable("tfau")
class AUPairNet(BackboneNetwork):
    """Estimates action unit intensities from a crop, its mesh, and the person at rest.

    Crop and mesh become features. The features of a person at rest, which the network has given
    earlier, come back in as `neutral`; zeros say that they are not known. So a person is calibrated
    by keeping one vector, and a frame costs no more than without.

    Args:
        backbone: `keras.Model` from (S, S, 3) RGB in [0, 255] to (H, W, C) features; S static.
        num_points: Number P of points.
        channels: Channels of the map that is read place by place.
        seen, shaped: Width of what the crop and the mesh become.
        hidden: Width of the layers behind.
        **kwargs: Passed to `keras.Model`, e.g. `name`.

    Call arguments:
        inputs: `{"image": (B, S, S, 3) RGB in [0, 255], "mesh": (B, 468, 3) in template units, see
            `FaceAligner.aligned_mesh`, "neutral": (B, D)}`.

    Returns:
        `{"intensity": (B, P) in units of 0-5, not clipped; "error": (B, P) the absolute error to
        expect of it; "features": (B, D)}`.
    """

    ARGUMENTS: ClassVar[tuple[str, ...]] = ("num_points", "channels", "seen", "shaped", "hidden")

    def __init__(
        self,
        backbone: keras.Model,
        num_points: int,
        channels: int = 48,
        seen: int = 128,
        shaped: int = 96,
        hidden: int = 192,
        **kwargs: Any,
    ) -> None:
        # === Layers ===
        self_layers = _Halves(num_points, channels, seen, shaped, hidden)
        image = keras.Input(backbone.input_shape[1:], name="image")
        mesh = keras.Input((MESH_VERTICES, 3), name="mesh")
        neutral = keras.Input((seen + shaped,), name="neutral")
        features = ops.concatenate(
            [self_layers.look(backbone(image)), self_layers.feel(mesh)], axis=-1
        )
        intensity, error = self_layers.answers(features, neutral)

        # === Functional Model ===
        super().__init__(
            inputs={"image": image, "mesh": mesh, "neutral": neutral},
            outputs={"intensity": intensity, "error": error, "features": features},
            **kwargs,
        )

        # === Config ===
        self.backbone = backbone
        self.halves = self_layers
        self.num_points = num_points
        self.channels = channels
        self.seen, self.shaped = seen, shaped
        self.hidden = hidden

    def standardise(self, meshes: npt.NDArray[np.float32]) -> None:
        """Tells the network the mean and the spread of (N, 468, 3) meshes, before it learns."""
        flat = meshes.reshape(len(meshes), -1)
        self.halves.standard.set_weights([flat.mean(axis=0), flat.var(axis=0)])

    def both_ways(self, flip_index: npt.NDArray[np.int64]) -> keras.Model:
        """Makes the network that ships: it answers with the mean of a face and its mirror image.

        So a mirrored face swaps sides and changes nothing else. Two crops go through the same
        layers at once.

        Args:
            flip_index: `AUSet.flip_index` of the points.

        Returns:
            A model of what the network takes and answers, for one face (B = 1). Its features, and
            those of the person at rest that it takes, are twice as many: the face's, then those of
            its mirror image.
        """
        ends = {name: (1, *tensor.shape[1:]) for name, tensor in self.input.items()}
        width = ends["neutral"][1]
        ends["neutral"] = (1, 2 * width)
        inputs = {name: keras.Input(batch_shape=shape, name=name) for name, shape in ends.items()}
        turned = ops.take(inputs["mesh"], MESH_MIRROR, axis=1) * np.array((-1, 1, 1), np.float32)
        said = self(
            {
                "image": ops.concatenate([inputs["image"], ops.flip(inputs["image"], axis=2)]),
                "mesh": ops.concatenate([inputs["mesh"], turned]),
                "neutral": ops.reshape(inputs["neutral"], (2, width)),
            }
        )
        outputs = {"features": ops.reshape(said["features"], (1, 2 * width))}
        for name in ("intensity", "error"):
            one, other = ops.split(said[name], 2)
            outputs[name] = 0.5 * (one + ops.take(other, flip_index, axis=1))
        return keras.Model(inputs, {name: outputs[name] for name in self.output}, name="both_ways")

    def lesson(self, dropout: float = 0.1) -> keras.Model:
        """Makes the network that learns, of the same layers.

        A batch holds people at rest among others, and every crop says where: what is known of the
        person at rest comes from the batch itself.

        Args:
            dropout: Share of the features that is hidden from what follows.

        Returns:
            A model of `image`, `mesh`, `senses` (B, 2), 1 or 0: whether crop and mesh are seen;
            `rest` (B,), the row of the person at rest; and `known` (B, 1), whether that is told.
            It answers (B, 3 P + 1): intensities; errors; intensities by the crop alone, and how far
            off it would put landmarks, squared. Without the last two a network that has a mesh
            never learns to see.
        """
        image = keras.Input(self.backbone.input_shape[1:], name="image")
        mesh = keras.Input((MESH_VERTICES, 3), name="mesh")
        senses = keras.Input((2,), name="senses")
        rest = keras.Input((), dtype="int32", name="rest")
        known = keras.Input((1,), name="known")
        halves = self.halves
        seen, felt = halves.look(self.backbone(image)), halves.feel(mesh)
        open_, there = (ops.cast(senses[:, k : k + 1], seen.dtype) for k in (0, 1))
        features = ops.concatenate([seen * open_, felt * there], axis=-1)
        neutral = Rows()([features, rest]) * known
        drop = layers.Dropout(dropout)
        intensity, error = halves.answers(features, neutral, drop)
        sketch = layers.Dense(self.num_points, dtype="float32", name="sketch")(drop(seen))
        places = layers.Dense(3 * len(MESH_TO_68), dtype="float32", name="landmarks")(seen)
        columns = (3 * MESH_TO_68[:, None] + np.arange(3)).ravel()
        wanted = ops.cast(ops.take(halves.standardised(mesh), columns, axis=1), "float32")
        missed = ops.mean(ops.square(places - wanted), axis=-1, keepdims=True)
        answer = ops.concatenate([intensity, error, sketch, missed], axis=-1)
        inputs = {"image": image, "mesh": mesh, "senses": senses, "rest": rest, "known": known}
        return keras.Model(inputs, answer)


@keras.saving.register_keras_serializable("tfau")
class Rows(layers.Layer):  # type: ignore[misc]
    """Picks rows of a batch: (B, D) and (B,) row numbers."""

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        """Runs the layer."""
        values, rows = inputs
        return ops.take(values, rows, axis=0)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> Any:
        """Returns the shape of the values."""
        return input_shape[0]


class _Halves:
    """Keeps the layers before and after the features, so that two models can share them."""

    def __init__(self, num_points: int, channels: int, seen: int, shaped: int, hidden: int) -> None:
        self.narrow = layers.Conv2D(channels, 1, use_bias=False, name="narrow")
        self.narrow_bn = layers.BatchNormalization(momentum=0.95, name="narrow_bn")
        self.places = layers.Dense(seen, use_bias=False, name="places")
        self.places_bn = layers.BatchNormalization(momentum=0.95, name="places_bn")
        self.flat = layers.Reshape((3 * MESH_VERTICES,), name="standard_order")
        # Every coordinate counts from its mean, in units of its spread; see `standardise`.
        self.standard = layers.BatchNormalization(
            center=False, scale=False, epsilon=1e-6, trainable=False, name="standard"
        )
        self.shape = layers.Dense(2 * shaped, use_bias=False, name="shape")
        self.shape_bn = layers.BatchNormalization(momentum=0.95, name="shape_bn")
        self.shape2 = layers.Dense(shaped, use_bias=False, name="shape2")
        self.shape2_bn = layers.BatchNormalization(momentum=0.95, name="shape2_bn")
        self.compare = layers.Dense(hidden, name="compare")
        self.weigh = layers.Dense(hidden // 2, name="weigh")
        self.intensity = layers.Dense(num_points, dtype="float32", name="intensity")
        self.error = layers.Dense(
            num_points,
            activation="softplus",
            dtype="float32",
            bias_initializer=keras.initializers.Constant(-0.5),
            name="error",
        )

    def look(self, maps: keras.KerasTensor) -> keras.KerasTensor:
        """Makes features of the maps of a crop."""
        x = ops.relu6(self.narrow_bn(self.narrow(maps)))
        x = ops.reshape(x, (-1, x.shape[1] * x.shape[2] * x.shape[3]))
        return ops.relu6(self.places_bn(self.places(x)))

    def standardised(self, mesh: keras.KerasTensor) -> keras.KerasTensor:
        """Makes (B, 1404) coordinates that count from their mean, in units of their spread."""
        return ops.clip(self.standard(self.flat(mesh)), -_FAR, _FAR)

    def feel(self, mesh: keras.KerasTensor) -> keras.KerasTensor:
        """Makes features of a mesh."""
        y = ops.relu6(self.shape_bn(self.shape(self.standardised(mesh))))
        return ops.relu6(self.shape2_bn(self.shape2(y)))

    def answers(
        self,
        features: keras.KerasTensor,
        neutral: keras.KerasTensor,
        drop: layers.Layer | None = None,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Makes (B, P) intensities and errors."""
        x = ops.concatenate([features, ops.cast(neutral, features.dtype)], axis=-1)
        x = ops.relu6(self.compare(drop(x) if drop else x))
        x = ops.relu6(self.weigh(x))
        return self.intensity(x), self.error(x)
