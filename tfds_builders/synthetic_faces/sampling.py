"""What may be in a picture: who, which expression, how turned, in what light; all from seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from tfau.core.action_units import ACTION_UNITS, INTENSITY_MAX
from tfds_builders.synthetic_faces.creases import VARIANTS
from tfds_builders.synthetic_faces.rig import FaceRig, Part, Sides, Skin

if TYPE_CHECKING:
    from tfds_builders.synthetic_faces.wild import Beard, Camera, Glasses

Rng = np.random.Generator
Colour = tuple[float, float, float]
Image = npt.NDArray[np.uint8]

UnitTable = Mapping[int, Mapping[str, float]]

# Weights of the rig's expression units at intensity 5; below, they shrink in proportion.
UNIT_TABLE: dict[int, dict[str, float]] = {
    1: {"browInnerUp": 1.7},
    2: {"browOuterUp": 1.4},
    4: {"browDown": 1.35},
    5: {"eyeWide": 1.5},
    6: {"cheekSquint": 1.25, "eyeSquint": 0.45},
    7: {"eyeSquint": 1.4},
    9: {"noseSneer": 1.6, "mouthUpperUp": 0.30, "browDown": 0.25},
    10: {"mouthUpperUp": 1.5},
    12: {"mouthSmile": 0.80},
    14: {"mouthDimple": 1.7},
    15: {"mouthFrown": 1.5},
    16: {"mouthLowerDown": 1.5},
    17: {"mouthShrugLower": 1.2, "mouthShrugUpper": 0.55},
    18: {"mouthPucker": 1.5},
    20: {"mouthStretch": 1.7},
    22: {"mouthFunnel": 1.0},
    24: {"mouthPress": 1.2, "mouthRollLower": 0.2, "mouthRollUpper": 0.2},
    25: {"mouthClose": -0.35},
    26: {"jawOpen": 0.60},
    28: {"mouthRollLower": 0.9, "mouthRollUpper": 0.9},
    45: {"eyeBlink": 1.0},
}
NUMBERS = tuple(UNIT_TABLE)
PAIRED = frozenset(n for n in NUMBERS if ACTION_UNITS[n].points[0].endswith("_left"))

LIPS_PARTED_AT_5 = 0.28
"""Opening of the lips, over the distance of the outer eye corners, that is AU25 at 5."""

# Each unit with its share of the prototype's strength and the chance that it takes part.
PROTOTYPES: dict[str, tuple[float, dict[int, tuple[float, float]]]] = {
    "smile": (
        3.0,
        {6: (1.0, 0.85), 12: (1.0, 1.0), 25: (0.7, 0.6), 26: (0.4, 0.3), 10: (0.4, 0.15)},
    ),
    "polite smile": (1.0, {12: (0.7, 1.0), 14: (0.6, 0.3), 2: (0.5, 0.2)}),
    "surprise": (
        1.5,
        {1: (1.0, 1.0), 2: (1.0, 1.0), 5: (0.9, 1.0), 26: (0.9, 0.8), 25: (0.5, 0.3)},
    ),
    "anger": (1.5, {4: (1.0, 1.0), 5: (0.6, 0.5), 7: (0.9, 0.9), 24: (0.9, 0.7), 17: (0.6, 0.4)}),
    "disgust": (
        1.5,
        {9: (1.0, 1.0), 10: (0.8, 0.8), 17: (0.7, 0.5), 7: (0.5, 0.3), 15: (0.4, 0.3)},
    ),
    "sadness": (1.5, {1: (1.0, 1.0), 4: (0.7, 0.8), 15: (0.9, 1.0), 17: (0.7, 0.5)}),
    "fear": (
        1.2,
        {1: (1.0, 1.0), 2: (0.8, 0.9), 4: (0.6, 0.7), 5: (1.0, 1.0), 20: (0.9, 0.9)}
        | {25: (0.6, 0.8), 26: (0.4, 0.4)},
    ),
    "contempt": (0.7, {14: (1.0, 1.0), 12: (0.4, 0.4), 10: (0.4, 0.2)}),
    "pain": (
        1.0,
        {4: (1.0, 1.0), 6: (0.9, 0.9), 7: (1.0, 0.9), 9: (0.8, 0.7), 10: (0.7, 0.5)}
        | {45: (1.0, 0.4), 25: (0.6, 0.5)},
    ),
    "speech": (
        1.8,
        {26: (0.6, 0.8), 25: (0.8, 0.7), 22: (0.7, 0.25), 18: (0.7, 0.25), 16: (0.8, 0.4)}
        | {20: (0.5, 0.15), 28: (0.5, 0.06)},
    ),
    "blink": (1.2, {45: (1.3, 1.0)}),
    "thought": (0.6, {4: (0.7, 0.8), 24: (0.8, 0.6), 17: (0.6, 0.5), 15: (0.4, 0.3)}),
}

# How often a unit is drawn on its own: more where the prototypes show it little.
_SPARSE = (
    {1: 0.8, 2: 1.0, 4: 0.5, 5: 1.0, 6: 0.6, 7: 0.9, 9: 0.9, 10: 0.7, 12: 0.7, 14: 1.4, 15: 1.2}
    | {16: 1.5, 17: 1.4, 18: 4.5, 20: 2.3, 22: 4.3, 24: 3.0, 25: 0.7, 26: 1.0, 28: 7.0, 45: 1.1}
)  # fmt: skip

# Of a group a face shows one: muscles that pull the same skin apart, shapes that hide each other.
_EXCLUSIVE = (
    {12, 15, 18, 22, 24, 28},
    {14, 18, 22, 28},
    {20, 18, 22, 24, 28, 12},
    {24, 25, 28},
    {24, 26, 28},
    {10, 28},
    {16, 24, 28, 17},
    {17, 22, 28},
    {5, 45},
    {5, 6},
)


@dataclass(frozen=True)
class Identity:
    """Describes a person.

    Attributes:
        shape: weights of the rig's identity morphs by family and name.
        skins: texture files and their shares in the skin.
        parts: names of the rig's parts: eyes, brows, lashes, teeth, tongue and perhaps hair.
        textures: texture file by kind of part.
        tints: linear RGB by kind: a factor, or for hair and brows the mean colour.
        oil: gloss of the skin, 0 to 1.
        lash_opacity: 0 to 1; the rig's lashes are heavily made up.
        relief: how much folds bend the light, dm.
        crease_depth: how much folds show at intensity 5.
        crease_variant: which drawing of the folds.
        beard, glasses: what this person has of them.
    """

    shape: Mapping[str, Mapping[str, float]]
    skins: Mapping[str, float]
    parts: tuple[str, ...]
    textures: Mapping[str, str]
    tints: Mapping[str, Colour]
    oil: float
    lash_opacity: float
    relief: float
    crease_depth: float
    crease_variant: int
    beard: Beard | None = None
    glasses: Glasses | None = None

    def texture(self, part: Part) -> str:
        """Returns the texture file that this person has on a part."""
        return self.textures[part.kind]


@dataclass(frozen=True)
class Shot:
    """Describes one picture of a person.

    Attributes:
        intensities: (left, right) 0 to 5 by action unit; units left out are 0.
        weights: (left, right) weights of the rig's expression units, gaze included.
        yaw, pitch, roll: degrees; positive turns the nose to the subject's left, the nose down,
            the crown to the subject's right shoulder.
        distance_dm: camera to face.
        fill: side of the aligned crop over side of the frame.
        shift: place of the face in the frame, off its middle, in crop sides.
        key_direction, fill_direction: towards the lights, camera space.
        backdrop: (h, w, 3) RGB picture behind the head.
        grain_seed: seed of the sensor noise.
        camera: what a bad one adds to that.
        cover: what hides a part of the face, a row of `wild.COVERS`.
        cover_seed: how it does.
    """

    intensities: Mapping[int, Sides]
    weights: Mapping[str, Sides]
    yaw: float
    pitch: float
    roll: float
    distance_dm: float
    fill: float
    shift: tuple[float, float]
    key_direction: Colour
    key: Colour
    fill_direction: Colour
    fill_light: Colour
    sky: Colour
    ground: Colour
    backdrop: Image
    blur_px: float
    grain: float
    contrast: float
    white: Colour
    jpeg_quality: int | None
    grain_seed: int
    camera: Camera | None = None
    cover: str = ""
    cover_seed: int = 0

    def labels(self, opening: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Returns the intensities on the left and on the right, (A,) each, in order of `NUMBERS`.

        Args:
            opening: how far the lips are parted beyond rest, over the distance of the outer eye
                corners. AU25 is measured, not set: other units part the lips too.
        """
        lips = min(INTENSITY_MAX, INTENSITY_MAX * opening / LIPS_PARTED_AT_5)
        by_unit = {**self.intensities, 25: (lips, lips)}
        rows = np.array([by_unit.get(n, (0.0, 0.0)) for n in NUMBERS], np.float32)
        return rows[:, 0], rows[:, 1]

    def develop(self, image: Image) -> Image:
        """Adds what a camera adds: blur, colour cast, noise and compression."""
        rng = np.random.default_rng(self.grain_seed)
        if self.camera:
            image = self.camera.see(image)
        pixels: npt.NDArray[np.floating] = image.astype(np.float32)
        if self.blur_px > 0.2:
            pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), self.blur_px), np.float32)
        pixels = (pixels - 118.0) * self.contrast + 118.0
        pixels *= np.array(self.white, np.float32)
        if self.grain > 0:
            grey = rng.standard_normal(image.shape[:2], np.float32)[..., None]
            coarse = rng.standard_normal((image.shape[0] // 2, image.shape[1] // 2, 3), np.float32)
            pixels += self.grain * (grey + 0.7 * cv2.resize(coarse, image.shape[1::-1]))
        result = np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
        if self.jpeg_quality is not None:
            _, data = cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality])
            return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        return np.asarray(result, np.uint8)


