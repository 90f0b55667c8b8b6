"""The optimisers by name, and how their rate rises and falls.

Adding an optimiser is adding a row to `OPTIMIZERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import keras
from keras.optimizers import schedules

from tfau.core.names import check_name


class Options(Protocol):
    """What an optimiser may ask for; a `TrainConfig` has it all, and says what it means."""

    @property
    def optimizer(self) -> str:
        """A row of `OPTIMIZERS`."""

    @property
    def learning_rate(self) -> float:
        """Highest rate."""

    @property
    def momentum(self) -> float:
        """Of sgd."""

    @property
    def nesterov(self) -> bool:
        """Of sgd."""

    @property
    def weight_decay(self) -> float:
        """Decoupled from the gradient."""

    @property
    def schedule(self) -> str:
        """One of `SCHEDULES`."""

    @property
    def warmup(self) -> float:
        """Epochs."""

    @property
    def step_epochs(self) -> tuple[int, ...]:
        """After which epochs the rate falls."""

    @property
    def step_factor(self) -> float:
        """By what."""

    @property
    def epochs(self) -> int:
        """Of the whole training."""

    @property
    def clipnorm(self) -> float:
        """0 = off."""

    @property
    def ema(self) -> float:
        """0 = off."""

    @property
    def accumulate(self) -> int:
        """Batches to a step."""


def _sgd(options: Options, **shared: Any) -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(momentum=options.momentum, nesterov=options.nesterov, **shared)


OPTIMIZERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "adamw": lambda _options, **shared: keras.optimizers.AdamW(**shared),
    "adam": lambda _options, **shared: keras.optimizers.Adam(**shared),
    "sgd": _sgd,
}
SCHEDULES = ("cosine", "step", "constant")


def check(options: Options) -> None:
    """Checks what is said of the optimiser.

    Raises:
        ValueError: If a name is unknown, or a number makes no sense.
    """
    check_name("optimizer", options.optimizer, OPTIMIZERS)
    check_name("schedule", options.schedule, SCHEDULES)
    for field in ("learning_rate", "weight_decay", "warmup", "clipnorm", "step_factor"):
        if not getattr(options, field) >= 0:
            raise ValueError(f"`{field}` must be at least 0. Received: {getattr(options, field)}.")
    for field in ("momentum", "ema"):
        if not 0 <= getattr(options, field) < 1:
            raise ValueError(f"`{field}` must lie in [0, 1). Received: {getattr(options, field)}.")
    if options.accumulate < 1:
        raise ValueError(f"`accumulate` must be at least 1. Received: {options.accumulate}.")
    if options.schedule == "step" and not options.step_epochs:
        raise ValueError("A step schedule needs `step_epochs`. Received: none.")
    if list(options.step_epochs) != sorted(set(options.step_epochs)):
        raise ValueError(f"`step_epochs` must rise. Received: {options.step_epochs}.")


@keras.saving.register_keras_serializable("tfau")
class WarmUp(schedules.LearningRateSchedule):  # type: ignore[misc]
    """Rises in a straight line to where another schedule begins, which then follows.

    It is the warm-up of `CosineDecay` without a branch, which TensorFlow would trace for every
    weight: that takes half of the time to the first step.

    Args:
        schedule: What holds after the rise.
        steps: Length of the rise.
    """

    def __init__(self, schedule: schedules.LearningRateSchedule, steps: int) -> None:
        self.schedule, self.steps = schedule, steps

    def __call__(self, step: Any) -> keras.KerasTensor:
        """Returns the rate at a step."""
        step = keras.ops.cast(step, "float32")
        rise = keras.ops.minimum(step / self.steps, 1.0)
        return self.schedule(keras.ops.maximum(step - self.steps, 0.0)) * rise

    def get_config(self) -> dict[str, Any]:
        """Returns what `__init__` takes."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WarmUp:
        """Rebuilds a schedule from `get_config`."""
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["steps"])


def rate(options: Options, steps: int) -> schedules.LearningRateSchedule | float:
    """Returns the rate over the steps of a training.

    Args:
        options: A config.
        steps: Steps of the optimiser in an epoch.
    """
    highest, warm = options.learning_rate, round(options.warmup * steps)
    held: schedules.LearningRateSchedule | float
    if options.schedule == "cosine":
        left = max(options.epochs * steps - warm, 1)
        held = schedules.CosineDecay(highest, decay_steps=left)
    elif options.schedule == "step":
        falls = [epoch * steps - warm for epoch in options.step_epochs]
        values = [highest * options.step_factor**n for n in range(len(falls) + 1)]
        held = schedules.PiecewiseConstantDecay(falls, values)
    elif warm:
        held = schedules.PiecewiseConstantDecay([warm], [highest, highest])
    else:
        return highest
    return WarmUp(held, warm) if warm else held


def optimizer(options: Options, steps: int) -> keras.optimizers.Optimizer:
    """Makes the optimiser of a training.

    Args:
        options: A config.
        steps: Batches in an epoch, a multiple of `options.accumulate`.
    """
    shared: dict[str, Any] = {
        "learning_rate": rate(options, max(steps // options.accumulate, 1)),
        "weight_decay": options.weight_decay or None,
        "clipnorm": options.clipnorm or None,
    }
    if options.ema:
        shared |= {"use_ema": True, "ema_momentum": options.ema}
    if options.accumulate > 1:
        shared["gradient_accumulation_steps"] = options.accumulate
    return OPTIMIZERS[options.optimizer](options, **shared)
