"""The protocol of Fan, Lam and Li (AAAI 2020) on DISFA: 12 units, three folds of nine people.

    python -m tfds_builders disfa --manual-dir WHERE_DISFA_LIES
    python -m tfau.train disfa --folds all

The paper does not say who is in which fold; this is the list of Ntinou et al. Time and scores: not
measured, because DISFA is handed out to researchers only.
"""

from tfau.configs import TrainConfig

CONFIG = TrainConfig(
    name="disfa",
    dataset="disfa/intensity",
    aus=(1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26),
    protocol="disfa_ntinou_3",
    epochs=10,
    batch_size=16,
    balance=0.1,
)
