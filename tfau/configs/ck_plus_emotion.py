"""CK+, seven emotions and 14 units at once, ten folds: our recipe, and the published EfficientNet.

    python -m tfds_builders ck_plus/all --manual-dir WHERE_CK_PLUS_LIES
    python -m tfau.train ck_plus_emotion --folds all
    python -m tfau.train ck_plus_emotion_efficientnet --folds all

`ck_plus_emotion_efficientnet` is the network with 15 outputs of Arrotta's Python library for action
units and emotions. What is not repeated: frames of one video in training and test; frames before
the peak, the neutral first one among them, under its labels; an epoch chosen by those who are
tested. The units together weigh as much as the emotion, where there each of the 14 does. Crops are
192 px wide instead of 200, which is no multiple of 32.
Time and scores: not measured, because CK+ is handed out to researchers only.
"""

from tfau.configs import TrainConfig

OURS = TrainConfig(
    name="ck_plus_emotion",
    dataset="ck_plus/all",
    aus=(1, 2, 4, 5, 6, 7, 9, 12, 14, 15, 16, 20, 23, 26),
    protocol="subjects_10",
    network="emotion",
    crop_size=224,
    backbone="efficientnet_b0",
    weights="imagenet",
    epochs=30,
    batch_size=16,
    learning_rate=1e-4,
    balance=0.1,
)
PUBLISHED = TrainConfig(
    name="ck_plus_emotion_efficientnet",
    dataset=OURS.dataset,
    aus=OURS.aus,
    protocol=OURS.protocol,
    network="emotion",
    crop_size=192,
    backbone="efficientnet_b0",
    weights="imagenet",
    epochs=100,
    patience=3,
    batch_size=32,
    optimizer="adam",
    learning_rate=1e-4,
    weight_decay=0.0,
    schedule="constant",
    warmup=0.0,
    clipnorm=0.0,
    augment=False,
    validation=0.1,
)
CONFIGS = (OURS, PUBLISHED)
