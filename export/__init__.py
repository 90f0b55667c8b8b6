"""Turns a trained network into `.tflite` files that say what they are, and proves them equal."""
