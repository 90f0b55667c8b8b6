"""What the edge's tests share: a photograph, a model without a network, and one open mesh."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import skimage.data

from edge.face_mesh import FaceMesh
from edge.runtime import AUModel

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def astronaut() -> npt.NDArray[np.uint8]:
    """(512, 512, 3) RGB portrait of Eileen Collins (NASA, public domain)."""
    image = skimage.data.astronaut()
    image.flags.writeable = False
    return image


@pytest.fixture(scope="session")
def mesh() -> Iterator[FaceMesh]:
    with FaceMesh(max_faces=4) as mesh:
        yield mesh


@pytest.fixture(scope="session")
def model_path() -> Path:
    """A bundle whose maps are bumps at fixed places, as high as the crop is bright.

    AU12 left (40, 50), right (20, 44); AU25 upper (31, 47), lower (31, 53) in a crop of 64 px;
    their heights are 1, .5, .8 and .8 times the mean grey level over 51.
    """
    return HERE / "fixed_bumps.tflite"


@pytest.fixture(scope="session")
def model(model_path: Path) -> AUModel:
    return AUModel(model_path)


@pytest.fixture
def photo(tmp_path: Path, astronaut: npt.NDArray[np.uint8]) -> Path:
    path = tmp_path / "input" / "astronaut.png"
    path.parent.mkdir()
    cv2.imwrite(str(path), cv2.cvtColor(astronaut, cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture
def clip(tmp_path: Path, astronaut: npt.NDArray[np.uint8]) -> Path:
    """A video of five frames in which the astronaut moves 8 px to the right each time."""
    path = tmp_path / "input" / "clip.avi"
    path.parent.mkdir(exist_ok=True)
    code = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, code, 25.0, (320, 240))
    for step in range(5):
        picture = np.roll(astronaut[:240, 60:380], 8 * step, axis=1)
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture(
    params=[
        pytest.param(
            "pyav", marks=pytest.mark.skipif(not find_spec("av"), reason="needs tfau[video]")
        ),
        "opencv",
    ]
)
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test with PyAV, and again as if it were not installed."""
    if request.param == "opencv":
        monkeypatch.setattr("edge.sources.load_pyav", lambda: None)
        monkeypatch.setattr("edge.sinks.load_pyav", lambda: None)
    return request.param
