"""From a prepared TFDS folder to batches. TensorFlow lives here."""
