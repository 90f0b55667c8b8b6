"""What all networks on a backbone share: they are saved as what they were made with."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import keras


class BackboneNetwork(keras.Model):  # type: ignore[misc]
    """Is a functional model on a backbone that knows how it was made.

    A subclass has the attribute `backbone`, and one for each name in `ARGUMENTS`.

    Attributes:
        ARGUMENTS: What `__init__` takes besides the backbone and the name; numbers, words, or
            tuples of them.
    """

    ARGUMENTS: ClassVar[tuple[str, ...]] = ()
    backbone: keras.Model

    def get_config(self) -> dict[str, Any]:
        """Returns what `__init__` takes, ready for JSON."""
        arguments = {name: getattr(self, name) for name in self.ARGUMENTS}
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            **{k: list(v) if isinstance(v, tuple) else v for k, v in arguments.items()},
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Rebuilds a network from `get_config`."""
        config = dict(config)
        backbone = keras.saving.deserialize_keras_object(config.pop("backbone"), custom_objects)
        return cls(backbone, **config)
