"""What makes pictures as hard as real ones: beards, glasses, hands, masks, turned heads, cameras.

`sampling` draws people and pictures as in a studio; this takes what it drew and roughens it. The
same seeds give the same studio pictures with and without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from tfau.core.action_units import INTENSITY_MAX
from tfds_builders.synthetic_faces import sampling
from tfds_builders.synthetic_faces.rig import FaceRig, Floats, Ints, Morph, Sides
from tfds_builders.synthetic_faces.sampling import Colour, Identity, Image, Rng, Shot

UNIT_TABLE = sampling.UNIT_TABLE | {
    6: {"cheekSquint": 1.0, "eyeSquint": 0.30, "cheekRaise": 1.0},
    17: {"mouthShrugLower": 1.45, "mouthShrugUpper": 0.55},
}
"""As in `sampling`, but for the cheek, which the rig alone raises too little to see."""

_Mesh = tuple[Floats, Ints]

COVERS = ("", "hand", "mask", "object", "strands", "dark glasses")
"""What may hide a part of the face."""


_RESERVED = {
    *("old_darkskinned_male", "middleage_lightskinned_female2", "old_lightskinned_male2"),
    *("young_lightskinned_male2", "hair_ponytail01", "hair_short04", "brows11", "brows12"),
    *("lashes04", "teeth_shape05"),
}


def half(rig: FaceRig, *, reserved: bool) -> FaceRig:
    """Leaves the skins, hair, brows, lashes and teeth that are never learnt from, or the others.

    What has no reserved kind, such as the eyes, is in both halves.
    """
    kinds = {part.kind for part in rig.parts.values() if part.name in _RESERVED}
    return dataclasses.replace(
        rig,
        skins=tuple(skin for skin in rig.skins if (skin.name in _RESERVED) == reserved),
        parts={
            name: part
            for name, part in rig.parts.items()
            if part.kind not in kinds or (name in _RESERVED) == reserved
        },
    )


def with_cheeks(rig: FaceRig) -> FaceRig:
    """Adds the unit `cheekRaise`: the cheek moves up and out, over the lower lid's edge."""
    side, places = np.array(rig.vertices), rig.vertices[rig.mesh_index]
    halves = []
    for centre, lid in ((346, 374), (117, 145)):
        apart = (side - places[centre]) / (0.24, 0.20, 0.30)
        push = np.exp(-(apart**2).sum(axis=1))
        # What lies above the lid's edge stays; skin only, and not the inside of the mouth.
        push *= np.clip((places[lid, 1] - 0.04 - side[:, 1]) / 0.10, 0, 1)
        push[push < 0.02] = 0
        push[5202:] = 0
        index = np.flatnonzero(push).astype(np.int32)
        delta = push[index, None] * np.array((0.0, 0.10, 0.055))
        halves.append(Morph(index, delta.astype(np.float32)))
    return dataclasses.replace(rig, units={**rig.units, "cheekRaise": (halves[0], halves[1])})


