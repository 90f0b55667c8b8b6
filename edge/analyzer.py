"""From a frame to action units: mesh, crop, network and decoder in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge import geometry, quality
from edge.face_mesh import FrontEnd
from edge.runtime import AUModel
from edge.warp import crop_face, steady
from tfau.core import AUReading, AUSet, FaceAligner, FaceFrame, au_points
from tfau.core.action_units import INTENSITY_MAX
from tfau.core.faces import MESH_VERTICES
from tfau.core.uncertainty import expected_error

_LIDS = (43, 45)  # closed lids are read off the mesh where the network does not know them


class FaceAnalyzer:
    """Reads the action units of every face in a frame.

    A reading depends on its frame, its face and nothing else: not on the other faces, their order,
    nor on how many threads there are. Units that the camera cannot see are NaN, see `edge.quality`.

    Args:
        model: The network; its bundle says how to crop and how to decode.
        mesh: Finds the faces. It stays the caller's to close.

    Attributes:
        aus: The network's units, and behind them AU43 and AU45 read off the lids of the mesh where
            the network does not have them.
        lids: The numbers of the latter.

    Example:
        >>> def print_smiles(model: AUModel, image: npt.NDArray[np.uint8]) -> None:
        ...     with FaceMesh(max_faces=4) as mesh:
        ...         for reading in FaceAnalyzer(model, mesh).analyze(image):
        ...             print(reading.face.track_id, reading.intensities[reading.aus.index(12)])
    """

    def __init__(self, model: AUModel, mesh: FrontEnd) -> None:
        self.model, self.mesh = model, mesh
        bundle = model.bundle
        self.lids = lids = [number for number in _LIDS if number not in bundle.aus.numbers]
        self.aus = AUSet([*bundle.aus.numbers, *lids])
        self._lids, self._size = AUSet(lids) if lids else None, bundle.crop_size
        self._aligner, self._codec = bundle.aligner, bundle.codec
        self._in_model = AUSet(bundle.aus.numbers)
        # What the mesh says of the lids has no table of errors.
        unknown = np.full((len(lids), bundle.error_table.shape[1]), np.nan, np.float32)
        self._error_table = np.concatenate([bundle.error_table, unknown])

    def analyze(self, image: npt.NDArray[np.uint8], timestamp_ms: float = 0.0) -> list[AUReading]:
        """Reads one frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            timestamp_ms: Presentation time of the frame.

        Returns:
            One reading for each face, in the order of `mesh.detect`, its points in frame pixels;
            empty if there is no face.

        Raises:
            ValueError: If the image is not (H, W, 3) uint8.
        """
        return self.read(image, self.mesh.detect(image, timestamp_ms))

    def read(
        self,
        image: npt.NDArray[np.uint8],
        faces: Sequence[FaceFrame],
        neutrals: Sequence[npt.NDArray[np.float32] | None] | None = None,
    ) -> list[AUReading]:
        """Reads the faces of a frame that were found already.

        Args:
            image: (H, W, 3) uint8 RGB.
            faces: Its faces.
            neutrals: For each face the features of the same person at rest, or None; only a pair
                network looks at them.

        Returns:
            One reading for each face.
        """
        if not faces:
            return []
        matrices = [steady(self._aligner.matrix(face.mesh), self._size) for face in faces]
        crops = np.stack([crop_face(image, matrix, self._size) for matrix in matrices])
        if self.model.bundle.features:
            meshes = [FaceAligner.aligned_mesh(face.mesh[:MESH_VERTICES]) for face in faces]
            unknown = np.zeros(self.model.bundle.features, np.float32)
            known = [unknown if n is None else n for n in neutrals or [None] * len(faces)]
            answers = self.model(crops, np.stack(meshes), np.stack(known))
        else:
            answers = self.model(crops)
        return [
            self._read(face, matrix, crop, {name: rows[i] for name, rows in answers.items()})
            for i, (face, matrix, crop) in enumerate(zip(faces, matrices, crops, strict=True))
        ]

    def _read(
        self,
        face: FaceFrame,
        matrix: npt.NDArray[np.float64],
        crop: npt.NDArray[np.uint8],
        answer: dict[str, npt.NDArray[np.float32]],
    ) -> AUReading:
        if "heatmaps" in answer:
            points = np.array(self._codec.decode(answer["heatmaps"]), np.float32)
            points[:, :2] = FaceAligner.transform(points[:, :2], FaceAligner.invert(matrix))
        else:
            places = au_points(face.mesh, self._in_model)
            points = np.column_stack([places, answer["intensity"]]).astype(np.float32)
        shape = geometry.measure(face)
        if self._lids:
            places = au_points(face.mesh, self._lids)
            # Both units have a point on the left, then one on the right.
            levels = np.tile(geometry.closure(shape.eye_aspect), len(self._lids))
            points = np.concatenate([points, np.column_stack([places, levels])], dtype=np.float32)
        points[:, 2] = points[:, 2].clip(0.0, INTENSITY_MAX)
        mark, reasons = quality.judge(face, shape, crop)
        hidden, cut = quality.hidden_points(face, shape, self.aus)
        if cut:
            reasons.append("at_border")
        points[hidden] = np.nan
        intensities = self.aus.pool(points[:, 2]).astype(np.float32)
        if "error" in answer:
            errors = np.full(len(self.aus), np.nan, np.float32)
            errors[: len(self._in_model)] = self._in_model.pool(answer["error"])
            errors[np.isnan(intensities)] = np.nan
        else:
            errors = expected_error(intensities, self._error_table)
        return AUReading(
            self.aus,
            intensities,
            errors,
            points,
            face,
            success=not bool(np.isnan(intensities).all()),
            reason=" ".join(reasons),
            quality=mark,
            geometry=shape,
            maps=answer.get("heatmaps"),
            to_maps=self._codec.to_maps(matrix) if "heatmaps" in answer else None,
            features=answer.get("features"),
        )


def with_levels(reading: AUReading, levels: npt.NDArray[np.floating]) -> AUReading:
    """Returns a reading with other intensities at its points, (P,); its errors stay as they are."""
    points = reading.points.copy()
    points[:, 2] = levels
    intensities = reading.aus.pool(points[:, 2]).astype(np.float32)
    return dataclasses.replace(reading, points=points, intensities=intensities)
