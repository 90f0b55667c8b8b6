"""Draws answers on pictures. Every annotator takes RGB and readings and returns a new picture."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from tfau.core import AUReading, AUSet, FaceFrame
from tfau.core.action_units import INTENSITY_MAX

Image = npt.NDArray[np.uint8]
Color = tuple[int, int, int]

# One colour for each face, the same in its mesh and in its bars.
_FACES: tuple[Color, ...] = (
    (64, 224, 208),
    (255, 176, 59),
    (186, 140, 255),
    (120, 220, 110),
    (255, 120, 140),
    (110, 170, 255),
)
_PANEL: Color = (17, 21, 27)
_TRACK: Color = (38, 45, 55)
_GRID: Color = (62, 72, 86)
_TEXT: Color = (232, 236, 241)
_FAINT: Color = (139, 150, 165)

# fmt: off
CLOSED = (
    (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
     148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),  # outline
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),  # right eye
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),  # left eye
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),  # right brow
    (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),  # left brow
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
)
OPEN = ((168, 6, 197, 195, 5, 4), (98, 97, 2, 326, 327))                                # nose
_IRISES = ((469, 470, 471, 472), (474, 475, 476, 477))
# fmt: on
_EYE_CORNERS = (33, 263)
_BUMP = 0.14  # width of a bump where the network draws none, distances of the outer eye corners
_SUBPIXEL = 4  # bits after the point in OpenCV's drawing coordinates: no jumping in a video


class Annotator(ABC):
    """Draws readings on a picture."""

    @abstractmethod
    def annotate(self, image: Image, readings: Sequence[AUReading]) -> Image:
        """Returns a new (H, W, 3) uint8 RGB picture; the given one stays as it is."""


class MeshAnnotator(Annotator):
    """Draws the outlines of the face and the vertices of its mesh.

    Args:
        opacity: 0 to 1.
    """

    def __init__(self, opacity: float = 0.6) -> None:
        self.opacity = opacity

    def annotate(self, image: Image, readings: Sequence[AUReading]) -> Image:
        """Returns the picture with the mesh of every face that has one."""
        dots, lines = image.copy(), image.copy()
        for reading in readings:
            if reading.face is None:
                continue
            points = reading.face.mesh[:, :2]
            color = _color(reading.face)
            unit = _eye_distance(reading.face)
            for point in points[:468]:
                cv2.circle(
                    dots, _fixed(point), _fixed(unit * 0.008), color, -1, cv2.LINE_AA, _SUBPIXEL
                )
            width = max(1, round(unit * 0.012))
            for closed, loops in ((True, CLOSED), (False, OPEN)):
                loop_points = [_fixed_line(points[list(loop)]) for loop in loops]
                cv2.polylines(lines, loop_points, closed, color, width, cv2.LINE_AA, _SUBPIXEL)
            for iris in _IRISES if len(points) > 468 else ():
                rim = points[list(iris)]
                center = rim.mean(axis=0)
                radius = float(np.linalg.norm(rim - center, axis=1).mean())
                cv2.circle(
                    lines, _fixed(center), _fixed(radius), color, width, cv2.LINE_AA, _SUBPIXEL
                )
        mixed = cv2.addWeighted(dots, 0.5, lines, 0.5, 0)
        return cv2.addWeighted(mixed, self.opacity, image, 1 - self.opacity, 0)  # type: ignore[return-value]


class HeatmapAnnotator(Annotator):
    """Lays the network's maps over the face, hotter where a unit is stronger.

    At each pixel it shows the highest of a face's maps, as the network drew them; of a network that
    draws none, a bump at each point, as high as its intensity.

    Args:
        opacity: Of full intensity, 0 to 1.
    """

    def __init__(self, opacity: float = 0.85) -> None:
        self.opacity = opacity

    def annotate(self, image: Image, readings: Sequence[AUReading]) -> Image:
        """Returns the picture with the maps of every reading that has some."""
        height, width = image.shape[:2]
        heat = np.zeros((height, width), np.float32)
        for reading in readings:
            if reading.maps is None or reading.to_maps is None:
                spots = _bumps(reading, (height, width))
            else:
                flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
                highest = reading.maps.max(axis=-1) / np.float32(INTENSITY_MAX)
                drawn = cv2.warpAffine(highest, reading.to_maps, (width, height), flags=flags)
                spots = np.asarray(drawn, np.float32)
            # The highest, not the sum: faces that overlap would look stronger than 5.
            np.maximum(heat, spots, out=heat)
        hot = np.nonzero(heat)
        rows, columns = (slice(i.min(), i.max() + 1) if i.size else slice(0) for i in hot)
        picture, heat = image.copy(), heat[rows, columns].clip(0, 1)
        if heat.size:
            colors = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
            # Below half a step of intensity a map is noise, which would only darken the face.
            weight = (self.opacity * np.sqrt(((heat - 0.1) / 0.9).clip(0, 1)))[..., None]
            mixed = picture[rows, columns] * (1 - weight)
            mixed += cv2.cvtColor(colors, cv2.COLOR_BGR2RGB) * weight
            picture[rows, columns] = mixed.round()
        return picture


class BarsAnnotator(Annotator):
    """Adds a panel on the right with one bar for each unit, 0 to 5.

    The panel has the same size for every frame of one size. Several faces share a row, each with
    a thinner bar of its colour. A bar below the threshold is dim. The line across its end
    shows by how much it is expected to be wrong.

    Args:
        aus: The units, from top to bottom.
        threshold: Intensity from which a unit counts as present.
    """

    def __init__(self, aus: AUSet, threshold: float = 1.0) -> None:
        self.aus, self.threshold = aus, threshold

    def annotate(self, image: Image, readings: Sequence[AUReading]) -> Image:
        """Returns the picture with the panel beside it, a wider picture."""
        height, width = image.shape[:2]
        rows = len(self.aus) + 2.5
        unit = min(height / max(rows, 16), width / 16)
        panel = np.full((height, round(unit * 15.5), 3), _PANEL, np.uint8)
        top = (height - unit * rows) / 2 + unit * 0.25
        faces = [reading for reading in readings if reading.success and reading.face]

        title = "action units" if faces else "no face"
        _write(panel, title, (0.7 * unit, top + unit), unit * 0.62, _TEXT if faces else _FAINT)
        left, right = 8.3 * unit, 13.2 * unit
        steps = [left + (right - left) * level / INTENSITY_MAX for level in range(6)]
        for level, x in enumerate(steps):
            _write(panel, str(level), (x - 0.15 * unit, top + unit), unit * 0.42, _FAINT)
        for row, action_unit in enumerate(self.aus):
            middle = top + (row + 2) * unit
            baseline = middle + 0.22 * unit
            _write(panel, action_unit.label, (0.7 * unit, baseline), unit * 0.56, _TEXT)
            _write(panel, action_unit.name, (3.0 * unit, baseline), unit * 0.44, _FAINT)
            _box(panel, left, middle - 0.3 * unit, right, middle + 0.3 * unit)[:] = _TRACK
            for x in steps[1:-1]:
                _box(panel, x, middle - 0.3 * unit, x + 1, middle + 0.3 * unit)[:] = _GRID
            thickness = 0.6 * unit / max(len(faces), 1)
            for place, reading in enumerate(faces):
                value = float(reading.intensities[row])
                if np.isnan(value) or reading.face is None:
                    continue
                color, strong = _color(reading.face), _TEXT
                if value < self.threshold:
                    color, strong = _mix(color, _TRACK, 0.55), _FAINT
                upper = middle - 0.3 * unit + place * thickness
                error = float(np.nan_to_num(reading.uncertainties[row]))
                low, end, high = (
                    left + (right - left) * min(max(v, 0.0), INTENSITY_MAX) / INTENSITY_MAX
                    for v in (value - error, value, value + error)
                )
                _box(panel, left, upper, end, upper + max(thickness - 1, 1))[:] = color
                if error:
                    line, width = round(upper + 0.4 * thickness), max(round(0.1 * thickness), 1)
                    _box(panel, low, line, high, line + width)[:] = strong
                if len(faces) == 1:
                    _write(panel, f"{value:.1f}", (13.6 * unit, baseline), unit * 0.5, strong)
        return np.hstack([image, panel])


class FaceAnnotator(Annotator):
    """Draws everything: heat, mesh, and the panel of bars, at a size that is legible.

    Args:
        aus: The units of the model.
        threshold: Intensity from which a unit counts as present.
        min_side: Frames with a shorter side than this are enlarged to it, px.
        max_side: Frames with a longer side than this are shrunk to it, px.
    """

    def __init__(
        self, aus: AUSet, threshold: float = 1.0, min_side: int = 400, max_side: int = 4096
    ) -> None:
        self.min_side, self.max_side = min_side, max_side
        self._layers = (HeatmapAnnotator(), MeshAnnotator(), BarsAnnotator(aus, threshold))

    def annotate(self, image: Image, readings: Sequence[AUReading]) -> Image:
        """Returns the annotated picture, with a panel on its right."""
        height, width = image.shape[:2]
        scale = max(1.0, self.min_side / min(height, width))
        if max(height, width) > self.max_side:
            scale = self.max_side / max(height, width)
        if scale != 1:
            size = max(round(width * scale), 1), max(round(height * scale), 1)
            way = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
            image = cv2.resize(image, size, interpolation=way)  # type: ignore[assignment]
            readings = [_scaled(reading, scale) for reading in readings]
        for layer in self._layers:
            image = layer.annotate(image, readings)
        return image


def write_note(image: Image, text: str) -> None:
    """Writes a short text into the lower left corner of the picture itself."""
    unit = min(image.shape[:2]) / 24
    bottom = image.shape[0] - 0.5 * unit
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, unit * 0.6 / 30, 1)
    box = _box(image, 0.5 * unit, bottom - 1.2 * unit, 1.5 * unit + width, bottom)
    box[:] = _PANEL
    _write(image, text, (unit, bottom - 0.4 * unit), unit * 0.6, _TEXT)


def _scaled(reading: AUReading, scale: float) -> AUReading:
    """Moves a reading into a picture that is `scale` times larger."""
    # Pixel centres lie at whole numbers, so the picture's corner is at (-.5, -.5).
    shift = (scale - 1) / 2
    points, face = reading.points.copy(), reading.face
    points[:, :2] = points[:, :2] * scale + shift
    if face is not None:
        mesh = face.mesh * np.float32(scale)
        mesh[:, :2] += np.float32(shift)
        size = round(face.frame_size[0] * scale), round(face.frame_size[1] * scale)
        face = dataclasses.replace(face, mesh=mesh, frame_size=size)
    to_maps = reading.to_maps
    if to_maps is not None:
        linear = to_maps[:, :2] / scale
        to_maps = np.column_stack([linear, to_maps[:, 2] - shift * linear.sum(axis=1)])
    return dataclasses.replace(reading, points=points, face=face, to_maps=to_maps)


def color_of(track_id: int) -> Color:
    """Returns the colour of a face, the same in every picture of it."""
    return _FACES[track_id % len(_FACES)]


def _color(face: FaceFrame) -> Color:
    return color_of(face.track_id)


def _mix(color: Color, other: Color, share: float) -> Color:
    first, second, third = (
        round(a * (1 - share) + b * share) for a, b in zip(color, other, strict=True)
    )
    return first, second, third


def _eye_distance(face: FaceFrame) -> float:
    """Returns the distance between the outer eye corners in px, turned heads included."""
    right, left = face.mesh[list(_EYE_CORNERS)]
    return float(np.linalg.norm(left - right))


def _fixed(value: npt.ArrayLike) -> Any:
    """Turns px into OpenCV's fixed-point numbers."""
    scaled = np.rint(np.asarray(value, np.float64) * (1 << _SUBPIXEL)).astype(int)
    return tuple(scaled.tolist()) if scaled.ndim else int(scaled)