# --- Glasses --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Glasses:
    """Describes a pair of glasses; lengths in shares of the distance of the outer eye corners.

    Attributes:
        width, height: of a lens, half.
        squareness: exponent of the superellipse; 2 is an oval.
        rim: radius of the wire.
        drop: how far below the eyes the lenses sit.
        colour: linear RGB of the frame.
        lens: linear RGB of the glass.
        opacity: of the glass, 0 to 1.
    """

    width: float
    height: float
    squareness: float
    rim: float
    drop: float
    colour: Colour
    lens: Colour
    opacity: float

    def build(self, resting: Floats, rig: FaceRig) -> tuple[_Mesh, _Mesh]:
        """Makes frame and lenses for a face at rest: vertices and triangles of each."""
        mesh = resting[rig.mesh_index]
        unit = float(np.linalg.norm(mesh[33] - mesh[263]))
        front = float(mesh[[6, 197], 2].max()) + 0.03
        tubes: list[_Mesh] = []
        lenses: list[_Mesh] = []
        around = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        inner = []
        for corners, ear, side in (((33, 133), 127, -1), ((263, 362), 356, 1)):
            eye = mesh[list(corners)].mean(axis=0)
            reach = max(front, float(eye[2]) + 0.12 * unit)
            power = 2 / self.squareness
            x = np.sign(np.cos(around)) * np.abs(np.cos(around)) ** power * self.width * unit
            y = np.sign(np.sin(around)) * np.abs(np.sin(around)) ** power * self.height * unit
            # The front is bent a little around the face.
            z = reach - 0.20 * np.abs(eye[0] + x) ** 2 / unit
            ring = np.stack([eye[0] + x, eye[1] - self.drop * unit + y, z], axis=1)
            tubes.append(_tube(ring, self.rim * unit, closed=True))
            corner = 1 + np.arange(len(ring))
            fan = np.stack([np.zeros_like(corner), corner, np.roll(corner, -1)], axis=1)
            centre = ring.mean(axis=0) + np.array((0, 0, 0.02 * unit))
            lenses.append((np.vstack([centre, ring]).astype(np.float32), fan.astype(np.int32)))
            hinge = ring[np.argmax(side * ring[:, 0])] + (0, 0.3 * self.height * unit, 0)
            end = mesh[ear] + (side * 0.02, 0.1 * unit, -0.5 * unit)
            end[1] = hinge[1]
            tubes.append(_tube(np.stack([hinge, end]), self.rim * unit, closed=False))
            inner.append(ring[np.argmin(side * ring[:, 0])] + (0, 0.25 * self.height * unit, 0))
        middle = (inner[0] + inner[1]) / 2 + (0, 0.03 * unit, 0.03 * unit)
        tubes.append(_tube(np.stack([inner[0], middle, inner[1]]), self.rim * unit, closed=False))
        return _joined(tubes), _joined(lenses)


def _tube(line: Floats, radius: float, *, closed: bool) -> _Mesh:
    """Wraps a line of (n, 3) points with a tube of five sides."""
    n, sides = len(line), 5
    if closed:
        along = np.roll(line, -1, axis=0) - np.roll(line, 1, axis=0)
    else:
        along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    up = np.where(np.abs(along[:, 2:]) > 0.9, (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    first = np.cross(along, up)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(along, first)
    angles = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.cos(angles)[:, None, None] * first + np.sin(angles)[:, None, None] * second
    points = (line + radius * ring).transpose(1, 0, 2).reshape(-1, 3)
    steps = np.arange(n if closed else n - 1)
    a = (steps[:, None] * sides + np.arange(sides)).ravel()
    b = (steps[:, None] * sides + np.roll(np.arange(sides), -1)).ravel()
    c, d = (a + sides) % (n * sides), (b + sides) % (n * sides)
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    return points.astype(np.float32), triangles.astype(np.int32)


def _joined(meshes: list[_Mesh]) -> _Mesh:
    starts = np.cumsum([0, *(len(points) for points, _ in meshes)]).tolist()
    triangles = [triangles + start for (_, triangles), start in zip(meshes, starts, strict=False)]
    return np.concatenate([points for points, _ in meshes]), np.concatenate(triangles)


# --- People ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Beard:
    """Describes a painted beard.

    Attributes:
        style: of `_BEARDS`.
        density: 0 to 1.
        grain: size of a hair, texels.
        colour: RGB 0 to 255.
        seed: of its hairs.
    """

    style: str
    density: float
    grain: float
    colour: Colour
    seed: int

    def paint(self, skin: npt.NDArray[np.float32], points: npt.NDArray[np.float64]) -> None:
        """Paints it into a texture.

        Args:
            skin: (h, h, 4) RGBA texture, 0 to 255; changed in place.
            points: (468, 2) mesh points in it, texels.
        """
        side = len(skin)
        mask = np.zeros((side // 2, side // 2), np.float32)
        for outline in _BEARDS[self.style]:
            cv2.fillPoly(mask, [np.round(points[list(outline)] / 2).astype(np.int32)], 1.0)
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), side / 110), np.float32)
        lips = np.zeros_like(mask)
        cv2.fillPoly(lips, [np.round(points[list(_LIPS)] / 2).astype(np.int32)], 1.0)
        mask *= 1 - cv2.GaussianBlur(lips, (0, 0), side / 300)
        mask = np.asarray(cv2.resize(mask, (side, side)), np.float32)
        rng = np.random.default_rng(self.seed)
        noise = rng.standard_normal((side, side), np.float32)
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), self.grain), np.float32)
        noise /= noise.std()
        cover = np.clip(0.5 + 0.6 * noise + 2 * (self.density - 0.6), 0, 1) * mask * self.density
        skin[..., :3] += cover[..., None] * (np.array(self.colour, np.float32) - skin[..., :3])


