"""The protocol of Fan, Lam and Li (AAAI 2020) on BP4D: 5 units, 41 people in three folds.

    python -m tfds_builders bp4d/intensity --manual-dir WHERE_BP4D_LIES
    python -m tfau.train bp4d --folds all

The paper does not say who is in which fold; this is the list that JAA-Net and its successors use.
Time and scores: not measured, because BP4D is handed out to researchers only.
"""

from tfau.configs import TrainConfig

CONFIG = TrainConfig(
    name="bp4d",
    dataset="bp4d/intensity",
    aus=(6, 10, 12, 14, 17),
    protocol="bp4d_jaa_3",
    epochs=10,
    batch_size=16,
)
