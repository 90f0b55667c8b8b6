"""`python -m edge.crop`: crops for a data set."""

import csv

import cv2
import numpy as np
import pytest

import edge.crop
from edge.sources import read_image
from edge.warp import crop_face
from tfau.core import FaceAligner, SourceError


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_folder_of_photos_and_videos(tmp_path, photo, clip, mesh, astronaut, capsys):
    out = tmp_path / "out"
    (photo.parent / "broken.png").write_bytes(photo.read_bytes()[:5000])
    arguments = [str(photo.parent), "-o", str(out), "--size", "128", "--processes", "2"]
    edge.crop.main([*arguments, "--every", "2"])
    output = capsys.readouterr()
    assert "4 crops of 3 files" in output.out
    assert "broken.png is no picture that can be read" in output.err
    found = rows(out / "crops.csv")
    assert [row["crop"] for row in found] == [
        "astronaut.png/000001_0.png",
        *(f"clip.avi/{n:06d}_0.png" for n in (1, 3, 5)),
    ]
    assert [row["timestamp"] for row in found] == ["0.000", "0.000", "0.080", "0.160"]

    (face,) = mesh.detect(astronaut)
    aligner = FaceAligner(128)
    matrix = aligner.matrix(face.mesh)
    crop = read_image(out / found[0]["crop"])
    assert np.array_equal(crop, crop_face(astronaut, matrix, 128))
    (stored,) = np.load(out / "astronaut.png" / "meshes.npy")
    assert np.allclose(stored[:, :2], aligner.transform(face.mesh[:, :2], matrix), atol=1e-3)
    assert not (out / "broken.png").exists()

    # What is there is not done again.
    stamp = (out / found[1]["crop"]).stat().st_mtime_ns
    edge.crop.main(arguments)
    assert (out / found[1]["crop"]).stat().st_mtime_ns == stamp
    assert rows(out / "crops.csv") == found


def test_bad_arguments(tmp_path, photo):
    out = ["-o", str(tmp_path / "out")]
    with pytest.raises(SourceError, match="There is no file"):
        edge.crop.main(["missing.png", *out])
    with pytest.raises(ValueError, match="multiple of 32"):
        edge.crop.main([str(photo), *out, "--size", "100"])
    with pytest.raises(ValueError, match="`--every` must be"):
        edge.crop.main([str(photo), *out, "--every", "0"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="There is no photo and no video"):
        edge.crop.main([str(tmp_path / "empty"), *out])
    (tmp_path / "two").mkdir()
    cv2.imwrite(str(tmp_path / "two" / photo.name), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(ValueError, match="would share a folder"):
        edge.crop.main([str(photo), str(tmp_path / "two" / photo.name), *out])
    assert not (tmp_path / "out").exists()