_LIPS = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91)
_JAW = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)
_MOUSTACHE = (216, 206, 203, 98, 2, 327, 423, 426, 436, 291, 270, 267, 0, 37, 40, 61)
_CHIN = (57, 43, 106, 182, 83, 18, 313, 406, 335, 273, 287, 430, 431, 396, 175, 171, 211, 210)
_BEARDS = {
    "full": (
        (
            *(*_JAW, 401, 435, 416, 434, 432, 436, 426, 423),
            *(2, 203, 206, 216, 212, 214, 192, 215, 177),
        ),
    ),
    "goatee": (_MOUSTACHE, _CHIN),
    "moustache": (_MOUSTACHE,),
    "chin": (_CHIN,),
}


def roughen_identity(identity: Identity, rng: Rng) -> Identity:
    """Gives some men a beard, some people glasses, and most deeper folds."""
    male = any("-male-" in name and v > 0.3 for name, v in identity.shape["macro"].items())
    beard = None
    if male and rng.random() < 0.5:
        style = str(rng.choice(list(_BEARDS), p=[0.55, 0.2, 0.15, 0.1]))
        stubble = style == "full" and rng.random() < 0.6
        tone = np.array(identity.tints["brows"]) ** (1 / 2.2) * 255 * rng.uniform(0.8, 1.3)
        beard = Beard(
            style=style,
            density=float(rng.uniform(0.15, 0.5) if stubble else rng.uniform(0.5, 0.95)),
            grain=float(rng.uniform(0.4, 0.9)),
            colour=sampling.colour(np.clip(tone, 8, 200)),
            seed=int(rng.integers(2**31)),
        )
    glasses = None
    if rng.random() < 0.22:
        dark = rng.random() < 0.12
        grey = rng.uniform(0.005, 0.12)
        frame = grey * (1 + rng.normal(0, 0.25, 3)) * (5.0 if rng.random() < 0.15 else 1.0)
        glasses = Glasses(
            width=float(rng.uniform(0.23, 0.30)),
            height=float(rng.uniform(0.13, 0.24)),
            squareness=float(rng.uniform(2.0, 4.5)),
            rim=float(np.exp(rng.uniform(np.log(0.006), np.log(0.024)))),
            drop=float(rng.uniform(0.02, 0.08)),
            colour=sampling.colour(np.clip(frame, 0.002, 0.8)),
            lens=sampling.colour(rng.uniform(*((0.005, 0.05) if dark else (0.2, 0.6)), 3)),
            opacity=float(rng.uniform(0.75, 0.97) if dark else rng.uniform(0.0, 0.12)),
        )
    depth = min(0.95, identity.crease_depth * float(rng.uniform(0.8, 1.8)))
    return dataclasses.replace(identity, beard=beard, glasses=glasses, crease_depth=depth)


# --- Expressions ----------------------------------------------------------------------------------


