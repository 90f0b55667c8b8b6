"""Renders a set of synthetic faces to shard files, and reads them back.

    python -m tfds_builders.synthetic_faces.shards --rig RIG --out FOLDER --identities 200

A shard is a `.npz` without pickles. Its arrays: `jpeg` (all pictures, end to end) and `offsets`
(N + 1,); `numbers` (A,); `left`, `right` (N, A) intensities 0-5 on the subject's own sides;
`points` (N, P, 2) of `AUSet(numbers)` in crop px; `subject`, `frame`, `is_neutral` (N,); `mesh`
(N, 468, 3) in crop px if it was kept; `recipe`, the arguments as JSON. Wild pictures also have
`pose` (N, 3), the yaw, pitch and roll that were drawn, degrees; and `cover` (N,), which row of
`wild.COVERS` hides a part of the face.
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
import numpy.typing as npt

from edge.face_mesh import FaceMesh
from edge.warp import crop_face
from tfau.core.action_units import AUSet
from tfau.core.align import FaceAligner
from tfau.core.errors import DatasetError, require_extra, run_cli
from tfau.core.faces import MESH_VERTICES, au_points
from tfau.core.files import whole_file
from tfau.core.names import check_name
from tfds_builders import workers
from tfds_builders.synthetic_faces import wild
from tfds_builders.synthetic_faces.renderer import FaceRenderer, Picture
from tfds_builders.synthetic_faces.rig import FaceRig
from tfds_builders.synthetic_faces.sampling import (
    NUMBERS,
    Shot,
    sample_expression,
    sample_identity,
    sample_shot,
)

FORMAT = 1
IDENTITIES_PER_SHARD = 25
STYLES = ("studio", "wild", "reserved", "loose", "lively")


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
    style: str = "studio",
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
        style: of `STYLES`. Wild pictures are as hard as real ones, see `wild`: they are cut by the
            mesh that `edge.face_mesh` finds in them, and it is that which is kept; a picture where
            it finds no face is drawn anew; frames 0 and 1 are at rest. Reserved ones too, with
            skins, hair, brows, lashes and teeth that wild ones never have. Half of the loose ones,
            which are wild otherwise, have weights of the rig instead of action units; those of
            lively ones have a busy mouth.

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
    check_name("style", style, STYLES)
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
    } | ({} if style == STYLES[0] else {"style": style})
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
        recipe, style = self.recipe, self.recipe.get("style", STYLES[0])
        # The crop takes three quarters of a frame; it is to be shrunk, not blown up.
        studio = _studio(self.rig, max(320, round(1.6 * recipe["crop_size"])), style)
        aligner, aus = FaceAligner(recipe["crop_size"]), AUSet(NUMBERS)
        quality = [cv2.IMWRITE_JPEG_QUALITY, recipe["jpeg_quality"]]
        rows: dict[str, list[Any]] = {}
        pictures: list[bytes] = []
        for subject in self.subjects:
            studio.invite(recipe["seed"], subject)
            for frame in range(recipe["images_per_identity"]):
                shot, picture, mesh = studio.photograph(frame)
                matrix = aligner.matrix(mesh)
                crop = crop_face(picture.image, matrix, aligner.crop_size)
                _, data = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), quality)
                pictures.append(data.tobytes())
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
                    "is_neutral": not shot.intensities,
                }
                if studio.finder:
                    row["pose"] = shot.yaw, shot.pitch, shot.roll
                    row["cover"] = wild.COVERS.index(studio.cover(shot))
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


class _Studio:
    """Invites people and takes pictures of them.

    Args:
        rig: the head.
        frame_size: side of the frames, px.
        style: of `STYLES`.
    """

    def __init__(self, rig: FaceRig, frame_size: int, style: str) -> None:
        rough = style != STYLES[0]
        if rough:
            rig = wild.with_cheeks(wild.half(rig, reserved=style == "reserved"))
        self.loose, self.lively = style in ("loose", "lively"), style == "lively"
        self.renderer = FaceRenderer(rig, frame_size, samples=0 if rough else 4, bulges=rough)
        self.finder = FaceMesh(max_faces=1) if rough else None

    def invite(self, seed: int, subject: int) -> None:
        """Draws a person."""
        self.rng = np.random.default_rng([seed, subject])
        identity = sample_identity(self.renderer.rig, self.rng)
        if self.finder:
            self.rough = np.random.default_rng([seed, subject, 1])
            identity = wild.roughen_identity(identity, self.rough)
        self.renderer.wear(identity)

    def photograph(self, frame: int) -> tuple[Shot, Picture, npt.NDArray[np.float32]]:
        """Draws a picture: how, what, and the (468, 3) mesh, px."""
        if self.finder is None:
            shot = sample_shot(self.rng, sample_expression(self.rng) if frame else {})
            picture = self.renderer.render(shot)
            return shot, picture, picture.mesh[:MESH_VERTICES]
        for _ in range(_TRIES):
            expression = {} if frame < 2 else wild.sample_expression(self.rng)
            shot = sample_shot(self.rng, expression, wild.UNIT_TABLE)
            if self.loose and frame >= 2 and self.rng.random() < 0.5:
                still = sample_shot(self.rng, {}, wild.UNIT_TABLE)
                shot = wild.with_weights(still, wild.sample_weights(self.rng, lively=self.lively))
            shot = wild.roughen_shot(shot, self.rough, calm=frame == 0)
            picture = self.renderer.render(shot)
            faces = self.finder.detect(picture.image)
            if faces:
                return shot, picture, faces[0].mesh[:MESH_VERTICES]
        return shot, picture, picture.mesh[:MESH_VERTICES]

    def cover(self, shot: Shot) -> str:
        """Names what hides a part of the face."""
        glasses = self.renderer.identity.glasses
        return shot.cover or ("dark glasses" if glasses and glasses.opacity > 0.5 else "")


_TRIES = 20


@functools.cache
def _studio(rig: str, frame_size: int, style: str) -> _Studio:
    """Opens the studio of a process; it ends with the process."""
    return _Studio(FaceRig.load(rig), frame_size, style)


# Half floats hold crop px to 1/16 px up to 256 px.
_STORED: dict[str, type] = {
    "left": np.float32,
    "right": np.float32,
    "points": np.float16,
    "mesh": np.float16,
    "subject": np.int32,
    "frame": np.int32,
    "is_neutral": np.bool_,
    "pose": np.float32,
    "cover": np.uint8,
}
_OPTIONAL = ("mesh", "pose", "cover")


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        offsets, count = arrays["offsets"], len(arrays["left"])
        rows = [arrays[name] for name in _STORED if name in arrays or name not in _OPTIONAL]
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
        `is_neutral` and, where they were kept, `mesh` (468, 3) float32 in crop px and `pose`
        (3,) yaw, pitch and roll in degrees.

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
        if "pose" in arrays:
            example["pose"] = arrays["pose"][i]
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
    parser.add_argument("--style", default=STYLES[0], help=f"{', '.join(STYLES)} ({STYLES[0]})")
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
        options.style,
    )
    print(f"{len(paths)} shards in {options.out}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
