"""Finds faces and their 478-point mesh: Google's face models, run by LiteRT without mediapipe."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from edge.crop import crop_face
from edge.runtime import Graph
from tfau.core import BundleError, FaceAligner, FaceFrame
from tfau.core.faces import MESH_VERTICES

Floats = npt.NDArray[np.float64]

MODELS = Path(__file__).parent / "models" / "face_landmarker.task"
SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"

_DETECTOR_SIZE = 128
_MESH_SIZE = 256
_ROI_SCALE = 1.5  # the mesh network wants half a face of surroundings
_RIGHT_EYE_CORNER, _LEFT_EYE_CORNER, _NOSE_TIP = 33, 263, 1


class FaceMesh:
    """Finds faces in a frame and fits the MediaPipe mesh to each.

    The detector sees the whole frame letterboxed to 128 px and, only if there is no face in that,
    overlapping squares of half that side. Faces narrower than about 6 % of the frame's longer
    side are missed, and so are small faces beside a large one. Each frame stands alone: nothing
    is carried over, and the same frame always gives the same answer. The detector's box is
    coarse, so the mesh is fitted twice: to the box, then to its own outline. That more than
    halves its tremble when the face moves, for the price of one more run of the mesh network.

    Args:
        max_faces: Most faces to return, the surest first.
        min_score: Detector score from which a box counts as a face, 0 to 1.
        min_presence: Presence score from which a fitted mesh counts as a face, 0 to 1.
        refine: Whether to fit the mesh a second time. Without it the answer is what MediaPipe
            says of a still picture, with it about what MediaPipe says of a face that it tracks.
        threads: Threads for each model.

    Raises:
        BundleError: If the models that come with the package are missing or damaged.
        ValueError: If an argument is out of range.

    Example:
        >>> with FaceMesh() as mesh:
        ...     mesh.detect(np.zeros((90, 160, 3), np.uint8))
        []

    References:
        - Bazarevsky et al., "BlazeFace", 2019, https://arxiv.org/abs/1907.05047.
        - Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile
          GPUs", 2019, https://arxiv.org/abs/1907.06724.
        - google-ai-edge/mediapipe, `face_detector_graph.cc` and
          `face_landmarks_detector_graph.cc`: thresholds, anchors and region of interest. We
          average pixels when we shrink, where MediaPipe samples bilinearly.
    """

    def __init__(
        self,
        *,
        max_faces: int = 1,
        min_score: float = 0.5,
        min_presence: float = 0.5,
        refine: bool = True,
        threads: int = 1,
    ) -> None:
        if max_faces < 1:
            raise ValueError(f"`max_faces` must be at least 1. Received: max_faces={max_faces}")
        self.max_faces, self.min_score, self.min_presence = max_faces, min_score, min_presence
        self.refine = refine
        detector, mesh = _read_models("face_detector.tflite", "face_landmarks_detector.tflite")
        self._detector = Graph(detector, threads=threads, name="face_detector.tflite")
        self._mesh = Graph(mesh, threads=threads, name="face_landmarks_detector.tflite")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees the models."""
        self.__dict__.pop("_detector", None)
        self.__dict__.pop("_mesh", None)

    def detect(self, image: npt.NDArray[np.uint8], timestamp_ms: float = 0.0) -> list[FaceFrame]:
        """Finds the faces of one frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            timestamp_ms: Presentation time of the frame, handed on to the result.

        Returns:
            One `FaceFrame` with a (478, 3) mesh for each face, the surest first; its `track_id` is
            its place in the list. Empty if there is no face.

        Raises:
            ValueError: If the image is not (H, W, 3) uint8.
        """
        height, width = image.shape[:2]
        for views in _views(width, height):
            boxes, scores = zip(*(self._search(image, view) for view in views), strict=True)
            merged, _ = merge_boxes(np.concatenate(boxes), np.concatenate(scores))
            faces: list[FaceFrame] = []
            for box in merged:
                mesh, presence = self._mesh_of(image, box)
                known = any(_is_same_face(mesh, face.mesh) for face in faces)
                if presence >= self.min_presence and not known:
                    faces.append(
                        FaceFrame(mesh, (width, height), timestamp_ms, len(faces), presence)
                    )
                if len(faces) == self.max_faces:
                    break
            if faces:
                return faces
        return []

    def _mesh_of(
        self, image: npt.NDArray[np.uint8], box: Floats
    ) -> tuple[npt.NDArray[np.float32], float]:
        """Fits the mesh in a box of the detector."""
        low, high, right_eye, left_eye = box[:4]
        turn = _level(right_eye, left_eye)
        region = _region(turn, turn @ (low + high) / 2, float((high - low).max()))
        mesh, presence = self._fit(image, region)
        if self.refine and presence >= self.min_presence:
            mesh, presence = self._fit(image, _region_of(mesh))
        return mesh, presence

    def _search(self, image: npt.NDArray[np.uint8], matrix: Floats) -> tuple[Floats, Floats]:
        """Finds boxes, frame px, and scores in what `matrix` carries onto the detector's input."""
        pixels = crop_face(image, matrix, _DETECTOR_SIZE).astype(np.float32) / 127.5 - 1.0
        answer = self._detector(input=pixels[None])
        boxes, scores = decode_boxes(
            answer["regressors"][0], answer["classificators"][0, :, 0], self.min_score
        )
        return FaceAligner.transform(boxes, FaceAligner.invert(matrix)), scores

    def _fit(
        self, image: npt.NDArray[np.uint8], matrix: Floats
    ) -> tuple[npt.NDArray[np.float32], float]:
        """Fits the mesh to the region that `matrix` carries onto the network's input."""
        pixels = crop_face(image, matrix, _MESH_SIZE).astype(np.float32) / 255.0
        answer = self._mesh(input_12=pixels[None])
        mesh = answer["Identity"].reshape(-1, 3).astype(np.float64)
        back = FaceAligner.invert(matrix)
        mesh[:, :2] = FaceAligner.transform(mesh[:, :2], back)
        mesh[:, 2] *= np.hypot(*back[:, 0])
        return mesh.astype(np.float32), float(_sigmoid(answer["Identity_1"].reshape(())))