def sample_expression(rng: Rng) -> dict[int, Sides]:
    """Draws an expression: as in `sampling`, or a smile with teeth, or many units at once."""
    kind = rng.random()
    if kind < 0.62:
        return sampling.sample_expression(rng)
    levels: dict[int, float] = {}
    if kind < 0.72:
        strength = float(rng.uniform(1.0, 5.0))
        levels = {12: strength, 25: float(min(5.0, strength * rng.uniform(0.5, 1.1)))}
        for unit, chance in ((6, 0.8), (10, 0.3), (26, 0.3), (17, 0.15), (7, 0.2), (4, 0.05)):
            if rng.random() < chance:
                levels[unit] = float(min(INTENSITY_MAX, strength * rng.uniform(0.3, 1.1)))
    else:
        wanted = int(rng.integers(4, 9))
        for unit in rng.permutation(list(sampling.NUMBERS)).tolist():
            if wanted and sampling.fits(unit, levels):
                levels[unit] = float(0.2 + 4.8 * rng.beta(1.1, 1.6))
                wanted -= 1
    return sampling.sided(levels, rng)


def sample_weights(rng: Rng, *, lively: bool = False) -> dict[str, Sides]:
    """Draws the weights of the rig themselves, as a captured face has them.

    Most are a little away from rest, whatever stands against what, and a few far: nobody moves one
    action unit at a time.

    Args:
        rng: What everything is drawn from.
        lively: Whether the mouth is busy, as in somebody who speaks and laughs: whatever moves it
            is up to four times as far from rest.
    """
    weights: dict[str, Sides] = {}
    usual, far = float(rng.uniform(0.03, 0.2)), float(rng.uniform(0.02, 0.25))
    busy = float(rng.uniform(1, 4)) if lively else 1.0
    for name in _CAPTURED:
        paired = name not in _MIDDLE
        draw = rng.random(2)
        mean = usual * busy if name.startswith(("mouth", "jaw")) else usual
        value = float(rng.uniform(0.2, 1.0) if draw[0] < far else rng.exponential(mean))
        if draw[1] < 0.2:
            continue
        lean = np.exp(rng.normal(0, 0.12, 2)) if paired else np.ones(2)
        left, right = np.clip(value * lean, 0, 1).tolist()
        weights[name] = (left, right)
    jaw = weights.get("jawOpen", (0.0, 0.0))[0]
    for one, other in (("jawLeft", "jawRight"), ("mouthLeft", "mouthRight")):
        weights.pop(one if rng.random() < 0.5 else other, None)
    weights["mouthClose"] = (min(weights.get("mouthClose", (0.0, 0.0))[0], jaw),) * 2
    return weights


_BESIDE = ("cheekPuff", "jawForward", "jawLeft", "jawRight", "mouthLeft", "mouthRight")
"""Movements that no unit here stands for, and that faces make all the same."""

_MIDDLE = frozenset(
    {*_BESIDE, "browInnerUp", "jawOpen", "mouthFunnel", "mouthPucker", "mouthClose"}
    | {f"mouth{what}{lip}" for what in ("Roll", "Shrug") for lip in ("Upper", "Lower")}
)
_CAPTURED = tuple(
    sorted({name for names in UNIT_TABLE.values() for name in names} - {"cheekRaise"} | {*_BESIDE})
)


def levels_of(weights: Mapping[str, Sides]) -> dict[int, Sides]:
    """Says which intensities weights of the rig are: `UNIT_TABLE` turned round.

    Args:
        weights: Left and right weight of units of the rig, 0 to 1.

    Returns:
        Left and right intensity, 0 to 5, of every unit but AU25, which the opening of the lips
        says.
    """
    left = {name: list(sides) for name, sides in weights.items()}
    found: dict[int, Sides] = {}
    sharing = (9, 6, 17, 24, 28)  # before those that have one of their weights to themselves
    for unit in (*sharing, *(n for n in UNIT_TABLE if n not in (*sharing, 25))):
        names = UNIT_TABLE[unit]
        main = next(iter(names))
        sides = [5 * max(0.0, v) / names[main] for v in left.get(main, (0.0, 0.0))]
        for name, full in names.items():
            for side in (0, 1):
                if name in left:
                    left[name][side] -= full * min(sides[side], 5.0) / 5
        if unit not in sampling.PAIRED:
            sides = [sum(sides) / 2] * 2
        found[unit] = (min(sides[0], INTENSITY_MAX), min(sides[1], INTENSITY_MAX))
    return found