# --- People ---------------------------------------------------------------------------------------

_HAIR_COLOURS: dict[str, tuple[tuple[float, Colour], ...]] = {
    "dark": ((0.7, (0.012, 0.010, 0.009)), (0.3, (0.030, 0.019, 0.013))),
    "mixed": (
        (0.2, (0.015, 0.011, 0.009)),
        (0.4, (0.060, 0.033, 0.018)),
        (0.3, (0.220, 0.130, 0.060)),
        (0.1, (0.170, 0.055, 0.020)),
    ),
    "old": ((0.3, (0.09, 0.08, 0.075)), (0.4, (0.26, 0.25, 0.24)), (0.3, (0.5, 0.49, 0.47))),
}
# Left out: the fringes of hair_short03 and hair_braid01 hide an eye or a brow.
_HAIR = {
    "male": ("hair_short01", "hair_short02", "hair_short04"),
    "female": ("hair_long01", "hair_ponytail01", "hair_short01", "hair_short02", "hair_short04"),
}
_PAINTED_SKIN = "young_caucasian_female_special_suit"
_AGE_SHARE_OLD = {"young": (0.0, 0.15), "middleage": (0.2, 0.45), "old": (0.5, 0.8)}

# Details that look like an expression although the rig's index does not say so.
_LOOKS_LIKE_EXPRESSION = (
    *("eyebrows/", "asym/asym-brown", "asym/asym-mouth", "asym/asym-eye", "eye-height", "eye-push"),
    *("eye-eyefold", "eye-corner", "eye-scale", "mouth/mouth-dimples", "mouth/mouth-laugh"),
    *("mouth/mouth-scale", "mouth/mouth-lowerlip-height", "nose/nose-trans", "head/head-trans"),
    *("neck/", "ears/"),
)


