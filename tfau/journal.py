"""What a run tells of each epoch while it trains, for people and for TensorBoard."""

from __future__ import annotations

import csv
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfau.core.files import whole_file


class Journal:
    """Writes `metrics.jsonl`, `metrics.csv`, `maps/` and `tensorboard/` of a run.

    `tensorboard --logdir runs` shows them; to write them, it need not be installed.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self) -> list[dict[str, Any]]:
        """Reads what was measured in each epoch."""
        path = self.folder / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Writes the tables: a row for each epoch, first to last."""
        with whole_file(self.folder / "metrics.jsonl") as path:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with (
            whole_file(self.folder / "metrics.csv") as path,
            path.open("w", newline="") as file,
        ):
            table = csv.DictWriter(file, columns)
            table.writeheader()
            table.writerows(rows)

    def show(self, row: dict[str, Any], panel: npt.NDArray[np.uint8] | None = None) -> None:
        """Adds what is looked at, not read again: curves and a picture.

        Args:
            row: The epoch.
            panel: (H, W, 3) RGB, what the network draws now.
        """
        epoch = row["epoch"]
        for name, value in row.items():
            if name != "epoch":
                self._event(epoch, tag=name, simple_value=value)
        if panel is not None:
            png = tf.io.encode_png(panel).numpy()
            (self.folder / "maps").mkdir(exist_ok=True)
            with whole_file(self.folder / "maps" / f"{epoch:03d}.png") as path:
                path.write_bytes(png)
            height, width, _ = panel.shape
            image = tf.compat.v1.Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=png
            )
            self._event(epoch, tag="maps", image=image)
        self._events.flush()

    @cached_property
    def _events(self) -> Any:
        return tf.summary.create_file_writer(str(self.folder / "tensorboard"))

    def _event(self, epoch: int, **value: Any) -> None:
        # tf.summary.scalar and image want the tensorboard package; the event itself does not.
        summary = tf.compat.v1.Summary(value=[tf.compat.v1.Summary.Value(**value)])
        with self._events.as_default():
            tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=epoch)
