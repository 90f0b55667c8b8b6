"""The head as arrays: identity and expression weights in; vertices, parts and mesh points out.

The data (`rig.npz`, `rig.json`, textures) is described by the README of the rig itself.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfau.core.errors import DatasetError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Sides = tuple[float, float]

MIDLINE_BLEND_DM = 0.15
"""Half width of the strip around the midline in which the halves of an unpaired unit blend."""


@dataclass(frozen=True)
class Morph:
    """Holds one sparse displacement: `vertices[index] += weight * delta`."""

    index: Ints
    delta: Floats


@dataclass(frozen=True)
class Part:
    """Holds a mesh that hangs on the rig: eyes, brows, lashes, teeth, tongue or hair.

    Attributes:
        carried: True when the part stays rigid and is only moved by the expression (teeth, tongue).
        reference: (n, 3) rig vertices that carry each vertex of the part.
    """

    name: str
    kind: str
    carried: bool
    textures: tuple[str, ...]
    triangles: Ints
    uv: Floats
    uv_triangles: Ints
    reference: Ints
    weight: Floats
    offset: Floats
    scale_vertices: Ints
    scale_length: Floats

    def fit(self, vertices: Floats, resting: Floats) -> Floats:
        """Puts the part on a face.

        Args:
            vertices: (V, 3) rig vertices with identity and expression.
            resting: (V, 3) the same with identity only; matters for carried parts.

        Returns:
            (n, 3) vertices of the part.
        """
        base = resting if self.carried else vertices
        axes = np.arange(3)
        first, second = self.scale_vertices.T
        scale = np.abs(base[first, axes] - base[second, axes]) / self.scale_length
        corners = np.einsum("nk,nkc->nc", self.weight, base[self.reference])
        fitted = corners + self.offset * scale
        if self.carried:
            fitted = fitted + (vertices - resting)[self.reference].mean(axis=1)
        return np.asarray(fitted, np.float32)


@dataclass(frozen=True)
class Skin:
    """Names one skin texture and the person for whom it was painted."""

    name: str
    file: str
    age: str
    sex: str
    ancestry: str


@dataclass(frozen=True)
class FaceRig:
    """Holds the head and applies its rules; numpy only.

    Space: decimetres, x to the left of the subject, y up, z out of the face.

    Attributes:
        folder: where the textures lie.
        identity: morphs by family (`macro`, `universal`, `detail`) and name.
        detail_about: what `rig.json` says of each detail (`opposite`, `mirror`, `like_unit`).
        units: expression morphs by name without side, as (left half, right half); the halves of an
            unpaired unit such as `jawOpen` add up to it.
    """

    folder: Path
    vertices: Floats
    uv: Floats
    triangles: Ints
    uv_triangles: Ints
    mesh_index: Ints
    iris_index: Ints
    identity: dict[str, dict[str, Morph]]
    detail_about: dict[str, dict[str, Any]]
    units: dict[str, tuple[Morph, Morph]]
    parts: dict[str, Part]
    skins: tuple[Skin, ...]
    atlas_boxes: dict[str, tuple[float, float, float, float]] = field(repr=False)

    @classmethod
    def load(cls, folder: str | Path) -> FaceRig:
        """Reads a rig folder.

        Args:
            folder: holds `rig.npz`, `rig.json` and `textures/`.

        Raises:
            DatasetError: a file is missing, damaged or does not hold what the rules need.
        """
        folder = Path(folder)
        try:
            index = json.loads((folder / "rig.json").read_text(encoding="utf-8"))
            with (
                (folder / "rig.npz").open("rb") as stream,
                np.load(stream, allow_pickle=False) as file,
            ):
                arrays = {key: file[key] for key in file.files}
            rig = cls._assemble(folder, index, arrays)
        except FileNotFoundError as error:
            raise DatasetError(
                f"`rig` must be a folder with rig.json, rig.npz and textures/. "
                f"Received: rig={folder}, where {Path(str(error.filename)).name} is missing"
            ) from error
        except (OSError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile) as error:
            raise DatasetError(
                f"`rig` must hold an undamaged face rig. Received: rig={folder} "
                f"({type(error).__name__}: {error})"
            ) from error
        for name in rig.texture_files():
            if not (folder / name).is_file():
                raise DatasetError(
                    f"`rig` must hold every texture that rig.json names. "
                    f"Received: rig={folder}, where {name} is missing"
                )
        return rig

    @classmethod
    def _assemble(cls, folder: Path, index: dict[str, Any], arrays: dict[str, Any]) -> FaceRig:
        families = {}
        for family in ("macro", "universal", "detail", "unit"):
            start = arrays[f"{family}_start"]
            names = index["morphs"][family]["names"]
            if len(names) != len(start) - 1:
                raise ValueError(f"{len(names)} names for {len(start) - 1} morphs of `{family}`")
            families[family] = {
                name: Morph(
                    arrays[f"{family}_index"][start[t] : start[t + 1]],
                    arrays[f"{family}_delta"][start[t] : start[t + 1]],
                )
                for t, name in enumerate(names)
            }
        size = float(index["skin_atlas"]["size_px"])
        return cls(
            folder=folder,
            vertices=arrays["vertices"],
            uv=arrays["uv"],
            triangles=arrays["triangles"],
            uv_triangles=arrays["uv_triangles"],
            mesh_index=arrays["landmarks_468"],
            iris_index=arrays["landmarks_iris"],
            units=_split_sides(families.pop("unit"), arrays["vertices"][:, 0]),
            identity=families,
            detail_about=index["morphs"]["detail"]["about"],
            parts={
                name: Part(
                    name=name,
                    kind=about["kind"],
                    carried=about["fit"] == "carried",
                    textures=tuple(about["textures"]),
                    **{
                        key: arrays[f"proxy/{name}/{key}"]
                        for key in (
                            "triangles uv uv_triangles reference weight offset "
                            "scale_vertices scale_length"
                        ).split()
                    },
                )
                for name, about in index["proxies"]["items"].items()
            },
            skins=tuple(
                Skin(s["name"], s["file"], s["age"], s["sex"], s["ancestry"])
                for s in index["skins"]["items"]
            ),
            atlas_boxes={
                part["name"]: tuple(edge / size for edge in part["atlas_box"])
                for part in index["skin_atlas"]["parts"]
            },
        )

    def texture_files(self) -> list[str]:
        """Lists the texture paths, relative to the folder, that the rig names."""
        named = {skin.file for skin in self.skins}
        named.update(name for part in self.parts.values() for name in part.textures)
        return sorted(named)

    def rest(self, weights: Mapping[str, Mapping[str, float]]) -> Floats:
        """Builds a person at rest.

        Args:
            weights: by family (`macro`, `universal`, `detail`), the weight of each morph by name;
                the macro weights sum to 1. Universal names that the rig leaves out move nothing.

        Returns:
            (V, 3) float32 vertices, decimetres.
        """
        vertices = self.vertices.copy()
        for family, named in weights.items():
            for name, weight in named.items():
                morph = self.identity[family].get(name)
                if morph is not None:
                    vertices[morph.index] += np.float32(weight) * morph.delta
        return vertices

    def express(self, resting: Floats, weights: Mapping[str, Sides]) -> Floats:
        """Moves a face at rest.

        Args:
            resting: (V, 3) vertices from `rest`.
            weights: (left, right) weight of each expression unit by name without side.

        Returns:
            (V, 3) float32 vertices, decimetres.
        """
        vertices = resting.copy()
        for name, sides in weights.items():
            for morph, weight in zip(self.units[name], sides, strict=True):
                if weight:
                    vertices[morph.index] += np.float32(weight) * morph.delta
        return vertices

    def mesh(self, vertices: Floats, eyes: Floats) -> Floats:
        """Picks the 478 points of the MediaPipe face mesh (the last ten are the irises).

        Args:
            vertices: (V, 3) rig vertices.
            eyes: (n, 3) the fitted part `eyes`.
        """
        return np.concatenate([vertices[self.mesh_index], eyes[self.iris_index]])


def _split_sides(units: dict[str, Morph], x: Floats) -> dict[str, tuple[Morph, Morph]]:
    """Groups paired units under one name and cuts the others softly at the midline."""
    sided: dict[str, tuple[Morph, Morph]] = {}
    for name, morph in units.items():
        # mouthLeft and jawLeft shift the whole mouth or jaw: they are directions, not sides.
        stem = name.removesuffix("Left").removesuffix("Right")
        if stem in ("mouth", "jaw"):
            stem = name
        if stem == name:
            along = np.clip(0.5 + x[morph.index, None] / (2 * MIDLINE_BLEND_DM), 0, 1)
            share = (along * along * (3 - 2 * along)).astype(np.float32)
            sided[name] = (
                Morph(morph.index, morph.delta * share),
                Morph(morph.index, morph.delta * (1 - share)),
            )
        elif name.endswith("Left"):
            sided[stem] = (morph, units[f"{stem}Right"])
    return sided


class SmoothNormals:
    """Computes unit vertex normals of one triangle list; the sorting is done once.

    Args:
        triangles: (F, 3) vertex numbers, counter-clockwise seen from outside.
        count: number of vertices; those in no triangle get the normal (0, 0, 1).
    """

    def __init__(self, triangles: Ints, count: int) -> None:
        corners = triangles.ravel()
        order = np.argsort(corners, kind="stable")
        self.triangles = triangles
        self.count = count
        self.faces = (order // 3).astype(np.int32)
        self.used, self.starts = np.unique(corners[order], return_index=True)

    def __call__(self, vertices: Floats) -> Floats:
        """Returns (count, 3) normals; triangles count by their area."""
        a, b, c = (vertices[self.triangles[:, k]] for k in range(3))
        across = np.cross(b - a, c - a)
        sums = np.add.reduceat(across[self.faces], self.starts, axis=0)
        normals = np.zeros((self.count, 3), np.float32)
        normals[:, 2] = 1
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        normals[self.used] = sums / np.maximum(length, 1e-12)
        return normals
