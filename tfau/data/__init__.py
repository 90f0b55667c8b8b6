"""From a prepared TFDS folder to batches. TensorFlow lives here."""

from __future__ import annotations

import os


def load_tensorflow() -> None:
    """Imports TensorFlow without its start-up chatter.

    Its libraries write to the process's standard error before any setting can reach them, so that is
    closed for the moment of the import; an exception still comes through.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    null, kept = os.open(os.devnull, os.O_WRONLY), os.dup(2)
    os.dup2(null, 2)
    try:
        import tensorflow as tf

        tf.constant(0)  # looks for devices, which it also talks about
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
