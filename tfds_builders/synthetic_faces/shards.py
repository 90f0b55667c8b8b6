"""Renders a set of synthetic faces to shard files, and reads them back.

    python -m tfds_builders.synthetic_faces.shards --rig RIG --out FOLDER --identities 200

A shard is a `.npz` without pickles. Its arrays: `jpeg` (all pictures, end to end) and `offsets`
(N + 1,); `numbers` (A,); `left`, `right` (N, A) intensities 0-5 on the subject's own sides;
`points` (N, P, 2) of `AUSet(numbers)` in crop px; `subject`, `frame`, `is_neutral` (N,); `mesh`
(N, 468, 3) in crop px if it was kept; `recipe`, the arguments as JSON.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.crop import crop_face
from tfau.core.action_units import AUSet
from tfau.core.align import FaceAligner
from tfau.core.errors import DatasetError, require_extra, run_cli
from tfau.core.faces import MESH_VERTICES, au_points
from tfau.core.files import whole_file
from tfds_builders import workers
from tfds_builders.synthetic_faces.renderer import FaceRenderer
from tfds_builders.synthetic_faces.rig import FaceRig
from tfds_builders.synthetic_faces.sampling import (
    NUMBERS,
    sample_expression,
    sample_identity,
    sample_shot,
)

FORMAT = 1
IDENTITIES_PER_SHARD = 25


def render_shards(
    rig_folder: str | Path,
    out_folder: str | Path,
    identities: int = 200,
    images_per_identity: int = 10,
    crop_size: int = 128,
    seed: int = 0,
    processes: int = 1,
    jpeg_quality: int = 85,
    keep_mesh: bool = False,
) -> list[Path]:
    """Renders `identities` x `images_per_identity` aligned crops.

    The bytes depend on the arguments alone (on one machine), not on `processes`. Finished shards
    are kept, so a stopped run goes on where it was. The drawing is always done in other processes.

    Args:
        rig_folder: folder of the face rig.
        out_folder: where the shards go; created if missing.
        identities: number of people. Each has its face at rest as frame 0.
        images_per_identity: pictures of each.
        crop_size: side of the crops, px, a multiple of 32.
        seed: person k is drawn from (seed, k).
        processes: worker processes, about 20 faces per second each.
        jpeg_quality: 1 to 100.
        keep_mesh: also store the 468 mesh points.

    Returns:
        The shards, in order.

    Raises:
        ValueError: an argument is out of range.
        DatasetError: the rig is damaged, or the folder holds shards of another recipe.
        MissingExtra: what draws is not installed.
    """
    for name, value, low, high in (
        ("identities", identities, 1, 10**7),
        ("images_per_identity", images_per_identity, 1, 10**5),
        ("seed", seed, 0, 2**63),
        ("processes", processes, 1, 4096),
        ("jpeg_quality", jpeg_quality, 1, 100),
    ):
        if not low <= value <= high:
            raise ValueError(f"`{name}` must be {low} to {high}. Received: {name}={value}")
    FaceAligner(crop_size)
    require_extra("synthetic", "moderngl")
    FaceRig.load(rig_folder)
    out_folder = Path(out_folder)
    recipe = {
        "format": FORMAT,
        "identities": identities,
        "images_per_identity": images_per_identity,
        "crop_size": crop_size,
        "seed": seed,
        "jpeg_quality": jpeg_quality,
        "keep_mesh": keep_mesh,
    }
    out_folder.mkdir(parents=True, exist_ok=True)
    count = -(-identities // IDENTITIES_PER_SHARD)
    paths = [out_folder / f"faces-{i:05d}-of-{count:05d}.npz" for i in range(count)]
    for path in sorted(out_folder.glob("faces-*.npz")):
        if path not in paths or _load(path)["recipe"].item() != json.dumps(recipe):
            raise DatasetError(
                "`out` must be a new folder, or one with shards of the same arguments. "
                f"Received: out={out_folder}, where {path.name} was made with others"
            )
    missing = [
        _Shard(i, path, str(rig_folder), recipe)
        for i, path in enumerate(paths)
        if not path.exists()
    ]
    total = sum(len(shard.subjects) for shard in missing) * images_per_identity
    workers.run(_Shard.render, missing, processes=processes, total=total, noun="faces")
    return paths


@dataclass(frozen=True)
class _Shard:
    """A shard to render: its number and file, the folder of the rig, and the arguments."""

    number: int
    path: Path
    rig: str
    recipe: dict[str, Any]

    @property
    def subjects(self) -> range:
        first = self.number * IDENTITIES_PER_SHARD
        return range(first, min(first + IDENTITIES_PER_SHARD, self.recipe["identities"]))

    def render(self, advance: workers.Advance) -> None:
        """Renders the shard and writes it, whole."""
        recipe = self.recipe
        # The crop takes three quarters of a frame; it is to be shrunk, not blown up.
        renderer = _renderer(self.rig, max(320, round(1.6 * recipe["crop_size"])))
        aligner, aus = FaceAligner(recipe["crop_size"]), AUSet(NUMBERS)
        quality = [cv2.IMWRITE_JPEG_QUALITY, recipe["jpeg_quality"]]
        rows: dict[str, list[Any]] = {}
        pictures: list[bytes] = []
        for subject in self.subjects:
            rng = np.random.default_rng([recipe["seed"], subject])
            renderer.wear(sample_identity(renderer.rig, rng))
            for frame in range(recipe["images_per_identity"]):
                shot = sample_shot(rng, sample_expression(rng) if frame else {})
                picture = renderer.render(shot)
                matrix = aligner.matrix(picture.mesh)
                crop = crop_face(picture.image, matrix, aligner.crop_size)
                _, data = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), quality)
                pictures.append(data.tobytes())
                mesh = picture.mesh[:MESH_VERTICES]
                scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
                mesh = np.hstack([aligner.transform(mesh[:, :2], matrix), mesh[:, 2:] * scale])
                left, right = shot.labels(picture.opening)
                row = {
                    "left": left,
                    "right": right,
                    "points": au_points(mesh, aus),
                    "mesh": mesh,
                    "subject": subject,
                    "frame": frame,
                    "is_neutral": frame == 0,
                }
                for name, value in row.items():
                    rows.setdefault(name, []).append(value)
            advance(recipe["images_per_identity"])
        if not recipe["keep_mesh"]:
            del rows["mesh"]
        with whole_file(self.path) as unfinished:
            np.savez_compressed(
                unfinished,
                allow_pickle=False,
                jpeg=np.frombuffer(b"".join(pictures), np.uint8),
                offsets=np.cumsum([0, *map(len, pictures)]),
                numbers=np.array(NUMBERS),
                recipe=np.array(json.dumps(recipe)),
                **{name: np.array(values, _STORED[name]) for name, values in rows.items()},
            )


@functools.cache
def _renderer(rig: str, frame_size: int) -> FaceRenderer:
    """Opens the renderer of a process; it ends with the process."""
    return FaceRenderer(FaceRig.load(rig), frame_size)


# Half floats hold crop px to 1/16 px up to 256 px.
_STORED: dict[str, type] = {
    "left": np.float32,
    "right": np.float32,
    "points": np.float16,
    "mesh": np.float16,
    "subject": np.int32,
    "frame": np.int32,
    "is_neutral": np.bool_,
}


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        offsets, count = arrays["offsets"], len(arrays["left"])
        rows = [arrays[name] for name in (*_STORED,) if name != "mesh" or "mesh" in arrays]
        if (
            any(len(row) != count for row in rows)
            or len(offsets) != count + 1
            or offsets[-1] != len(arrays["jpeg"])
            or arrays["left"].shape != arrays["right"].shape
            or arrays["left"].shape[1:] != arrays["numbers"].shape
            or json.loads(arrays["recipe"].item())["format"] != FORMAT
        ):
            raise ValueError("its arrays do not fit together")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise DatasetError(
            f"A shard must be a whole file of this builder. Received: {path} "
            f"({type(error).__name__}: {error})"
        ) from error
    return arrays


def read_shard(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yields the pictures of a shard.

    Args:
        path: a file that `render_shards` wrote.

    Yields:
        A dict with `jpeg` (bytes), `numbers` (A,), `left`, `right` (A,) float32, NaN where a unit
        is not coded, `points` (P, 2) float32 of `AUSet(numbers)` in crop px, `subject`, `frame`,
        `is_neutral` and, where it was kept, `mesh` (468, 3) float32 in crop px.

    Raises:
        DatasetError: the file is missing, damaged or not a shard.
    """
    arrays = _load(Path(path))
    jpeg, offsets = arrays["jpeg"].tobytes(), arrays["offsets"].tolist()
    for i, (start, end) in enumerate(itertools.pairwise(offsets)):
        example: dict[str, Any] = {
            "jpeg": jpeg[start:end],
            "numbers": arrays["numbers"],
            "left": arrays["left"][i],
            "right": arrays["right"][i],
            "points": arrays["points"][i].astype(np.float32),
            "subject": int(arrays["subject"][i]),
            "frame": int(arrays["frame"][i]),
            "is_neutral": bool(arrays["is_neutral"][i]),
        }
        if "mesh" in arrays:
            example["mesh"] = arrays["mesh"][i].astype(np.float32)
        yield example


def main(argv: Sequence[str] | None = None) -> None:
    """Renders shards from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tfds_builders.synthetic_faces.shards",
        description="Render synthetic faces with exact action-unit intensities.",
    )
    parser.add_argument("--rig", required=True, metavar="DIR", help="folder of the face rig")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the shards")
    parser.add_argument("--identities", type=int, default=200, help="people (200)")
    parser.add_argument("--images", type=int, default=10, help="pictures of each (10)")
    parser.add_argument("--crop-size", type=int, default=128, help="side of a crop, px (128)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (0)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="workers (all cores)"
    )
    parser.add_argument("--jpeg-quality", type=int, default=85, help="1 to 100 (85)")
    parser.add_argument("--keep-mesh", action="store_true", help="also store the 468 points")
    options = parser.parse_args(argv)
    paths = render_shards(
        options.rig,
        options.out,
        options.identities,
        options.images,
        options.crop_size,
        options.seed,
        options.processes,
        options.jpeg_quality,
        options.keep_mesh,
    )
    print(f"{len(paths)} shards in {options.out}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