def quiet_details(rig: FaceRig) -> list[tuple[str, ...]]:
    """Lists the details that leave a face at rest, each with its mirror image if it has one."""
    about = rig.detail_about

    def loud(name: str) -> bool:
        return "like_unit" in about[name] or any(part in name for part in _LOOKS_LIKE_EXPRESSION)

    groups: list[tuple[str, ...]] = []
    for name in rig.identity["detail"]:
        mirror = about[name].get("mirror")
        if loud(name) or (mirror and (loud(mirror) or mirror < name)):
            continue
        groups.append((name, mirror) if mirror and not name.startswith("asym/") else (name,))
    return groups


def sample_identity(rig: FaceRig, rng: Rng) -> Identity:
    """Draws a person: sex and ancestry even, adults of all ages."""
    sex = str(rng.choice(["female", "male"]))
    ancestry = str(rng.choice(["african", "asian", "caucasian"]))
    fitting = [s for s in rig.skins if s.name != _PAINTED_SKIN and s.ancestry == ancestry]
    own = [s for s in fitting if s.sex == sex]
    skin: Skin = (own or fitting)[rng.integers(len(own or fitting))]
    others = [s for s in rig.skins if s.name != _PAINTED_SKIN and s.sex == sex and s is not skin]
    second = others[rng.integers(len(others))] if others else skin
    mix = float(rng.uniform(0.05, 0.45)) if rng.random() < 0.6 and others else 0.0
    old = float(rng.uniform(*_AGE_SHARE_OLD[skin.age]))

    share = {name: float(v) for name, v in zip(_ANCESTRIES, rng.dirichlet([0.25] * 3), strict=True)}
    share = {name: 0.35 * v for name, v in share.items()}
    share[ancestry] += 0.65 * (1 - mix)
    share[second.ancestry] += 0.65 * mix
    male = rng.uniform(0.75, 1.0) if sex == "male" else rng.uniform(0.0, 0.2)
    sexes = {"female": 1 - male, "male": male}
    ages = {"young": 1 - old, "old": old}
    muscle, weight = (float(np.clip(rng.normal(0, 0.4), -1, 1)) for _ in range(2))
    builds = {
        f"{_corner('muscle', m)}-{_corner('weight', w)}": a * b
        for m, a in _hat(muscle).items()
        for w, b in _hat(weight).items()
    }
    shape = {
        "macro": {
            f"{a}-{s}-{t}": va * vs * vt
            for a, va in share.items()
            for s, vs in sexes.items()
            for t, vt in ages.items()
        },
        "universal": {
            f"{s}-{t}-{b}": vs * vt * vb
            for s, vs in sexes.items()
            for t, vt in ages.items()
            for b, vb in builds.items()
        },
        "detail": _sample_details(rig, rng),
    }

    kinds: dict[str, list[Part]] = {}
    for part in rig.parts.values():
        kinds.setdefault(part.kind, []).append(part)
    hairs = kinds.pop("hair")
    chosen = {kind: parts[rng.integers(len(parts))] for kind, parts in kinds.items()}
    bald = rng.random() < (0.2 if sex == "male" else 0.03)
    if not bald:
        wearable = [part for part in hairs if part.name in _HAIR[sex]]
        chosen["hair"] = wearable[rng.integers(len(wearable))]
    textures = {
        kind: part.textures[rng.integers(len(part.textures))] for kind, part in chosen.items()
    }
    if ancestry != "caucasian" and rng.random() < 0.9:
        textures["eyes"] = f"textures/eyes/{rng.choice(['brown', 'brown', 'brownlight'])}.png"

    palette = "mixed" if ancestry == "caucasian" else "dark"
    if old > 0.3 and rng.random() < old + 0.15:
        palette = "old"
    chances, colours = zip(*_HAIR_COLOURS[palette], strict=True)
    hair = np.array(colours[rng.choice(len(colours), p=chances)]) * rng.uniform(0.7, 1.35)
    brow = hair * rng.uniform(0.4, 0.9)
    brow *= min(1.0, 0.12 / float(brow.max()))
    tone = rng.uniform(0.85, 1.25) * (1.5 if skin.ancestry == "african" else 1.0)
    tint = tone * np.array([rng.uniform(0.95, 1.05), 1.0, rng.uniform(0.92, 1.06)])
    return Identity(
        shape=shape,
        skins={skin.file: 1 - mix, second.file: mix} if mix else {skin.file: 1.0},
        parts=tuple(part.name for part in chosen.values()),
        textures=textures,
        tints={
            "skin": colour(tint),
            "hair": colour(hair),
            "brows": colour(brow),
            "lashes": (0.006, 0.005, 0.005),
            "eyes": colour(np.full(3, rng.uniform(0.75, 1.05))),
            "teeth": colour(rng.uniform(1.0, 1.5) * np.array([1, 0.97, rng.uniform(0.82, 0.95)])),
            "tongue": (0.75, 0.6, 0.6),
        },
        lash_opacity=float(rng.uniform(0.15, 0.45) if sex == "male" else rng.uniform(0.3, 1.0)),
        oil=float(rng.uniform(0.05, 0.4)),
        relief=float(rng.uniform(0.01, 0.03)),
        crease_depth=float(np.clip(rng.normal(0.42 + 0.35 * old, 0.15), 0.15, 0.9)),
        crease_variant=int(rng.integers(VARIANTS)),
    )


