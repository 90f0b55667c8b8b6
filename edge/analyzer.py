"""From a frame to action units: mesh, crop, network and decoder in one call."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.crop import crop_face
from edge.face_mesh import FaceMesh
from edge.runtime import AUModel
from tfau.core import AUReading, FaceAligner, FaceFrame
from tfau.core.action_units import INTENSITY_MAX
from tfau.core.uncertainty import expected_error


class FaceAnalyzer:
    """Reads the action units of every face in a frame.

    Args:
        model: The network; its bundle says how to crop and how to decode.
        mesh: Finds the faces. It stays the caller's to close.

    Example:
        >>> def print_smiles(model: AUModel, image: npt.NDArray[np.uint8]) -> None:
        ...     with FaceMesh(max_faces=4) as mesh:
        ...         for reading in FaceAnalyzer(model, mesh).analyze(image):
        ...             print(reading.face.track_id, reading.intensities[reading.aus.index(12)])
    """

    def __init__(self, model: AUModel, mesh: FaceMesh) -> None:
        self.model, self.mesh = model, mesh
        bundle = model.bundle
        self._aus, self._size = bundle.aus, bundle.crop_size
        self._aligner, self._codec = bundle.aligner, bundle.codec
        self._error_table = bundle.error_table

    def analyze(self, image: npt.NDArray[np.uint8], timestamp_ms: float = 0.0) -> list[AUReading]:
        """Reads one frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            timestamp_ms: Presentation time of the frame.

        Returns:
            One reading for each face, in the order of `FaceMesh.detect`, its points in frame
            pixels; empty if there is no face.

        Raises:
            ValueError: If the image is not (H, W, 3) uint8.
        """
        return [self._read(image, face) for face in self.mesh.detect(image, timestamp_ms)]

    def _read(self, image: npt.NDArray[np.uint8], face: FaceFrame) -> AUReading:
        matrix = self._aligner.matrix(face.mesh)
        crop = crop_face(image, matrix, self._size)
        maps = self.model(crop[None])["heatmaps"][0]
        points = np.array(self._codec.decode(maps), np.float32)
        points[:, :2] = FaceAligner.transform(points[:, :2], FaceAligner.invert(matrix))
        points[:, 2] = points[:, 2].clip(0.0, INTENSITY_MAX)
        intensities = self._aus.pool(points[:, 2]).astype(np.float32)
        return AUReading(
            self._aus,
            intensities,
            expected_error(intensities, self._error_table),
            points,
            face,
            maps=maps,
            to_maps=self._codec.to_maps(matrix),
        )