def decode_boxes(
    raw: npt.NDArray[np.float32], logits: npt.NDArray[np.float32], min_score: float
) -> tuple[Floats, Floats]:
    """Reads the face detector's answer.

    Args:
        raw: (896, 16) for each anchor: box centre and size, then six key points; px of the
            detector's input, places relative to the anchor.
        logits: (896,) scores before the sigmoid.
        min_score: Score from which a box is kept, 0 to 1.

    Returns:
        (N, 8, 2) corner, opposite corner, right eye, left eye, nose tip, mouth, right and left
        ear, px of the detector's input; and (N,) scores.
    """
    scores = _sigmoid(logits)
    keep = (scores >= min_score) & (raw[:, 2:4] > 0).all(axis=1)
    points = raw[keep].astype(np.float64).reshape(-1, 8, 2)
    anchors, half = _ANCHORS[keep], points[:, 1] / 2
    points[:, 1] = points[:, 0] + half
    points[:, 0] = points[:, 0] - half
    return points + anchors[:, None], scores[keep]


def merge_boxes(boxes: Floats, scores: Floats, min_overlap: float = 0.5) -> tuple[Floats, Floats]:
    """Replaces every heap of overlapping boxes by its average, weighted by score.

    Averaging instead of keeping the best box steadies the region from frame to frame, which is
    why BlazeFace does it.

    Args:
        boxes: (N, 8, 2) as from `decode_boxes`.
        scores: (N,).
        min_overlap: Intersection over union from which two boxes show the same face.

    Returns:
        (M, 8, 2) merged boxes and (M,) the best score of each heap, the surest first.
    """
    merged, best = [], []
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    while len(boxes):
        same = _overlap(boxes[0], boxes) > min_overlap
        # A box of no area overlaps nothing, not even itself, and would never leave the heap.
        same[0] = True
        merged.append(np.average(boxes[same], axis=0, weights=scores[same]))
        best.append(scores[0])
        boxes, scores = boxes[~same], scores[~same]
    return np.array(merged).reshape(-1, 8, 2), np.array(best)