_ANCESTRIES = ("african", "asian", "caucasian")


def _hat(value: float) -> dict[str, float]:
    """Splits a value in -1..1 between the corners min, average and max."""
    ends = {"average": 1 - abs(value)}
    ends["max" if value > 0 else "min"] = abs(value)
    return ends


def _corner(kind: str, end: str) -> str:
    return f"{end}{kind}"


def _sample_details(rig: FaceRig, rng: Rng) -> dict[str, float]:
    groups = quiet_details(rig)
    # The bare head scowls; this opens its brows.
    weights: dict[str, float] = {
        "eyebrows/eyebrows-angle-up": float(rng.uniform(0.3, 0.6)),
        "eyebrows/eyebrows-trans-up": float(rng.uniform(0.0, 0.4)),
    }
    for number in rng.choice(len(groups), size=min(26, len(groups)), replace=False):
        group = groups[number]
        if any(rig.detail_about[name].get("opposite") in weights for name in group):
            continue
        largest = 0.2 if group[0].startswith("asym/") else 0.4
        value = float(min(abs(rng.normal(0, 0.18)), largest))
        weights.update(dict.fromkeys(group, value))
    return weights


# --- Expressions ----------------------------------------------------------------------------------


def sample_expression(rng: Rng) -> dict[int, Sides]:
    """Draws the intensities of an expression: a prototype, single units, or both."""
    levels: dict[int, float] = {}
    kind = rng.random()
    if kind < 0.6:
        names = list(PROTOTYPES)
        chances = np.array([PROTOTYPES[name][0] for name in names])
        name = names[rng.choice(len(names), p=chances / chances.sum())]
        strength = 1.5 + 3.5 * rng.beta(1.6, 1.4)
        for unit, (portion, chance) in PROTOTYPES[name][1].items():
            if rng.random() < chance and fits(unit, levels):
                level = strength * portion * rng.uniform(0.7, 1.25)
                levels[unit] = float(min(INTENSITY_MAX, level))
    if kind > 0.35:
        wanted = int(rng.integers(1, 4)) + (kind > 0.6)
        units = np.array(list(_SPARSE))
        chances = np.array(list(_SPARSE.values()))
        order = rng.choice(units, size=len(units), replace=False, p=chances / chances.sum())
        for unit in order.tolist():
            if wanted and unit not in levels and fits(unit, levels):
                levels[unit] = float(0.5 + 4.5 * rng.beta(1.3, 1.2))
                wanted -= 1
    return sided(levels, rng)


