"""Networks, in Keras 3 alone: no TensorFlow, JAX or torch of their own."""
