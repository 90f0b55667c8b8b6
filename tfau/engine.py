"""What turns batches into a trained network, on any device, and says what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfau import checkpoints, devices
from tfau.configs import TrainConfig
from tfau.core.action_units import AUSet
from tfau.core.names import check_name
from tfau.models import backbones, networks, optimizers, quantization

OnBatch = Callable[[int, float], None]
"""Called with the number of batches done in this epoch, and the mean loss."""


def check(config: TrainConfig) -> None:
    """Checks what can be checked of a config without data; ValueError if something is off."""
    devices.check(config.precision, config.jit)
    backbones.named(config.backbone)
    networks.check(config.network, config)
    optimizers.check(config)
    config.check_start()
    if config.quantize:
        check_name("recipe", config.quantize, quantization.RECIPES)


class Trainer:
    """Trains the network of a config, one epoch after the other.

    Args:
        config: What to train, and how.
        aus: Its units.
        steps: Batches in an epoch, a multiple of `config.accumulate`.
        unit_weights: (A,) how much each unit counts in the loss; None = all alike.
        spread: What shares each batch between devices; None = one device does it all.

    Attributes:
        model: What learns.
        kept: The same network in float32 on one device, with the weights after the last epoch, or
            their running average if the config asks for one. This one is scored and kept.

    Raises:
        ValueError: If the backbone's weights cannot be had, or the devices cannot share a batch.
    """

    def __init__(
        self,
        config: TrainConfig,
        aus: AUSet,
        steps: int,
        unit_weights: npt.NDArray[np.floating[Any]] | None = None,
        spread: devices.Spread | None = None,
    ) -> None:
        self.config, self.aus, self.steps = config, aus, steps
        self.network = networks.row(config)
        self._spread = spread or devices.Spread()
        devices.seed(config.seed, deterministic=config.deterministic)
        if config.batch_size % self._spread.count:
            raise ValueError(
                f"`batch_size` must be a multiple of the {self._spread.count} devices. "
                f"Received: {config.batch_size}."
            )
        with self._spread.scope(), devices.computing_in(config.precision):
            start = (
                checkpoints.load(Path(config.finetune) / "model.keras")[0]
                if config.finetune
                else None
            )
            self.model = self._make(self.network, None if start else config.weights)
            if start:
                self.model.set_weights(start.get_weights())
            if config.quantize:
                self.model = quantization.QuantizationAware(self.model)
            self.model.compile(
                optimizers.optimizer(config, steps),
                loss=self.network.losses(aus, config, unit_weights),
                jit_compile=devices.compiled(config.jit),
            )
        self.kept = self._make(networks.NETWORKS[config.network])  # no answers for losses alone
        self.kept.set_weights(quantization.learnt(self.model).get_weights())

    def resume(self, path: Path, log: Callable[[str], None]) -> checkpoints.History:
        """Goes on from a checkpoint, or the one before it if it is damaged.

        Args:
            path: Where `save` wrote.
            log: Told if it was damaged.

        Returns:
            What was measured until then; empty if there is no checkpoint.

        Raises:
            ValueError: If neither checkpoint can be read.
        """
        with self._spread.scope(), devices.computing_in(self.config.precision):
            found = checkpoints.load_newest(path, log)
        if found is None:
            return []
        self.model, history = found
        return history

    def save(self, path: Path, history: checkpoints.History) -> None:
        """Writes all that it takes to go on: network, optimiser, history."""
        checkpoints.save(self.model, path, history, keep_previous=True)

    def epoch(self, batches: tf.data.Dataset, seed: int, on_batch: OnBatch) -> float:
        """Trains on the batches of an epoch.

        Args:
            batches: `(images, {output: labels})`.
            seed: Decides what dropout drops.
            on_batch: Told how far the epoch is.

        Returns:
            The mean loss.

        Raises:
            ValueError: If the loss is no number any more, or a batch does not fit into the memory;
                the sentence says what to do.
        """
        for number, generator in enumerate(_generators(self.model)):
            generator.state.assign([seed, number * 1_000_000])
        watch = _Watch(on_batch)
        try:
            with self._spread.scope():
                # shuffle: the batches come shuffled
                fit = self.model.fit(batches, shuffle=False, verbose=0, callbacks=[watch])
        except _NotANumber:
            images, labels = next(batches.skip(watch.batch - 1).as_numpy_iterator())
            raise ValueError(
                f"The loss of batch {watch.batch} is not a number: {self._blame(images, labels)}. "
                "The epochs before are kept."
            ) from None
        except Exception as error:
            if not devices.is_out_of_memory(error):
                raise
            raise ValueError(self._advice(batches)) from None
        self.kept.set_weights(quantization.learnt(self.model).get_weights())
        for variable, value in zip(self.model.trainable_variables, watch.weights, strict=False):
            variable.assign(value)
        return float(fit.history["loss"][0])

    def _start(self) -> keras.Model:
        """Makes what learns: anew, or from the network of another run."""
        config = self.config
        if config.finetune:
            start, _ = checkpoints.load(Path(config.finetune) / "model.keras")
            model = self._make(self.network)
            model.set_weights(start.get_weights())
        else:
            model = self._make(self.network, config.weights)
        return quantization.QuantizationAware(model) if config.quantize else model

    def _make(self, network: networks.Network, weights: str | None = None) -> keras.Model:
        config = self.config
        options: dict[str, Any] = {"weights": weights} if weights else {}
        try:
            backbone = backbones.named(config.backbone)(config.crop_size, **options)
        except Exception as error:  # what Keras raises when a download fails
            if not weights:
                raise
            raise ValueError(
                f"`--backbone {config.backbone}` cannot be built with --weights {weights}: {error}"
            ) from None
        return network.build(backbone, self.aus, config)

    def _blame(self, images: npt.NDArray[Any], labels: dict[str, npt.NDArray[Any]]) -> str:
        """Says what is wrong with a batch."""
        if not np.isfinite(images).all():
            return "its pictures hold values that are no numbers"
        for output, kind in self.network.learns.items():
            beyond = np.abs(labels[output]) > 1e6  # false for NaN, which is "not coded"
            if beyond.any() and kind in ("points", "presence"):
                column = int(np.argwhere(beyond)[0][1])
                unit = self.aus.names[self.aus.point_owner[column] if kind == "points" else column]
                return f"a label of {unit} is {labels[output][beyond][0]:g}"
        return "its data are in order, so try a lower --learning-rate, or --clipnorm 1"

    def _advice(self, batches: tf.data.Dataset) -> str:
        """Finds, by trying, how many crops fit into the memory at once."""
        size = self.config.batch_size
        images, labels = next(batches.as_numpy_iterator())
        whole = len(images) // size  # crops to a segment, where those are learnt from
        fits = size // 2
        while fits:
            few = slice(fits * whole)
            try:
                self.model.train_on_batch(images[few], {k: v[few] for k, v in labels.items()})
                break
            except Exception as error:
                if not devices.is_out_of_memory(error):
                    raise
            fits //= 2
        says = f"A batch of {size} does not fit into the memory"
        if not fits:
            return f"{says}, nor does a batch of 1: take a smaller --crop-size or --backbone."
        parts = -(-size // fits) * self.config.accumulate
        return f"{says}; --batch-size {fits} --accumulate {parts} learns as much at a step."


def _generators(model: keras.Model) -> Iterator[keras.random.SeedGenerator]:
    """Finds what dropout layers draw from, wherever they are; their files do not remember it."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _generators(layer)
        elif hasattr(layer, "seed_generator"):
            yield layer.seed_generator


class _NotANumber(ArithmeticError):
    """Says that the loss is infinite or NaN."""


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells how far the epoch is, and stops where the loss is no number.

    At its end it notes the weights, if Keras is about to replace them by their running average.
    """

    def __init__(self, report: OnBatch) -> None:
        super().__init__()
        self.report = report
        self.batch = 0
        self.weights: list[npt.NDArray[Any]] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Passes the news on."""
        self.batch = batch + 1
        loss = float((logs or {}).get("loss", 0.0))
        if not np.isfinite(loss):
            raise _NotANumber
        self.report(self.batch, loss)

    def on_epoch_end(self, _epoch: int, _logs: dict[str, float] | None = None) -> None:
        """Notes the weights."""
        optimizer = self.model.optimizer
        if getattr(optimizer, "inner_optimizer", optimizer).use_ema:  # float16 wraps it
            variables = self.model.trainable_variables
            self.weights = [keras.ops.convert_to_numpy(variable) for variable in variables]
