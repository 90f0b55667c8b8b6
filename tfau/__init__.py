"""Facial action units from a face: the vocabulary shared by training and edge, and the training."""

__version__ = "0.1.0"