def with_weights(shot: Shot, weights: Mapping[str, Sides]) -> Shot:
    """Sets the expression of a picture by weights of the rig, and its intensities by them."""
    levels = levels_of(weights)
    both = dict(shot.weights)
    for name, sides in weights.items():
        sampling.add(both, name, sides)
    left, right = levels[6]
    sampling.add(both, "cheekRaise", (left / 5, right / 5))
    return dataclasses.replace(shot, intensities=levels, weights=both)


# --- Pictures -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Camera:
    """Describes a bad camera.

    Attributes:
        resolution: what is left of it, 0 to 1.
        shake: length of the motion blur, px.
        shake_angle: its direction, degrees.
        exposure: factor of the light, before the noise.
        grey: whether it sees in grey, as infrared ones do.
    """

    resolution: float = 1.0
    shake: float = 0.0
    shake_angle: float = 0.0
    exposure: float = 1.0
    grey: bool = False

    def see(self, image: Image) -> Image:
        """Returns what it makes of a picture."""
        pixels = image.astype(np.float32)
        size = image.shape[1::-1]
        if self.grey:
            pixels[:] = (pixels @ np.array([0.6, 0.3, 0.1], np.float32))[..., None]
        if self.shake > 1:
            length = int(np.ceil(self.shake)) | 1
            kernel = np.zeros((length, length), np.float32)
            reach = (
                self.shake
                / 2
                * np.array(
                    [np.cos(np.radians(self.shake_angle)), np.sin(np.radians(self.shake_angle))]
                )
            )
            ends = np.round((length // 2 + np.stack([-reach, reach])) * 16).astype(int).tolist()
            cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
            pixels = np.asarray(cv2.filter2D(pixels, -1, kernel / kernel.sum()), np.float32)
        if self.resolution < 1:
            few = (max(8, round(size[0] * self.resolution)),) * 2
            small = cv2.resize(pixels, few, interpolation=cv2.INTER_AREA)
            pixels = np.asarray(cv2.resize(small, size), np.float32)
        seen: Image = np.clip(pixels * self.exposure + 0.5, 0, 255).astype(np.uint8)
        return seen


def roughen_shot(shot: Shot, rng: Rng, *, calm: bool = False) -> Shot:
    """Turns the head further, spoils the camera and hides a part of some faces.

    Args:
        shot: from `sampling`.
        rng: what everything here is drawn from.
        calm: whether to leave it a good picture of a face seen from the front: what a person is
            calibrated with.
    """
    backdrop = _textured(shot.backdrop, rng)
    if calm:
        return dataclasses.replace(shot, backdrop=backdrop, pitch=0.6 * shot.pitch)
    dim = rng.random() < 0.15
    camera = Camera(
        resolution=float(rng.uniform(0.12, 0.5)) if rng.random() < 0.25 else 1.0,
        shake=float(rng.uniform(2, 9)) if rng.random() < 0.15 else 0.0,
        shake_angle=float(rng.uniform(0, 180)),
        exposure=float(rng.uniform(0.2, 0.6)) if dim else float(rng.uniform(0.8, 1.15)),
        grey=bool(rng.random() < 0.10),
    )
    cover = str(rng.choice(COVERS[1:5], p=[0.5, 0.12, 0.18, 0.2])) if rng.random() < 0.12 else ""
    grain = shot.grain + (float(rng.uniform(2, 9)) if dim else 0.0)
    gaze = float(rng.normal(0, 0.3)) if rng.random() < 0.3 else 0.0
    weights = dict(shot.weights)
    sampling.add(weights, "eyeLookOut", (max(gaze, 0.0), max(-gaze, 0.0)))
    sampling.add(weights, "eyeLookIn", (max(-gaze, 0.0), max(gaze, 0.0)))
    return dataclasses.replace(
        shot,
        weights=weights,
        yaw=sampling.clipped(rng, 18, 40),
        pitch=sampling.clipped(rng, 12, 30),
        roll=sampling.clipped(rng, 6, 15),
        grain=grain,
        white=sampling.colour(np.array(shot.white) * rng.normal(1.0, 0.05, 3)),
        jpeg_quality=int(rng.integers(25, 60)) if rng.random() < 0.15 else shot.jpeg_quality,
        backdrop=backdrop,
        camera=camera,
        cover=cover,
        cover_seed=int(rng.integers(2**31)),
    )


def _textured(backdrop: Image, rng: Rng) -> Image:
    """Adds to some backdrops the clutter of photographs: strength falls with frequency."""
    if rng.random() < 0.5:
        return backdrop
    size = len(backdrop)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    fall = 1 / np.maximum(frequency, 1 / size) ** rng.uniform(0.9, 1.6)
    waves = rng.standard_normal((3, *fall.shape)) + 1j * rng.standard_normal((3, *fall.shape))
    clutter = np.fft.irfft2(fall * waves, (size, size)).transpose(1, 2, 0)
    grey = clutter.mean(axis=2, keepdims=True)
    clutter = grey + rng.uniform(0.05, 0.5) * (clutter - grey)
    clutter *= rng.uniform(15, 60) / clutter.std()
    textured: Image = np.clip(backdrop + clutter, 0, 255).astype(np.uint8)
    return textured


# --- What hides a face ----------------------------------------------------------------------------


def cover_face(image: Image, mesh: Floats, kind: str, seed: int, hair: Colour) -> Image:
    """Draws a hand, a mask, a thing or strands of hair over a face.

    Args:
        image: (S, S, 3) RGB picture.
        mesh: (478, 3) its mesh, px.
        kind: of `COVERS`; "" and dark glasses leave it as it is.
        seed: of everything about it.
        hair: linear RGB.
    """
    if kind not in ("hand", "mask", "object", "strands"):
        return image
    rng = np.random.default_rng(seed)
    points = mesh[:, :2].astype(np.float64)
    unit = float(np.linalg.norm(points[33] - points[263]) + 1e-6)
    unit = max(unit, float(np.linalg.norm(points[10] - points[152])) * 0.55)
    layer: npt.NDArray[np.floating] = image.astype(np.float32)
    alpha = np.zeros(image.shape[:2], np.float32)
    if kind == "hand":
        cheek = [
            image[tuple(np.clip(points[i, ::-1].astype(int), 0, len(image) - 1))]
            for i in (50, 280, 101, 330)
        ]
        skin = np.median(cheek, axis=0) * rng.uniform(0.75, 1.15)
        target = points[int(rng.choice([13, 13, 17, 152, 205, 425, 159, 386, 1, 152]))]
        target = target + rng.normal(0, 0.08 * unit, 2)
        turn = np.radians(rng.choice([90, 60, 120, 20, 160]) + rng.normal(0, 15))
        inward = -np.array([np.cos(turn), np.sin(turn)])  # from outside, mostly below, to the face
        across = np.array([-inward[1], inward[0]])
        count, width = int(rng.integers(1, 5)), unit * rng.uniform(0.17, 0.24)
        palm = target - inward * unit * rng.uniform(0.75, 1.1)
        strokes = [(palm, palm - inward * 2 * unit, width * (count + 1.2))]
        for finger in range(count):
            side = (finger - (count - 1) / 2) * width * 1.03
            tip = target + across * side * rng.uniform(0.9, 1.15)
            tip = tip + inward * unit * rng.normal(0, 0.07)
            strokes.append((tip, palm + across * side, width))
        for start, end, thick in strokes:
            for share in (1.0, 0.85, 0.65, 0.4, 0.2):
                tone = skin * (0.62 + 0.42 * (1 - share**1.5))
                _stroke(layer, start, end, thick * share, tone)
            _stroke(alpha, start, end, thick, 1.0)
    elif kind == "mask":
        outline = [6, 122, 47, 101, 123, 132, 172, 150, 152, 379, 397, 361, 352, 330, 277, 351]
        tone = np.array(
            [(0.92, 0.93, 0.95), (0.55, 0.75, 0.88), (0.10, 0.10, 0.11), rng.uniform(0.1, 0.9, 3)][
                int(rng.integers(4))
            ]
        )
        shape = points[outline] + (0, 0.1 * unit)
        cv2.fillPoly(alpha, [np.round(shape).astype(np.int32)], 1.0)
        folds = 1 - 0.15 * np.abs(np.sin(np.linspace(0, rng.uniform(2, 9) * np.pi, len(image))))
        light = np.clip(cv2.GaussianBlur(image, (0, 0), unit * 0.15).mean(axis=2) / 130, 0.3, 1.3)
        layer = tone * 235 * folds[:, None, None] * light[..., None]
    elif kind == "object":
        target = points[int(rng.choice([13, 17, 152, 50, 280, 10]))] + rng.normal(0, 0.2 * unit, 2)
        sides = (unit * rng.uniform(0.25, 1.2, 2)).tolist()
        box = (target.tolist(), sides, float(rng.uniform(0, 180)))
        tone = rng.uniform(10, 240) + rng.normal(0, 25, 3)
        if rng.random() < 0.5:
            corners = np.round(np.asarray(cv2.boxPoints(box), np.float64)).astype(np.int32)
            cv2.fillPoly(alpha, [corners], 1.0)
        else:
            cv2.ellipse(alpha, box, 1.0, -1)
        slope = np.linspace(-1, 1, len(image))[None, :, None] * rng.uniform(-40, 40)
        layer = tone + slope + np.zeros_like(layer)
    else:
        colour = np.array(hair) ** (1 / 2.2) * 255
        for _ in range(int(rng.integers(4, 40))):
            x = points[10, 0] + rng.normal(0, 0.5 * unit)
            root = np.array([x, points[10, 1] - 0.2 * unit])
            reach = np.array([rng.normal(0, 0.5), rng.uniform(0.4, 1.6)]) * unit
            bend = rng.normal(0, 0.15 * unit, 2)
            t = np.linspace(0, 1, 12)[:, None]
            line = root + t * reach + 4 * t * (1 - t) * bend
            tone = np.clip(colour * rng.uniform(0.7, 1.6), 3, 255)
            thick = max(1, round(unit * rng.uniform(0.006, 0.03)))
            spots = [np.round(line * 16).astype(np.int32)]
            cv2.polylines(layer, spots, False, tone.tolist(), thick, cv2.LINE_AA, 4)
            cv2.polylines(alpha, spots, False, 1.0, thick, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(alpha, (0, 0), max(0.6, 0.006 * unit))[..., None]
    covered: Image = np.clip(image + soft * (layer - image) + 0.5, 0, 255).astype(np.uint8)
    return covered


def _stroke(
    canvas: npt.NDArray[np.floating], start: Floats, end: Floats, thick: float, tone: object
) -> None:
    spots = np.round(np.clip([start, end], -2000, 4000) * 4).astype(int).tolist()
    colour = np.atleast_1d(np.asarray(tone, float)).tolist()
    cv2.line(canvas, spots[0], spots[1], colour, max(1, round(thick)), cv2.LINE_AA, 2)
