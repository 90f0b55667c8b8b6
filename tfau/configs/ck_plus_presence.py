"""CK+, presence of 10 units, ten folds: our recipe, and AU_Recognition with each of its backbones.

    python -m tfds_builders ck_plus/most_10 --manual-dir WHERE_CK_PLUS_LIES
    python -m tfau.train ck_plus_presence --folds all
    python -m tfau.train ck_plus_presence_vgg16 --folds all
    python -m tfau.train ck_plus_presence_alexnet --folds all --weights alexnet.npz

The published recipes are of the generation behind the table in its README: 10 units and the heads
of that time, by the command that it gives for ResNet-18 and AlexNet (50 epochs of batches of 16),
on a frozen backbone. Keras has no ImageNet weights of AlexNet, ResNet-18 and VGG-16 with batch
normalisation: `tfau.models.weights` says how to make a file of torchvision's.
What is not repeated: folds over pictures, so that one person trains and tests; statistics of the
frozen batch normalisation that went on learning; pixels scaled otherwise than the weights know
them. Inception sees 288 px instead of 299, which is no multiple of 32.
Time and scores: not measured, because CK+ is handed out to researchers only.
"""

from dataclasses import replace

from tfau.configs import TrainConfig

OURS = TrainConfig(
    name="ck_plus_presence",
    dataset="ck_plus/most_10",
    aus=(1, 2, 4, 5, 6, 7, 12, 15, 17, 25),
    protocol="subjects_10",
    network="presence",
    crop_size=224,
    backbone="resnet_v1_50",
    weights="imagenet",
    epochs=30,
    batch_size=16,
    learning_rate=1e-4,
    balance=0.3,
)
_PUBLISHED = TrainConfig(
    name="ck_plus_presence",
    dataset=OURS.dataset,
    aus=OURS.aus,
    protocol=OURS.protocol,
    network="presence",
    crop_size=224,
    weights="imagenet",
    freeze_backbone=True,
    epochs=50,
    batch_size=16,
    optimizer="sgd",
    # There .01, for the sum over the 10 units: here the loss is their mean.
    learning_rate=0.1,
    # There as much, coupled: its momentum makes ten times that of it, its rate a tenth again.
    weight_decay=1e-4,
    schedule="step",
    step_epochs=(10, 20, 30, 40),
    step_factor=0.5,
    warmup=0.0,
    clipnorm=0.0,
    augment=False,
    validation=0.0,
)
CONFIGS = (
    OURS,
    *(
        replace(
            _PUBLISHED,
            name=f"{OURS.name}_{name}",
            backbone=backbone,
            presence_head=head,
            crop_size=288 if name == "inception" else 224,
        )
        for name, backbone, head in (
            ("alexnet", "alexnet", "alexnet_table"),
            ("vgg16", "vgg16", "vgg_table"),
            ("vgg16_bn", "vgg16_bn", "vgg_table"),
            ("vgg19", "vgg19", "vgg_table"),
            ("resnet18", "resnet18", "resnet"),
            ("resnet50", "resnet_v1_50", "resnet"),
            ("resnet101", "resnet_v1_101", "resnet"),
            ("inception", "inception_v3", "inception"),
        )
    ),
)
