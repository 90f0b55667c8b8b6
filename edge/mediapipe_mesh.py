"""The official mediapipe package behind the interface of `FaceMesh`, to compare with."""

from __future__ import annotations

import importlib
import platform
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edge.face_mesh import MODELS
from tfau.core import FaceFrame, MissingExtra


class MediaPipeMesh:
    """Finds faces with mediapipe's FaceLandmarker; `pip install 'tfau[mediapipe]'`.

    Since 1.0 that package reports usage to its maker. It is no part of tfau, and not the default.

    Args:
        max_faces: Most faces to return. With one it smooths the points of a video.
        follow: Whether the frames are those of one video.
        blendshapes: Whether to estimate blendshapes.

    Raises:
        MissingExtra: If the package is not installed, or would abort on this processor.
    """

    def __init__(
        self, *, max_faces: int = 1, follow: bool = False, blendshapes: bool = False
    ) -> None:
        check_processor(platform.machine(), Path("/proc/cpuinfo"))
        try:
            # Not named in an import: nothing of the edge may need it.
            self._package: Any = importlib.import_module("mediapipe")
            vision = importlib.import_module("mediapipe.tasks.python.vision")
            base = importlib.import_module("mediapipe.tasks.python.core.base_options")
        except ImportError as error:
            raise MissingExtra(
                f"mediapipe cannot be imported ({error}): `pip install 'tfau[mediapipe]'`."
            ) from None
        modes = vision.RunningMode
        self.follow = follow
        self._landmarker: Any = vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(
                base_options=base.BaseOptions(model_asset_path=str(MODELS)),
                running_mode=modes.VIDEO if follow else modes.IMAGE,
                num_faces=max_faces,
                output_face_blendshapes=blendshapes,
            )
        )
        self._last_ms = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._landmarker.close()

    def detect(self, image: npt.NDArray[np.uint8], timestamp_ms: float = 0.0) -> list[FaceFrame]:
        """Finds the faces of one frame, as `FaceMesh.detect` does."""
        height, width = image.shape[:2]
        picture = self._package.Image(
            image_format=self._package.ImageFormat.SRGB, data=np.ascontiguousarray(image)
        )
        if self.follow:
            # Its clock is in whole milliseconds and must rise.
            self._last_ms = max(self._last_ms + 1, round(timestamp_ms))
            result = self._landmarker.detect_for_video(picture, self._last_ms)
        else:
            result = self._landmarker.detect(picture)
        size = np.array([width, height, width], np.float32)
        shapes = result.face_blendshapes or [None] * len(result.face_landmarks)
        faces = []
        for place, (points, weights) in enumerate(zip(result.face_landmarks, shapes, strict=True)):
            mesh = np.array([[p.x, p.y, p.z] for p in points], np.float32) * size
            scores = weights and np.array([category.score for category in weights], np.float32)
            faces.append(FaceFrame(mesh, (width, height), timestamp_ms, place, 1.0, scores))
        return faces

    def state(self) -> Any:
        """Returns None: what mediapipe carries from frame to frame is its own."""
        return None

    def restore(self, state: Any) -> None:
        """Raises ValueError."""
        del state
        raise ValueError("`--resume` does not go with `--front-end mediapipe`.")


def check_processor(machine: str, cpuinfo: Path) -> None:
    """Checks that mediapipe will not abort the process, which Python could not catch.

    Raises:
        MissingExtra: On an ARM processor without atomic instructions (LSE), as in a Raspberry Pi 4.
    """
    if machine != "aarch64" or not cpuinfo.is_file():
        return
    lines = cpuinfo.read_text().splitlines()
    features = [line for line in lines if line.startswith("Features")]
    if features and not any("atomics" in line.split() for line in features):
        raise MissingExtra(
            "The mediapipe package aborts on this processor (it needs LSE atomics, which a "
            "Raspberry Pi 4 lacks); leave out `--front-end mediapipe`."
        )
