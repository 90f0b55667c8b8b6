"""Photographs as puppets: heads are turned, faces moved as the rig's are. Real skin, known change.

A photograph without labels says nothing of a movement until it moves. Here its pixels are moved as
the head rig says that skin moves, so the change of every unit is exact; the folds and teeth that a
real movement would bring are not drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge.annotators import CLOSED
from tfau.core.action_units import INTENSITY_MAX, AUSet
from tfau.core.align import STABLE_VERTICES, TEMPLATE, procrustes
from tfau.core.faces import MESH_VERTICES

Floats = npt.NDArray[np.float64]

PITCH_DEG, YAW_DEG = 30.0, 32.0
"""Farthest turns of a mesh, which is flatter than a head: measured anew, they are 17 and 20."""

# Units that skin alone can show: what parts the lips (10, 16, 25, 26) would need teeth.
_EYES = (1, 2, 4, 5, 6, 7, 9, 45)
_MOUTH = (12, 14, 15, 17, 18, 20, 22, 24, 28, -12)  # -12: a smile is taken away
_OVAL = list(CLOSED[0])
_SIDE = 256  # px of what comes out, in which the face takes a half
_GRID = 33  # places across, at which the movement is computed
_STIFF = 2.0  # px by which a vertex may miss its place, so that none overtakes another


class View(NamedTuple):
    """Holds a picture made of a photograph.

    Attributes:
        image: (256, 256, 3) uint8 RGB.
        change: (P,) how far intensities differ from those of the photograph, see `draw`.
        pitch_deg: How far the head was turned.
        yaw_deg: The same.
    """

    image: npt.NDArray[np.uint8]
    change: npt.NDArray[np.float32]
    pitch_deg: float = 0.0
    yaw_deg: float = 0.0


class Puppeteer:
    """Knows how faces move.

    Args:
        aus: Units.
        fields: (P, 468, 3) where each point's unit of intensity moves the vertices of a mesh, in
            template units, see `FaceAligner.aligned_mesh`.
    """

    def __init__(self, aus: AUSet, fields: Floats) -> None:
        self.aus, self.fields = aus, fields

    @classmethod
    def of_rig(cls, folder: Path, aus: AUSet) -> Puppeteer:
        """Reads them off the face rig; units that it does not know move nothing.

        Args:
            folder: Folder of the rig.
            aus: Units.
        """
        from tfds_builders.synthetic_faces import wild
        from tfds_builders.synthetic_faces.rig import FaceRig

        rig = wild.with_cheeks(FaceRig.load(folder))
        still = rig.rest({})
        places = still[rig.mesh_index].astype(np.float64)
        scale, turn, _ = procrustes(places[STABLE_VERTICES], TEMPLATE)
        fields = np.zeros((len(aus.point_names), MESH_VERTICES, 3))
        for point, name in enumerate(aus.point_names):
            weights = wild.UNIT_TABLE.get(aus.numbers[aus.point_owner[point]], {})
            shares = {"left": (1.0, 0.0), "right": (0.0, 1.0)}
            left, right = shares.get(name.partition("_")[2], (0.5, 0.5))
            sides = {unit: (w * left, w * right) for unit, w in weights.items()}
            moved = rig.express(still, sides)[rig.mesh_index]
            fields[point] = scale * (moved - places) @ turn.T / INTENSITY_MAX
        return cls(aus, fields)

    def views(
        self,
        photo: npt.NDArray[np.uint8],
        mesh: npt.NDArray[np.float32],
        count: int,
        seed: int | list[int],
    ) -> Iterator[View]:
        """Makes pictures of a photograph: two in which the head is turned, and then moved faces.

        Args:
            photo: (H, W, 3) uint8 RGB.
            mesh: (468 or 478, 3) mesh of the face, px.
            count: How many.
            seed: Decides everything random.
        """
        rng = np.random.default_rng(seed)
        for number in range(count):
            turn = float(rng.uniform(-PITCH_DEG, PITCH_DEG)), float(rng.uniform(-YAW_DEG, YAW_DEG))
            change = np.zeros(len(self.aus.point_names), np.float32)
            if number > 1:
                change = self.draw(rng)
                turn = (0.0, 0.0) if rng.random() < 0.25 else turn
            yield View(self.move(photo, mesh, change, *turn), change, *turn)

    def draw(self, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Draws what is to change: one movement of the mouth at most, and up to three in all.

        Returns:
            (P,) change of each point's intensity, negative where a smile is taken away. AU25 is NaN
            where the mouth moves.
        """
        units: list[int] = []
        wanted = int(rng.integers(1, 4))
        if mouth := rng.random() < 0.75:
            units.append(int(rng.choice(_MOUTH)))
        units += rng.choice(_EYES, max(wanted - mouth, 1 - mouth), replace=False).tolist()
        if 5 in units and 45 in units:
            units.remove(45)
        change = np.zeros(len(self.aus.point_names), np.float32)
        for unit in units:
            sides = np.full(2, rng.uniform(0.8, INTENSITY_MAX))
            if rng.random() < 0.25:
                sides[rng.integers(2)] *= rng.uniform(0, 0.5)
            for point in self._points(abs(unit)):
                name = self.aus.point_names[point]
                paired = name.endswith(("_left", "_right"))
                level = sides[int(name.endswith("_right"))] if paired else sides[0]
                change[point] = np.sign(unit) * level
        if mouth:
            change[self._points(25)] = np.nan
        return change

    def move(
        self,
        image: npt.NDArray[np.uint8],
        mesh: npt.NDArray[np.float32],
        change: npt.NDArray[np.float32],
        pitch_deg: float = 0.0,
        yaw_deg: float = 0.0,
    ) -> npt.NDArray[np.uint8]:
        """Moves the face of a photograph and turns its head.

        Args:
            image: (H, W, 3) uint8 RGB.
            mesh: (468 or 478, 3) mesh of the face, px.
            change: (P,) see `draw`.
            pitch_deg: Turn beside that of the photograph.
            yaw_deg: The same.

        Returns:
            (256, 256, 3): the face and as much around it.

        References:
            Zhu et al., "Face alignment across large poses: a 3D solution", CVPR 2016, turn
            photographs so.
        """
        face = mesh[:MESH_VERTICES].astype(np.float64)
        low, high = face[:, :2].min(axis=0), face[:, :2].max(axis=0)
        scale = _SIDE / (1.9 * float((high - low).max()))
        shift = _SIDE / 2 - scale * (low + high) / 2
        square = cv2.warpAffine(
            image,
            np.hstack([scale * np.eye(2), shift[:, None]]),
            (_SIDE, _SIDE),
            flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        face *= scale
        face[:, :2] += shift
        size, turn, _ = procrustes(face[STABLE_VERTICES], TEMPLATE)
        moves = np.tensordot(np.nan_to_num(change).astype(np.float64), self.fields, 1)
        middle = face[_OVAL].mean(axis=0)
        hair = [middle + (face[_OVAL] - middle) * (k, k, 1) for k in (1.15, 1.35)]
        before = np.concatenate([face, *hair])
        after = np.concatenate([face + moves @ turn / size, *hair])
        neck = np.array([*middle[:2], np.quantile(face[:, 2], 0.9)])
        after = (after - neck) @ _turn(pitch_deg, yaw_deg).T + neck
        rim = np.linspace(0, _SIDE - 1, 9)
        ends = [(x, y) for x in rim for y in rim if {x, y} & {0, _SIDE - 1}]
        source = np.concatenate([before[:, :2], ends])
        target = np.concatenate([after[:, :2], ends])
        return _flow(np.asarray(square, np.uint8), source, target)

    def _points(self, unit: int) -> list[int]:
        owners = self.aus.point_owner
        return [k for k in range(len(owners)) if self.aus.numbers[owners[k]] == unit]


def _turn(pitch_deg: float, yaw_deg: float) -> Floats:
    pitch, yaw = np.radians((pitch_deg, yaw_deg))
    nod = np.array(
        [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    )
    shake = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    return np.asarray(shake @ nod)


def _flow(image: npt.NDArray[np.uint8], source: Floats, target: Floats) -> npt.NDArray[np.uint8]:
    """Moves (K, 2) places of a square picture to others, and what is between them smoothly."""

    def apart(one: Floats, other: Floats) -> Floats:
        return np.asarray(np.hypot(*(one[:, None, k] - other[None, :, k] for k in (0, 1))))

    kernel = _STIFF * np.eye(len(target)) - apart(target, target)
    weights = np.linalg.solve(kernel, source - target)
    side = len(image)
    axis = (np.arange(_GRID) + 0.5) * side / _GRID - 0.5
    places = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    coarse = (-apart(places, target) @ weights).reshape(_GRID, _GRID, 2).astype(np.float32)
    flow = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    x, y = np.meshgrid(np.arange(side, dtype=np.float32), np.arange(side, dtype=np.float32))
    moved = cv2.remap(
        image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)
