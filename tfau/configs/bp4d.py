"""BP4D, 5 units, 41 people in three folds: our recipe, and the published ones.

    python -m tfds_builders bp4d/intensity --manual-dir WHERE_BP4D_LIES
    python -m tfau.train bp4d --folds all
    python -m tfau.train bp4d_scc_resnet50 --folds all
    python -m tfau.train bp4d_deconv_resnet50 --folds all

`bp4d_scc_resnet50` is the AAAI 2020 paper, as `disfa_scc_resnet50` is on DISFA.
`bp4d_deconv_resnet50` is the network of Facial-Action-Unit-Detection, which is that of the paper
without graphs and with wider deconvolutions. Its published training compares the network with its
own answer, coloured, and so cannot teach anything; here it learns by the paper's recipe.
The paper does not say who is in which fold; this is the list that JAA-Net and its successors use.
Time and scores: not measured, because BP4D is handed out to researchers only.
"""

from dataclasses import replace

from tfau.configs import TrainConfig, disfa

OURS = TrainConfig(
    name="bp4d",
    dataset="bp4d/intensity",
    aus=(6, 10, 12, 14, 17),
    weights="imagenet",
    protocol="bp4d_jaa_3",
    epochs=10,
    batch_size=16,
)
PUBLISHED = replace(
    disfa.PUBLISHED,
    name="bp4d_scc_resnet50",
    dataset=OURS.dataset,
    aus=OURS.aus,
    protocol=OURS.protocol,
)
WITHOUT_GRAPHS = replace(
    PUBLISHED,
    name="bp4d_deconv_resnet50",
    decoder_filters=(256, 256, 256),
    graph_levels=(),
)
CONFIGS = (OURS, PUBLISHED, WITHOUT_GRAPHS)
