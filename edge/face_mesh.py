"""Finds faces and fits a mesh to each: Google's face models, run by LiteRT without mediapipe."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from edge.face_detector import FaceDetector, sigmoid
from edge.runtime import Graph
from edge.warp import check_image, crop_face
from tfau.core import BundleError, FaceAligner, FaceFrame
from tfau.core.faces import MESH_VERTICES

Floats = npt.NDArray[np.float64]
Mesh = npt.NDArray[np.float32]

MODELS = Path(__file__).parent / "models" / "face_landmarker.task"
SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
FAST_MODEL = MODELS.with_name("face_landmark.tflite")
FAST_SHA256 = "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"

_ROI_SCALE = 1.5  # the mesh network wants half a face of surroundings
_RIGHT_EYE_CORNER, _LEFT_EYE_CORNER, _NOSE_TIP = 33, 263, 1
_STILL_LEVELS, _FOLLOW_LEVELS = 3, 2
_SEARCH_EVERY_MS = 250.0
_SURE = 0.8
_GRID = 128  # steps in a radian, in a doubling, and in a face's side
_MOVED = 0.1  # of a region's side: a face that is that much off its region is fitted again


class FrontEnd(Protocol):
    """Finds faces and their meshes; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def detect(self, image: npt.NDArray[np.uint8], timestamp_ms: float = 0.0) -> list[FaceFrame]:
        """Finds the faces of one frame, (H, W, 3) uint8 RGB."""

    def state(self) -> Any:
        """Returns what is carried from frame to frame; None if that cannot be told."""

    def restore(self, state: Any, /) -> None:
        """Takes over what `state` returned."""