def sided(levels: Mapping[int, float], rng: Rng) -> dict[int, Sides]:
    """Makes some units stronger on one side."""
    sides: dict[int, Sides] = {}
    for unit, level in levels.items():
        left = right = level
        if unit in PAIRED and rng.random() < 0.2:
            weaker = level * float(rng.uniform(0.0, 0.6))
            left, right = (level, weaker) if rng.random() < 0.5 else (weaker, level)
        sides[unit] = (left, right)
    return sides


def fits(unit: int, levels: Mapping[int, float]) -> bool:
    """Says whether a face can show a unit beside others."""
    return not any(unit in group and group & levels.keys() for group in _EXCLUSIVE)


def rig_weights(
    intensities: Mapping[int, Sides], table: UnitTable = UNIT_TABLE
) -> dict[str, Sides]:
    """Turns intensities into weights of the rig's expression units."""
    weights: dict[str, Sides] = {}
    for number, (left, right) in intensities.items():
        for name, full in table[number].items():
            old = weights.get(name, (0.0, 0.0))
            weights[name] = (
                old[0] + full * left / INTENSITY_MAX,
                old[1] + full * right / INTENSITY_MAX,
            )
    return weights


# --- Pictures -------------------------------------------------------------------------------------


def sample_shot(rng: Rng, intensities: Mapping[int, Sides], table: UnitTable = UNIT_TABLE) -> Shot:
    """Draws everything about a picture but the person and the expression."""
    weights = rig_weights(intensities, table)
    gaze_side, gaze_up = float(rng.normal(0, 0.25)), float(rng.normal(0, 0.22))
    add(weights, "eyeLookOut", (max(gaze_side, 0.0), max(-gaze_side, 0.0)))
    add(weights, "eyeLookIn", (max(-gaze_side, 0.0), max(gaze_side, 0.0)))
    add(weights, "eyeLookUp", (max(gaze_up, 0.0),) * 2)
    add(weights, "eyeLookDown", (max(-gaze_up, 0.0),) * 2)
    if intensities and rng.random() < 0.15:
        # Movements that no unit here stands for, so that a network does not take them for one.
        side = str(rng.choice(["jawLeft", "jawRight", "mouthLeft", "mouthRight", "jawForward"]))
        add(weights, side, (float(rng.uniform(0.1, 0.5)),) * 2)
    if rng.random() < 0.3 and 26 in intensities and 25 not in intensities:
        # The jaw may drop behind closed lips.
        add(weights, "mouthClose", (weights["jawOpen"][0] * float(rng.uniform(0.5, 1.0)),) * 2)
    weights = _keep_lids_apart(weights)

    warm = float(rng.normal(0, 0.10))
    azimuth, height = rng.uniform(-75, 75), rng.uniform(-5, 60)
    ambient = float(rng.uniform(0.18, 0.55))
    key = float(rng.uniform(0.35, 1.0)) * (1.15 - ambient) / 0.7
    tone = np.array([1 + warm, 1, 1 - warm])
    cool = np.array([1 - 0.6 * warm, 1, 1 + 0.6 * warm])
    backdrop = sample_backdrop(rng)
    around = (backdrop.reshape(-1, 3).mean(axis=0) / 255.0) ** 2.2
    around = 0.6 + 0.4 * around / max(float(around.mean()), 0.02)
    return Shot(
        intensities=dict(intensities),
        weights=weights,
        yaw=clipped(rng, 11, 25),
        pitch=clipped(rng, 7, 15),
        roll=clipped(rng, 4, 10),
        distance_dm=float(np.exp(rng.uniform(np.log(4.5), np.log(15)))),
        fill=float(rng.uniform(0.72, 0.80)),
        shift=(float(rng.normal(0, 0.02)), float(rng.normal(0, 0.02))),
        key_direction=_direction(azimuth, height),
        key=colour(key * tone),
        fill_direction=_direction(-np.sign(azimuth) * rng.uniform(20, 90), rng.uniform(-10, 40)),
        fill_light=colour(float(rng.uniform(0.05, 0.35)) * cool),
        sky=colour(ambient * around * 1.15),
        ground=colour(ambient * around * float(rng.uniform(0.45, 0.9))),
        backdrop=backdrop,
        blur_px=float(max(0.0, rng.normal(0.35, 0.35))),
        grain=float(abs(rng.normal(0.0, 2.5))),
        contrast=float(rng.normal(1.0, 0.08)),
        white=colour(rng.normal(1.0, 0.03, 3) * rng.normal(1.0, 0.07)),
        jpeg_quality=int(rng.integers(55, 92)) if rng.random() < 0.3 else None,
        grain_seed=int(rng.integers(2**31)),
    )


