"""Finds faces coarsely: BlazeFace on LiteRT, on the whole frame and on overlapping parts of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.runtime import Graph
from edge.warp import crop_face
from tfau.core import FaceAligner

Floats = npt.NDArray[np.float64]

_SIZE = 128


class FaceDetector:
    """Finds the boxes of faces in a frame.

    Args:
        content: BlazeFace (short range) as a `.tflite`.
        min_score: Score from which a box counts as a face, 0 to 1.
        threads: Threads to run it with.

    References:
        - Bazarevsky et al., "BlazeFace", 2019, https://arxiv.org/abs/1907.05047.
        - google-ai-edge/mediapipe, `face_detector_graph.cc`: thresholds and anchors. Like it we
          sample bilinearly, but average first where that would skip 8 pixels and more.
    """

    def __init__(self, content: bytes, *, min_score: float, threads: int) -> None:
        self.min_score = min_score
        self._graph = Graph(content, threads=threads, name="face_detector.tflite")

    def search(self, image: npt.NDArray[np.uint8], levels: int) -> Iterator[Floats]:
        """Yields boxes, coarse to fine: a face narrower than 6 % of what it is shown is missed.

        Args:
            image: (H, W, 3) uint8 RGB.
            levels: 1 for the whole frame only; each more halves the side of the squares that the
                detector is shown.

        Yields:
            For each level (N, 8, 2) boxes as from `decode_boxes`, in frame px, the surest first.
        """
        height, width = image.shape[:2]
        for views in _views(width, height, levels):
            boxes, scores = zip(*(self._look(image, view) for view in views), strict=True)
            yield merge_boxes(np.concatenate(boxes), np.concatenate(scores))[0]

    def _look(self, image: npt.NDArray[np.uint8], matrix: Floats) -> tuple[Floats, Floats]:
        """Finds boxes, frame px, and scores in what `matrix` carries onto the network's input."""
        if matrix[0, 0] > 1 / 8:
            picture: Any = cv2.warpAffine(image, matrix, (_SIZE, _SIZE), flags=cv2.INTER_LINEAR)
        else:
            picture = crop_face(image, matrix, _SIZE)
        pixels = picture.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
        answer = self._graph(input=pixels[None])
        boxes, scores = decode_boxes(
            answer["regressors"][0], answer["classificators"][0, :, 0], self.min_score
        )
        return FaceAligner.transform(boxes, FaceAligner.invert(matrix)), scores


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
    scores = sigmoid(logits)
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
        same = overlap(boxes[0, :2], boxes[:, :2]) > min_overlap
        # A box of no area overlaps nothing, not even itself, and would never leave the heap.
        same[0] = True
        merged.append(np.average(boxes[same], axis=0, weights=scores[same]))
        best.append(scores[0])
        boxes, scores = boxes[~same], scores[~same]
    return np.array(merged).reshape(-1, 8, 2), np.array(best)


def overlap(box: Floats, boxes: Floats) -> Floats:
    """Returns the (N,) intersection over union of a (2, 2) box with (N, 2, 2) others."""
    low, high = np.maximum(box[0], boxes[:, 0]), np.minimum(box[1], boxes[:, 1])
    shared = np.clip(high - low, 0.0, None).prod(axis=1)
    area = (box[1] - box[0]).prod() + (boxes[:, 1] - boxes[:, 0]).prod(axis=1) - shared
    ratio: Floats = np.divide(shared, area, out=np.zeros(len(boxes)), where=area > 0)
    return ratio


def sigmoid(logits: npt.NDArray[np.float32]) -> Floats:
    """Turns scores into probabilities, without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -100.0, 100.0)))


def _make_anchors() -> Floats:
    """Returns the (896, 2) anchor centres: 2 for each 8-px cell, then 6 for each 16-px cell."""
    levels = []
    for stride, repeats in ((8, 2), (16, 6)):
        centres = np.arange(stride / 2, _SIZE, stride)
        rows, columns = np.meshgrid(centres, centres, indexing="ij")
        levels.append(np.stack([columns, rows], axis=-1).reshape(-1, 2).repeat(repeats, axis=0))
    return np.concatenate(levels)


_ANCHORS = _make_anchors()


def _views(width: int, height: int, levels: int) -> Iterator[list[Floats]]:
    """Yields sets of (2, 3) matrices from the frame to the detector's input, coarse to fine.

    First the whole frame; then, where that hides detail, overlapping squares of half its side.
    """
    side = float(max(width, height))
    for _ in range(levels):
        scale = _SIZE / side
        yield [
            np.column_stack([np.eye(2) * scale, [-left * scale, -top * scale]])
            for top in _starts(height, side)
            for left in _starts(width, side)
        ]
        if side <= 2 * _SIZE:
            return
        side /= 2


def _starts(length: int, side: float) -> Floats:
    """Places squares along a frame, each half over the one before; one in the middle if it fits."""
    if length <= side:
        return np.array([(length - side) / 2])
    return np.linspace(0.0, length - side, 1 + math.ceil((length - side) / (side / 2)))