class FaceMesh:
    """Finds faces in a frame and fits the MediaPipe mesh to each.

    The detector sees the whole frame letterboxed to 128 px and, while there are fewer faces in that
    than wanted, overlapping squares of a half and a quarter of that side. Faces narrower than
    about 2 % of the frame's longer side are missed. The detector's box is coarse, so a new face's
    mesh is fitted twice: to the box, then to its own outline.

    Without `follow` each frame stands alone: the same frame always gives the same answer. With it,
    a face is looked for where it was in the frame before; the detector runs only when a face is
    lost or, four times a second of the frames' own time, when there may be a new one.

    Args:
        max_faces: Most faces to return, the surest first.
        min_score: Detector score from which a box counts as a face, 0 to 1.
        min_presence: Presence score from which a fitted mesh counts as a face, 0 to 1; in a part
            of the frame, at least .8.
        refine: Whether to fit a new face's mesh a second time, and a followed one's where its
            region was off by a tenth of its side. Without it the answer is mediapipe's.
        follow: Whether the frames are those of one video.
        fast: Whether to use the older network: 468 points, without irises, in a quarter of the
            time, and less steady.
        blendshapes: Whether to estimate MediaPipe's 52 blendshapes; not with `fast`.
        threads: Threads for each model.

    Raises:
        BundleError: If the models that come with the package are missing or damaged.
        ValueError: If an argument is out of range.

    Example:
        >>> with FaceMesh() as mesh:
        ...     mesh.detect(np.zeros((90, 160, 3), np.uint8))
        []

    References:
        - Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile
          GPUs", 2019, https://arxiv.org/abs/1907.06724.
        - google-ai-edge/mediapipe, `face_landmarker_graph.cc`: thresholds and region of interest.
          It looks for new faces in every frame, and not in parts of it.
    """

    def __init__(
        self,
        *,
        max_faces: int = 1,
        min_score: float = 0.5,
        min_presence: float = 0.5,
        refine: bool = True,
        follow: bool = False,
        fast: bool = False,
        blendshapes: bool = False,
        threads: int = 1,
    ) -> None:
        if max_faces < 1:
            raise ValueError(f"`max_faces` must be at least 1. Received: max_faces={max_faces}")
        if fast and blendshapes:
            raise ValueError("`blendshapes` needs the irises, which `fast` does not find.")
        self.max_faces, self.min_presence = max_faces, min_presence
        self.refine, self.follow = refine, follow
        with zipfile.ZipFile(io.BytesIO(_read(MODELS, SHA256))) as archive:
            detector, mesh, shapes = (
                archive.read(f"{name}.tflite")
                for name in ("face_detector", "face_landmarks_detector", "face_blendshapes")
            )
        self._detector = FaceDetector(detector, min_score=min_score, threads=threads)
        if fast:
            mesh = _read(FAST_MODEL, FAST_SHA256)
        self._mesh = Graph(mesh, threads=threads, name="the mesh network")
        self._names = _FAST_NAMES if fast else _NAMES
        self._size = self._mesh.inputs[self._names[0]][1]
        self._shapes = Graph(shapes, threads=threads) if blendshapes else None
        self.reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees the models."""
        for name in ("_detector", "_mesh", "_shapes"):
            self.__dict__.pop(name, None)

    def reset(self) -> None:
        """Forgets the frames before, as at the start of another video."""
        self._last: list[Mesh] = []
        self._searched_ms = -np.inf

    def state(self) -> Any:
        """Returns what is carried from frame to frame: arrays, numbers and None."""
        searched = self._searched_ms if np.isfinite(self._searched_ms) else None
        return {"last": self._last, "searched_ms": searched}

    def restore(self, state: Any) -> None:
        """Takes over what `state` returned."""
        self._last = [np.array(mesh, np.float32) for mesh in state["last"]]
        searched = state["searched_ms"]
        self._searched_ms = -np.inf if searched is None else searched

    def detect(self, image: npt.NDArray[np.uint8], timestamp_ms: float = 0.0) -> list[FaceFrame]:
        """Finds the faces of one frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            timestamp_ms: Presentation time of the frame. With `follow` it must rise.

        Returns:
            One `FaceFrame` with a (478, 3) mesh, (468, 3) if `fast`, for each face: those followed
            from the frame before in their order, then new ones, the surest first. Its `track_id` is
            its place in the list; `edge.tracks` gives lasting ones. Empty if there is no face.

        Raises:
            ValueError: If the image is not (H, W, 3) uint8.
        """
        check_image(image)
        if self.follow:
            faces = self._followed(image)
            lost, due = len(faces) < len(self._last), timestamp_ms - self._searched_ms
            if len(faces) < self.max_faces and (not faces or lost or due >= _SEARCH_EVERY_MS):
                fine = not 0 <= due < _SEARCH_EVERY_MS
                if fine:
                    self._searched_ms = timestamp_ms
                self._find(image, faces, _FOLLOW_LEVELS if fine else 1)
            self._last = [mesh for mesh, _ in faces]
        else:
            self._find(image, faces := [], _STILL_LEVELS)
        size = image.shape[1], image.shape[0]
        return [
            FaceFrame(mesh, size, timestamp_ms, place, presence, self._blendshapes(mesh))
            for place, (mesh, presence) in enumerate(faces)
        ]

    def _followed(self, image: npt.NDArray[np.uint8]) -> list[tuple[Mesh, float]]:
        """Fits the meshes of the frame before anew."""
        fits = [
            (last, *self._refined(image, _region_of(last, self._size), _MOVED))
            for last in self._last
        ]
        fits = [fit for fit in fits if fit[2] >= self.min_presence]
        faces: list[tuple[Mesh, float]] = []
        for last, mesh, presence in fits:
            rivals = [(old, new) for old, new, _ in fits if _is_same_face(new, mesh)]
            # Two that have met on one face: it belongs to the one that moved less.
            if all(_shift(last, mesh) <= _shift(old, new) for old, new in rivals) and not any(
                _is_same_face(mesh, other) for other, _ in faces
            ):
                faces.append((mesh, presence))
        return faces

    def _find(
        self, image: npt.NDArray[np.uint8], faces: list[tuple[Mesh, float]], levels: int
    ) -> None:
        """Adds faces that are not in the list yet, until it has `max_faces`."""
        for level, boxes in enumerate(self._detector.search(image, levels)):
            # The closer one looks, the more there is that resembles a face.
            needed = max(self.min_presence, _SURE) if level else self.min_presence
            for box in boxes:
                if any(_holds(mesh, box) for mesh, _ in faces):
                    continue
                mesh, presence = self._refined(image, _region_of_box(box, self._size), 0.0)
                known = any(_is_same_face(mesh, other) for other, _ in faces)
                if presence >= needed and not known:
                    faces.append((mesh, presence))
                if len(faces) == self.max_faces:
                    return

    def _refined(
        self, image: npt.NDArray[np.uint8], region: Floats, tolerance: float
    ) -> tuple[Mesh, float]:
        """Fits a mesh to a region, and again to its own if the first was off by too much of it."""
        mesh, presence = self._fit(image, region)
        if self.refine and presence >= self.min_presence:
            better = _region_of(mesh, self._size)
            corners = np.array([[0.0, 0.0], [self._size, 0.0], [0.0, self._size]])
            moved = FaceAligner.transform(FaceAligner.transform(corners, _invert(better)), region)
            if np.abs(moved - corners).max() > tolerance * self._size:
                mesh, presence = self._fit(image, better)
        return mesh, presence

    def _fit(self, image: npt.NDArray[np.uint8], matrix: Floats) -> tuple[Mesh, float]:
        """Fits the mesh to the region that `matrix` carries onto the network's input."""
        pixels = crop_face(image, matrix, self._size).astype(np.float32) / np.float32(255.0)
        source, points, presence = self._names
        answer = self._mesh(**{source: pixels[None]})
        mesh = answer[points].reshape(-1, 3).astype(np.float64)
        back = _invert(matrix)
        mesh[:, :2] = FaceAligner.transform(mesh[:, :2], back)
        mesh[:, 2] *= np.hypot(*back[:, 0])
        return mesh.astype(np.float32), float(sigmoid(answer[presence].reshape(())))

    def _blendshapes(self, mesh: Mesh) -> Mesh | None:
        if self._shapes is None:
            return None
        points = np.ascontiguousarray(mesh[_SHAPE_POINTS, :2])
        (weights,) = self._shapes(input_points=points[None]).values()
        return weights.reshape(-1).astype(np.float32)


