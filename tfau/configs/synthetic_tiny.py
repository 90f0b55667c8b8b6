"""Learns action units from the embedded rendered faces, on a laptop without a GPU."""

from tfau.configs import TrainConfig

CONFIG = TrainConfig(
    name="synthetic_tiny",
    dataset="synthetic_faces/tiny",
    aus=(1, 2, 4, 9, 10, 12, 15, 17, 25, 26, 45),
    crop_size=128,
    backbone="tiny",
    decoder_filters=(64, 48, 32),
    epochs=22,
    batch_size=32,
    learning_rate=2e-3,
)