def add(weights: dict[str, Sides], name: str, sides: Sequence[float]) -> None:
    """Adds to the weights of a unit of the rig."""
    old = weights.get(name, (0.0, 0.0))
    weights[name] = (old[0] + sides[0], old[1] + sides[1])


def _keep_lids_apart(weights: dict[str, Sides]) -> dict[str, Sides]:
    """Weakens the blink where squint and downward gaze have closed part of the way already."""
    squint = weights.get("eyeSquint", (0.0, 0.0))
    down = weights.get("eyeLookDown", (0.0, 0.0))
    blink = weights.get("eyeBlink", (0.0, 0.0))
    left, right = (
        b * max(0.3, 1 - 0.30 * s - 0.30 * d) for b, s, d in zip(blink, squint, down, strict=True)
    )
    return {**weights, "eyeBlink": (left, right)}


def sample_backdrop(rng: Rng, size: int = 96) -> Image:
    """Paints what is behind the head: a wall, a gradient, blurred blobs or blurred boxes."""
    base = rng.uniform(15, 225) + rng.normal(0, 12, 3)
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = base
    kind = rng.integers(4)
    across = np.linspace(-1, 1, size, dtype=np.float32)
    slope = (rng.normal(0, 35, (2, 1)) + rng.normal(0, 8, (2, 3))).astype(np.float32)
    canvas += across[:, None, None] * slope[0] + across[None, :, None] * slope[1]
    if kind == 1:
        cells = int(rng.integers(3, 12))
        coarse = rng.normal(0, 40, (cells, cells, 1)) + rng.normal(0, 12, (cells, cells, 3))
        canvas += cv2.resize(coarse.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    elif kind >= 2:
        for _ in range(int(rng.integers(3, 14))):
            corner, far = rng.integers(-10, size, 2), rng.integers(4, size, 2)
            colour = tuple(float(v) for v in rng.uniform(10, 240) + rng.normal(0, 20, 3))
            if kind == 2:
                cv2.rectangle(canvas, corner.tolist(), (corner + far).tolist(), colour, -1)
            else:
                cv2.circle(canvas, corner.tolist(), int(far[0]) // 2, colour, -1)
        softness = float(rng.uniform(0.6, 6))
        canvas[:] = cv2.GaussianBlur(canvas, (0, 0), softness)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def clipped(rng: Rng, spread: float, limit: float) -> float:
    """Draws from a normal distribution, cut off."""
    return float(np.clip(rng.normal(0, spread), -limit, limit))


def _direction(azimuth: float, height: float) -> Colour:
    a, h = np.radians([azimuth, height])
    return float(np.sin(a) * np.cos(h)), float(np.sin(h)), float(np.cos(a) * np.cos(h))


def colour(values: npt.ArrayLike) -> Colour:
    """Makes three numbers of an array."""
    r, g, b = np.asarray(values, float).tolist()
    return r, g, b