_NAMES = "input_12", "Identity", "Identity_1"
_FAST_NAMES = "input_1", "conv2d_21", "conv2d_31"

_invert = FaceAligner.invert


def _level(right_eye: Floats, left_eye: Floats) -> Floats:
    """Returns the (2, 2) rotation that brings the eyes to one height."""
    along = left_eye - right_eye
    cosine, sine = along / max(float(np.hypot(*along)), 1e-9)
    return np.array([[cosine, sine], [-sine, cosine]])


def _region(turn: Floats, centre: Floats, side: float, size: int) -> Floats:
    """Returns the (2, 3) matrix from the frame to the mesh network's input.

    Args:
        turn: (2, 2) rotation of the frame.
        centre: (2,) middle of the face in the turned frame, px.
        side: Longer side of the face in the turned frame, px.
        size: Side of the network's input, px.
    """
    scale = size / max(_ROI_SCALE * side, 1e-9)
    return np.column_stack([turn * scale, size / 2 - scale * centre])


def _region_of_box(box: Floats, size: int) -> Floats:
    """Returns the region of a box of the detector."""
    low, high, right_eye, left_eye = box[:4]
    turn = _level(right_eye, left_eye)
    return _region(turn, turn @ (low + high) / 2, float((high - low).max()), size)


def _region_of(mesh: Mesh, size: int) -> Floats:
    """Returns the region of a mesh that is known already."""
    outline = mesh[:MESH_VERTICES, :2].astype(np.float64)
    along = outline[_LEFT_EYE_CORNER] - outline[_RIGHT_EYE_CORNER]
    # Snapped to a grid, so that what processors round differently does not add up from fit to fit,
    # and a face at rest is seen through the same window.
    angle = round(math.atan2(along[1], along[0]) * _GRID) / _GRID
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    turned = outline @ turn.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    side = 2 ** (round(math.log2(max(float((high - low).max()), 1e-9)) * _GRID) / _GRID)
    centre = np.round((low + high) / 2 / side * _GRID) * side / _GRID
    return _region(turn, centre, side, size)


def _is_same_face(mesh: Mesh, other: Mesh) -> bool:
    """Tells whether two meshes lie on one face: noses closer than half an eye distance."""
    eyes = np.linalg.norm(other[_RIGHT_EYE_CORNER] - other[_LEFT_EYE_CORNER])
    return bool(np.linalg.norm(mesh[_NOSE_TIP, :2] - other[_NOSE_TIP, :2]) < eyes / 2)


def _holds(mesh: Mesh, box: Floats) -> bool:
    """Tells whether the nose of a box lies in the frame of a known face, which may be its own."""
    outline = mesh[:, :2]
    low, high = outline.min(axis=0), outline.max(axis=0)
    return bool(((box[4] > low) & (box[4] < high)).all())


def _shift(last: Mesh, mesh: Mesh) -> float:
    """Returns how far a face has moved and grown, mean distance of its points, px."""
    return float(np.linalg.norm(mesh[:, :2] - last[:, :2], axis=1).mean())


def _read(path: Path, sha256: str) -> bytes:
    """Reads a file of Google's after checking that it is unchanged."""
    try:
        data = path.read_bytes()
    except OSError:
        data = b""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BundleError(
            f"{path} is missing or damaged: its SHA-256 is not {sha256}. Install tfau again."
        )
    return data


def _numbers(text: str) -> Sequence[int]:
    return [int(word) for word in text.split()]


# Mesh points from which the blendshapes are estimated; in mediapipe's `face_blendshapes_graph.cc`.
_SHAPE_POINTS = _numbers("""
0 1 4 5 6 7 8 10 13 14 17 21 33 37 39 40 46 52 53 54 55 58 61 63 65 66 67 70 78 80 81 82 84 87 88 91
93 95 103 105 107 109 127 132 133 136 144 145 146 148 149 150 152 153 154 155 157 158 159 160 161
162 163 168 172 173 176 178 181 185 191 195 197 234 246 249 251 263 267 269 270 276 282 283 284 285
288 291 293 295 296 297 300 308 310 311 312 314 317 318 321 323 324 332 334 336 338 356 361 362 365
373 374 375 377 378 379 380 381 382 384 385 386 387 388 389 390 397 398 400 402 405 409 415 454 466
468 469 470 471 472 473 474 475 476 477""")

BLENDSHAPES = tuple(
    """
_neutral browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff
cheekSquintLeft cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight
eyeLookInLeft eyeLookInRight eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight
eyeSquintLeft eyeSquintRight eyeWideLeft eyeWideRight jawForward jawLeft jawOpen jawRight mouthClose
mouthDimpleLeft mouthDimpleRight mouthFrownLeft mouthFrownRight mouthFunnel mouthLeft
mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight mouthPucker mouthRight
mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft mouthSmileRight
mouthStretchLeft mouthStretchRight mouthUpperUpLeft mouthUpperUpRight noseSneerLeft noseSneerRight
""".split()
)
"""Names of MediaPipe's blendshapes, in order; left and right are the subject's."""