def _overlap(box: Floats, boxes: Floats) -> Floats:
    """Returns the intersection over union of one box with N boxes."""
    low, high = np.maximum(box[0], boxes[:, 0]), np.minimum(box[1], boxes[:, 1])
    shared = np.clip(high - low, 0.0, None).prod(axis=1)
    area = (box[1] - box[0]).prod() + (boxes[:, 1] - boxes[:, 0]).prod(axis=1) - shared
    overlap: Floats = np.divide(shared, area, out=np.zeros(len(boxes)), where=area > 0)
    return overlap


def _sigmoid(logits: npt.NDArray[np.float32]) -> Floats:
    return 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -100.0, 100.0)))


def _make_anchors() -> Floats:
    """Returns the (896, 2) anchor centres: 2 for each 8-px cell, then 6 for each 16-px cell."""
    levels = []
    for stride, repeats in ((8, 2), (16, 6)):
        centres = np.arange(stride / 2, _DETECTOR_SIZE, stride)
        rows, columns = np.meshgrid(centres, centres, indexing="ij")
        levels.append(np.stack([columns, rows], axis=-1).reshape(-1, 2).repeat(repeats, axis=0))
    return np.concatenate(levels)


_ANCHORS = _make_anchors()


def _views(width: int, height: int) -> Iterator[list[Floats]]:
    """Yields sets of (2, 3) matrices from the frame to the detector's input, coarse to fine.

    First the whole frame; then, where that hides detail, overlapping squares of half its side.
    """
    for side in (float(max(width, height)), max(width, height) / 2):
        scale = _DETECTOR_SIZE / side
        yield [
            np.column_stack([np.eye(2) * scale, [-left * scale, -top * scale]])
            for top in _starts(height, side)
            for left in _starts(width, side)
        ]
        if side <= 2 * _DETECTOR_SIZE:
            return


def _starts(length: int, side: float) -> Floats:
    """Places squares along a frame, each half over the one before; one in the middle if it fits."""
    if length <= side:
        return np.array([(length - side) / 2])
    return np.linspace(0.0, length - side, 1 + math.ceil((length - side) / (side / 2)))


def _level(right_eye: Floats, left_eye: Floats) -> Floats:
    """Returns the (2, 2) rotation that brings the eyes to one height."""
    along = left_eye - right_eye
    cosine, sine = along / max(float(np.hypot(*along)), 1e-9)
    return np.array([[cosine, sine], [-sine, cosine]])


def _region(turn: Floats, centre: Floats, side: float) -> Floats:
    """Returns the (2, 3) matrix from the frame to the mesh network's input.

    Args:
        turn: (2, 2) rotation of the frame.
        centre: (2,) middle of the face in the turned frame, px.
        side: Longer side of the face in the turned frame, px.
    """
    scale = _MESH_SIZE / max(_ROI_SCALE * side, 1e-9)
    return np.column_stack([turn * scale, _MESH_SIZE / 2 - scale * centre])


def _region_of(mesh: npt.NDArray[np.float32]) -> Floats:
    """Returns the (2, 3) matrix for a mesh that is known already."""
    outline = mesh[:MESH_VERTICES, :2].astype(np.float64)
    turn = _level(outline[_RIGHT_EYE_CORNER], outline[_LEFT_EYE_CORNER])
    turned = outline @ turn.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    return _region(turn, (low + high) / 2, float((high - low).max()))


def _is_same_face(mesh: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> bool:
    """Tells whether two boxes have led to one face: noses closer than half an eye distance."""
    eyes = np.linalg.norm(other[_RIGHT_EYE_CORNER] - other[_LEFT_EYE_CORNER])
    return bool(np.linalg.norm(mesh[_NOSE_TIP, :2] - other[_NOSE_TIP, :2]) < eyes / 2)


def _read_models(*names: str) -> list[bytes]:
    """Reads members of the model archive after checking that it is Google's, unchanged."""
    try:
        data = MODELS.read_bytes()
    except OSError:
        data = b""
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise BundleError(
            f"{MODELS} is missing or damaged: its SHA-256 is not {SHA256}. Install tfau again."
        )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [archive.read(name) for name in names]
