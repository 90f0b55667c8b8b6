"""Networks, in Keras 3 alone: they train on TensorFlow, JAX or torch."""
