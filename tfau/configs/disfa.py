"""DISFA, 12 units, three folds of nine people: our recipe, and that of the AAAI 2020 paper.

    python -m tfds_builders disfa --manual-dir WHERE_DISFA_LIES
    python -m tfau.train disfa --folds all
    python -m tfau.train disfa_scc_resnet50 --folds all

`disfa_scc_resnet50` is the paper of Fan, Lam and Li with what their code (FAU) adds: no
augmentation, no balancing, the last epoch, and the error of the maps alone. It is not the code,
whose graph forgets a transpose (`--node-layout released --neighbors 7`) and which subtracts the
means of RGB from BGR. The maps are of intensities, not of 255 times these; the weight decay is
decoupled. The paper does not say who is in which fold; this is the list of Ntinou et al.
Time and scores: not measured, because DISFA is handed out to researchers only.
"""

from tfau.configs import TrainConfig

OURS = TrainConfig(
    name="disfa",
    dataset="disfa/intensity",
    aus=(1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26),
    weights="imagenet",
    protocol="disfa_ntinou_3",
    epochs=10,
    batch_size=16,
    balance=0.1,
)
PUBLISHED = TrainConfig(
    name="disfa_scc_resnet50",
    dataset=OURS.dataset,
    aus=OURS.aus,
    protocol=OURS.protocol,
    weights="imagenet",
    intensity_weight=0.0,
    epochs=10,
    batch_size=16,
    optimizer="adam",
    learning_rate=5e-4,
    weight_decay=1e-5,
    schedule="step",
    step_epochs=(5,),
    warmup=0.0,
    clipnorm=0.0,
    augment=False,
    validation=0.0,
)
CONFIGS = (OURS, PUBLISHED)