def _fixed_line(points: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    return np.rint(points * (1 << _SUBPIXEL)).astype(np.int32)


def _box(image: Image, left: float, top: float, right: float, bottom: float) -> Image:
    """Returns the part of the picture between two corners, to be painted."""
    return image[round(top) : round(bottom), round(left) : round(right)]


def _write(
    image: Image, text: str, baseline: tuple[float, float], height: float, color: Color
) -> None:
    """Writes text whose capitals are about .7 `height` tall."""
    scale = height / 30
    place = round(baseline[0]), round(baseline[1])
    thickness = max(1, round(scale * 1.4))
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_DUPLEX, scale, color, thickness, cv2.LINE_AA)


def _bumps(reading: AUReading, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Draws a bump at each point, as wide on the face as the bumps of heatmap networks are."""
    heat = np.zeros(shape, np.float32)
    seen = reading.points[np.isfinite(reading.points).all(axis=1) & (reading.points[:, 2] > 0)]
    if reading.face is None or not len(seen):
        return heat
    spread = _BUMP * float(np.linalg.norm(np.subtract(*reading.face.mesh[list(_EYE_CORNERS), :2])))
    reach = max(1, round(3 * spread))
    for x, y, level in seen:
        top, left = max(0, round(y) - reach), max(0, round(x) - reach)
        patch = heat[top : max(0, round(y) + reach + 1), left : max(0, round(x) + reach + 1)]
        rows, columns = (np.arange(side) for side in patch.shape)
        bump = np.exp(-((rows + top - y) ** 2)[:, None] / (2 * spread**2)) * np.exp(
            -((columns + left - x) ** 2) / (2 * spread**2)
        )
        np.maximum(patch, bump * level / INTENSITY_MAX, out=patch)
    return heat
