"""Photos laid onto a reference face."""

import csv

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

from edge.align import main, similarity


@given(st.floats(-3, 3), st.floats(0.3, 3), st.floats(-50, 50), st.booleans())
def test_a_similarity_is_found_and_never_mirrors(angle, size, shift, scale):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(12, 2)) * 40
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (size if scale else 1.0) * points @ turn.T + shift
    matrix = similarity(points, moved, scale=scale)
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], moved, atol=1e-6)
    mirrored = points * (-1, 1)
    assert np.linalg.det(similarity(points, mirrored)[:, :2]) >= 0


def test_a_turned_photo_comes_back(tmp_path, capsys):
    image = cv2.cvtColor(skimage.data.astronaut()[:320, 60:400], cv2.COLOR_RGB2BGR)
    height, width = image.shape[:2]
    turned = cv2.warpAffine(
        image,
        cv2.getRotationMatrix2D((170, 140), 18, 0.8),
        (width, height),
        borderMode=cv2.BORDER_REPLICATE,
    )
    cv2.imwrite(str(tmp_path / "reference.png"), image)
    (tmp_path / "set").mkdir()
    cv2.imwrite(str(tmp_path / "set" / "turned.png"), turned)
    cv2.imwrite(str(tmp_path / "set" / "grey.png"), np.full((64, 64, 3), 90, np.uint8))
    main([str(tmp_path / "reference.png"), str(tmp_path / "set"), "-o", str(tmp_path / "out")])
    assert "1 of 2 aligned, 1 without a face" in capsys.readouterr().out
    back = cv2.imread(str(tmp_path / "out" / "turned.png"))
    assert back.shape == image.shape
    face = (slice(60, 200), slice(110, 230))
    before = np.abs(turned[face].astype(int) - image[face]).mean()
    after = np.abs(back[face].astype(int) - image[face]).mean()
    assert after < 0.35 * before
    with (tmp_path / "out" / "landmarks.csv").open() as stream:
        rows = list(csv.reader(stream))
    assert len(rows) == 2
    assert len(rows[0]) == 1 + 2 * 468


def test_bad_input_is_one_sentence(tmp_path, photo):
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.full((64, 64, 3), 90, np.uint8))
    with pytest.raises(ValueError, match="shows no face"):
        main([str(blank), str(photo), "-o", str(tmp_path / "out")])
    with pytest.raises(ValueError, match="would be replaced"):
        main([str(photo), str(photo), "-o", str(photo.parent)])
    with pytest.raises(ValueError, match="must be a folder"):
        main([str(photo), str(photo), "-o", str(photo)])
