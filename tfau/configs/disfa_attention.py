"""DISFA by attention: our recipe on all labels, and Trend-Aware Supervision on keyframes alone.

    python -m tfds_builders disfa --manual-dir WHERE_DISFA_LIES
    python -m tfau.train disfa_attention --folds all
    python -m tfau.train disfa_attention_resnet34 --folds all --weights resnet34.npz

`disfa_attention_resnet34` is the training of Chen et al. (AAAI 2024): 16 segments of 18 frames to a
step, labels at both ends. Keras has no ImageNet weights of ResNet-34: `tfau.models.weights` says
how to make a file of torchvision's. The pixels are normalised as those weights know them, which the
published code declares and leaves out. Its folds are drawn; who is in them is not said.
`disfa_attention` is `disfa` with another network.
Time and scores: not measured, because DISFA is handed out to researchers only.
"""

from dataclasses import replace

from tfau.configs import TrainConfig, disfa

OURS = replace(disfa.OURS, name="disfa_attention", network="attention")
PUBLISHED = TrainConfig(
    name="disfa_attention_resnet34",
    dataset=OURS.dataset,
    aus=OURS.aus,
    protocol="subjects_3",
    network="attention",
    segment=18,
    backbone="resnet34",
    weights="imagenet",
    epochs=20,
    batch_size=16,
    optimizer="sgd",
    nesterov=True,
    learning_rate=5e-3,
    weight_decay=5e-3,  # there 5e-4, coupled: the momentum makes ten times that of it
    schedule="constant",
    warmup=0.0,
    clipnorm=0.0,
    augment=False,
    validation=0.0,
)
CONFIGS = (OURS, PUBLISHED)
