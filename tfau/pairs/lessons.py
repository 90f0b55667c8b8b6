"""Pictures, meshes and labels in memory, and batches in which people meet themselves at rest.

Everything is arrays: any backend of Keras learns from them, and a machine without TensorFlow can
read them from one file.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from tfau.core.action_units import INTENSITY_MAX, AUSet
from tfau.core.align import FaceAligner
from tfau.core.faces import MESH_MIRROR, MESH_VERTICES

if TYPE_CHECKING:
    from tfau.data.pipeline import PreparedSet
    from tfau.pairs.puppets import Puppeteer

Batch = tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.float32]]

_AT_REST = 0.3  # highest intensity of a face at rest: lips part a little in some


@dataclass(frozen=True, eq=False)
class Lessons:
    """Holds N examples.

    Args:
        aus: Units of the labels.
        images: (N, S, S, 3) uint8 RGB crops.
        meshes: (N, 468, 3) float32 meshes, see `FaceAligner.aligned_mesh`.
        levels: (N, P) float32 intensities, NaN = not coded.
        subject: (N,) numbers of people.
        frame: (N,) numbers of pictures of a person.
        split: (N,) part of the data set.
    """

    aus: AUSet
    images: npt.NDArray[np.uint8]
    meshes: npt.NDArray[np.float32]
    levels: npt.NDArray[np.float32]
    subject: npt.NDArray[np.int64]
    frame: npt.NDArray[np.int64]
    split: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def read(cls, data: PreparedSet, aus: AUSet, crop_size: int) -> Lessons:
        """Reads a prepared set of pictures with meshes.

        Raises:
            ValueError: If the set has no meshes, or lacks a unit.
        """
        rows = np.ones(len(data), bool)
        meshes, levels = data.shapes(rows, aus)
        pictures = data.pictures(rows)
        images = np.empty((len(pictures), crop_size, crop_size, 3), np.uint8)

        def decode(row: int) -> None:
            data = np.frombuffer(pictures[row], np.uint8)
            image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)
            if len(image) != crop_size:
                size = (crop_size, crop_size)
                image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
            images[row] = image

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(decode, range(len(pictures)), chunksize=256))
        _, subject = np.unique(data.labels.subject, return_inverse=True)
        return cls(
            aus=aus,
            images=images,
            meshes=np.stack([FaceAligner.aligned_mesh(mesh) for mesh in meshes]),
            levels=levels,
            subject=subject.astype(np.int64),
            frame=data.labels.frame,
            split=data.labels.split,
        )

    def joined(self, other: Lessons) -> Lessons:
        """Returns these examples and then the others, who are other people."""
        names = ("images", "meshes", "levels", "frame", "split")
        both: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names
        }
        subject = np.append(self.subject, other.subject + self.subject.max() + 1)
        return dataclasses.replace(self, **both, subject=subject)

    def mirrored(self) -> Lessons:
        """Returns the mirror images."""
        return dataclasses.replace(
            self,
            images=np.ascontiguousarray(self.images[:, :, ::-1]),
            meshes=mirrored(self.meshes),
            levels=self.levels[:, self.aus.flip_index],
        )

    def part(self, rows: npt.NDArray[Any]) -> Lessons:
        """Returns a choice of examples."""
        names = ("images", "meshes", "levels", "subject", "frame", "split")
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in names})

    @property
    def at_rest(self) -> npt.NDArray[np.bool_]:
        """(N,) whether nothing in the face moves."""
        highest = np.max(np.nan_to_num(self.levels, nan=-1.0), axis=1)
        return np.asarray((highest <= _AT_REST) & (highest >= 0))

    def rest_of(self) -> npt.NDArray[np.int64]:
        """Returns the row of the first picture of everybody's person at rest, (N,); -1 = none."""
        rest = np.full(int(self.subject.max()) + 1, -1)
        rows = np.flatnonzero(self.at_rest)
        order = rows[np.lexsort((self.frame[rows], self.subject[rows]))][::-1]
        rest[self.subject[order]] = order
        found: npt.NDArray[np.int64] = rest[self.subject]
        return found

    def save(self, path: Path) -> None:
        """Writes them as one `.npz`, for a machine that has nothing but the arrays."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        np.savez(path, allow_pickle=False, **{**arrays, "aus": np.array(self.aus.numbers)})

    @classmethod
    def load(cls, path: Path) -> Lessons:
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return cls(**{**arrays, "aus": AUSet(arrays["aus"])})


@dataclass(frozen=True, eq=False)
class Photos:
    """Holds N pictures made of photographs, whose labels nobody knows.

    Args:
        lessons: The pictures; a photograph is a person, frame 0 is the photograph as it is.
        shapes: (N, 52) MediaPipe's blendshapes.
        change: (N, P) how far intensities differ from those of the photograph, NaN = unknown.
    """

    lessons: Lessons
    shapes: npt.NDArray[np.float32]
    change: npt.NDArray[np.float32]

    @classmethod
    def read(
        cls,
        folder: Path,
        aus: AUSet,
        crop_size: int,
        puppeteer: Puppeteer | None = None,
        views: int = 0,
        on_photo: Callable[[int, int], None] = lambda *_: None,
    ) -> Photos:
        """Cuts the faces out of photographs of one face each, as the edge does.

        Every other view is looked at in a mirror and turned back: the mesh is not found quite in
        the same place there, and that must not matter.

        Args:
            folder: Of the photographs.
            aus: Units.
            crop_size: Side of the crops, px.
            puppeteer: Makes the other views.
            views: How many others.
            on_photo: Called with how many are read, and how many there are.

        Raises:
            ValueError: If there is no face.
        """
        from edge.face_mesh import FaceMesh
        from edge.sources import IMAGE_SUFFIXES, read_image
        from edge.warp import crop_face, steady
        from tfau.pairs.puppets import View

        aligner, still = FaceAligner(crop_size), np.zeros(len(aus.point_names), np.float32)
        images, meshes, shapes, changes, subject, frame = [], [], [], [], [], []
        with FaceMesh(max_faces=1, blendshapes=True) as finder:
            files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
            for number, file in enumerate(files):
                on_photo(number, len(files))
                photo = read_image(file)
                for face in finder.detect(photo):
                    pictures = [View(photo, still)]
                    if puppeteer:
                        pictures += puppeteer.views(photo, face.mesh, views, number)
                    for view, (picture, change, *_) in enumerate(pictures):
                        turned = view % 2 == 1
                        image = np.ascontiguousarray(picture[:, ::-1]) if turned else picture
                        for seen in finder.detect(image) if view else [face]:
                            matrix = steady(aligner.matrix(seen.mesh), crop_size)
                            crop = crop_face(image, matrix, crop_size)
                            mesh = FaceAligner.aligned_mesh(seen.mesh[:MESH_VERTICES])
                            images.append(crop[:, ::-1] if turned else crop)
                            meshes.append(mirrored(mesh) if turned else mesh)
                            shapes.append(seen.blendshapes)
                            changes.append(change)
                            subject.append(number)
                            frame.append(view)
        if not images:
            raise ValueError(f"There is no face in {folder}.")
        count = len(images)
        _, people = np.unique(subject, return_inverse=True)
        lessons = Lessons(
            aus=aus,
            images=np.stack(images),
            meshes=np.stack(meshes),
            levels=np.full((count, len(still)), np.nan, np.float32),
            subject=people.astype(np.int64),
            frame=np.array(frame),
            split=np.full(count, "photo"),
        )
        return cls(lessons, np.array(shapes, np.float32), np.stack(changes))

    def taught(
        self, crop: npt.NDArray[np.float32], mesh: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Says what the pictures show, from what a teacher makes of them.

        A photograph shows what he sees on average in it and in its turned heads, half by the crop
        and half by the mesh, but for units of which one of them knows nothing; see `witnessed`.
        To that comes what was moved.

        Args:
            crop: (N, P) what the teacher says by the crop alone.
            mesh: (N, P) what the teacher says by the mesh alone.

        Returns:
            (N, P) 0 to 5; NaN = unknown.
        """
        aus, person = self.lessons.aus, self.lessons.subject
        units = np.array(aus.numbers)[aus.point_owner]
        said = np.where(np.isin(units, _FELT), mesh, (crop + mesh) / 2)
        still = np.flatnonzero((self.change == 0).all(axis=1))
        count = np.bincount(person[still])[:, None]
        base = np.zeros((len(count), said.shape[1]), np.float32)
        np.add.at(base, person[still], said[still])
        first = np.searchsorted(person, np.arange(len(count)))
        base = witnessed((base / count).astype(np.float32), self.shapes[first], aus)
        shown: npt.NDArray[np.float32] = np.clip(base[person] + self.change, 0, INTENSITY_MAX)
        return shown


@dataclass(frozen=True)
class Changes:
    """Says how crops are changed; shares of crops, or the largest change.

    Args:
        rotation_deg: Turn to either side.
        scale: Change of size.
        shift: As a part of the crop's side.
        light: Change of brightness and contrast.
        gain: Change of a colour channel.
        gamma: Change of the exponent.
        grey, blur, noise, cut_out: Shares.
        mesh: Deviation of what is added to mesh coordinates, template units.
        person: Largest share of what tells one person at rest from another that is added to all
            meshes of a third: there are more shapes of faces than the rig makes.
        blind, formless: Share in which the crop, or the mesh, is not seen.
        unknown: Share whose person at rest is not known.
        relative: Share of the others that are compared with a picture that is not at rest, and
            show what is more than there. Without it a network reads rendered faces so well that it
            never looks at how a person is at rest.
    """

    rotation_deg: float = 4.0
    scale: float = 0.04
    shift: float = 0.025
    light: float = 0.25
    gain: float = 0.08
    gamma: float = 0.25
    grey: float = 0.1
    blur: float = 0.1
    noise: float = 0.1
    cut_out: float = 0.1
    mesh: float = 0.003
    person: float = 0.0
    blind: float = 0.1
    formless: float = 0.3
    unknown: float = 0.5
    relative: float = 0.0


class Classes:
    """Makes batches of a few pictures of each of many people, one of them at rest.

    Args:
        lessons: What is learnt from; everybody must have a picture at rest.
        people: People in a batch.
        each: Pictures of each, the one at rest included.
        changes: How pictures are changed.
        taught: (N, P) what a teacher says of them, NaN where it says nothing.
        photos: Pictures made of photographs that are mixed in, with what a teacher says of them.
        photos_each: Of those in a batch, of one person as many as of the others, if there are;
            they are compared with one another.
    """

    def __init__(
        self,
        lessons: Lessons,
        people: int,
        each: int,
        changes: Changes | None = None,
        *,
        taught: npt.NDArray[np.float32] | None = None,
        photos: tuple[Lessons, npt.NDArray[np.float32]] | None = None,
        photos_each: int = 16,
    ) -> None:
        self.people, self.each, self.photos_each = people, each, 0
        self.lessons, self.taught, self.renders = lessons, taught, len(lessons)
        if photos:
            self.photos_each = photos_each
            unsaid = np.full_like(lessons.levels, np.nan) if taught is None else taught
            self.lessons = lessons.joined(photos[0])
            self.taught = np.concatenate([unsaid, photos[1]])
            rows = np.arange(self.renders, len(self.lessons))
            self._views = np.split(rows, np.flatnonzero(np.diff(photos[0].subject)) + 1)
            self._together = min(each, max(map(len, self._views)))
        self.changes = changes or Changes()
        rest, order = lessons.at_rest, np.argsort(lessons.subject, kind="stable")
        starts = np.flatnonzero(np.diff(lessons.subject[order], prepend=-1))
        self._rows = [(rows[rest[rows]], rows[~rest[rows]]) for rows in np.split(order, starts[1:])]
        self._rows = [(still, moving) for still, moving in self._rows if len(still) and len(moving)]
        self._still = np.array([still[0] for still, _ in self._rows])
        if len(self._rows) < people:
            raise ValueError(
                f"`people` must be at most {len(self._rows)}, those with a picture at rest. "
                f"Received: {people}."
            )

    @property
    def steps(self) -> int:
        """Batches in which everything is seen about once."""
        moving = sum(len(moving) for _, moving in self._rows)
        return moving // (self.people * (self.each - 1))

    def epoch(self, seed: int) -> Iterator[Batch]:
        """Yields the batches of an epoch: everything random is drawn from the seed."""
        ready: queue.Queue[Batch | None] = queue.Queue(3)
        stop = threading.Event()

        def prepare() -> None:
            for order in self._orders(seed):
                if stop.is_set():
                    return
                ready.put(self._batch(*order))
            ready.put(None)

        thread = threading.Thread(target=prepare, daemon=True)
        thread.start()
        try:
            while (batch := ready.get()) is not None:
                yield batch
        finally:
            stop.set()
            while thread.is_alive():
                try:
                    ready.get(timeout=0.05)
                except queue.Empty:
                    continue

    def _orders(self, seed: int) -> Iterator[tuple[npt.NDArray[np.int64], list[int]]]:
        """Says what is in each batch: rows, and a seed."""
        rng = np.random.default_rng(seed)
        decks = [rng.permutation(moving) for _, moving in self._rows]
        places = [0] * len(decks)
        turns: list[int] = []
        for step in range(self.steps):
            rows = []
            while len(turns) < self.people:
                turns += rng.permutation(len(decks)).tolist()
            chosen, turns = turns[: self.people], turns[self.people :]
            for person in chosen:
                still, deck = self._rows[person][0], decks[person]
                rows.append(still[0] if rng.random() < 0.6 else rng.choice(still))
                for _ in range(self.each - 1):
                    rows.append(deck[places[person] % len(deck)])
                    places[person] += 1
            while len(rows) < self.people * self.each + self.photos_each:
                views = self._views[rng.integers(len(self._views))]
                again = len(views) < self._together
                rows += rng.choice(views, self._together, replace=again).tolist()
            yield np.array(rows[: self.people * self.each + self.photos_each]), [seed, step]

    def _batch(self, rows: npt.NDArray[np.int64], seed: list[int]) -> Batch:
        lessons, changes, rng = self.lessons, self.changes, np.random.default_rng(seed)
        count, each = len(rows), self.each
        flips = np.repeat(rng.random(self.people) < 0.5, each)
        if self.photos_each:
            people = rng.random(-(-self.photos_each // self._together)) < 0.5
            flips = np.append(flips, np.repeat(people, self._together)[: self.photos_each])
        images = np.stack(
            [
                self._change(lessons.images[row], flip, rng)
                for row, flip in zip(rows, flips.tolist(), strict=True)
            ]
        )
        meshes, levels = lessons.meshes[rows].copy(), lessons.levels[rows].copy()
        meshes[flips] = mirrored(meshes[flips])
        levels[flips] = levels[flips][:, lessons.aus.flip_index]
        if self.taught is not None:
            taught = self.taught[rows].copy()
            taught[flips] = taught[flips][:, lessons.aus.flip_index]
            levels = np.concatenate([levels, taught], axis=1)
        meshes += rng.normal(0, changes.mesh, meshes.shape).astype(np.float32)
        one, other = (lessons.meshes[rng.choice(self._still, self.people)] for _ in range(2))
        share = changes.person * rng.uniform(0, 1, (self.people, 1, 1)).astype(np.float32)
        meshes[: self.people * each] += np.repeat(share * (one - other), each, axis=0)
        draw = rng.random((2, count))
        senses = np.ones((count, 2), np.float32)
        senses[draw[0] < changes.blind, 0] = 0
        senses[draw[0] > 1 - changes.formless, 1] = 0
        order, renders, group = np.arange(count), self.people * each, np.full(count, each)
        first = order // each * each
        if self.photos_each:
            group[renders:] = self._together
            first[renders:] = (
                renders + (order[renders:] - renders) // self._together * self._together
            )
        still = order < renders  # the first of a group is at rest; in photographs nobody is
        known = (draw[1] > changes.unknown) & np.where(still, order != first, group > 1)
        rest = first.copy()
        relative = known & (~still | (rng.random(count) < changes.relative))
        rest[relative] += rng.integers(0, group[relative])
        rest = np.minimum(rest, count - 1)
        senses[rest] = 1  # whoever is compared with is seen well
        more = levels.copy()
        more[relative] = np.maximum(levels[relative] - levels[rest[relative]], 0)
        inputs = {
            "image": images.astype(np.float32),
            "mesh": meshes,
            "senses": senses,
            "rest": rest.astype(np.int32),
            "known": known.astype(np.float32)[:, None],
        }
        return inputs, more

    def _change(
        self, image: npt.NDArray[np.uint8], flip: bool, rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """Changes one crop as cameras and heads do."""
        c, side = self.changes, len(image)
        turn, size, x, y, bright, contrast, power = rng.uniform(-1, 1, 7)
        chance = rng.random(4)
        if flip:
            image = image[:, ::-1]
        middle = ((side - 1) / 2, (side - 1) / 2)
        matrix = np.asarray(
            cv2.getRotationMatrix2D(middle, turn * c.rotation_deg, 1 + size * c.scale), np.float64
        )
        matrix[:, 2] += np.array([x, y]) * c.shift * side
        image = cv2.warpAffine(  # type: ignore[assignment]
            np.ascontiguousarray(image), matrix, (side, side), borderMode=cv2.BORDER_REPLICATE
        )
        if chance[0] < c.blur:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 2.0))  # type: ignore[assignment]
        gains = (1 + bright * c.light) * (1 + rng.uniform(-1, 1, 3) * c.gain)
        levels = (np.arange(256) / 255.0) ** np.exp(power * c.gamma)
        levels = (levels - 0.5) * (1 + contrast * c.light) + 0.5
        table = np.clip(levels[:, None] * gains * 255, 0, 255).astype(np.float32)
        pixels = np.stack([table[:, k][image[..., k]] for k in range(3)], axis=-1)
        if chance[1] < c.grey:
            pixels[:] = (pixels @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
        if chance[2] < c.noise:
            pixels += rng.uniform(1, 10) * rng.standard_normal(pixels.shape, np.float32)
        if chance[3] < c.cut_out:
            height, width = (rng.uniform(0.08, 0.35, 2) * side).astype(int)
            top, left = (rng.uniform(0, 1, 2) * (side - np.array([height, width]))).astype(int)
            pixels[top : top + height, left : left + width] = rng.uniform(0, 255, 3)
        changed: npt.NDArray[np.float32] = np.clip(pixels, 0, 255)
        return changed


_FELT = (6,)
"""Units of which the teacher's crop knows nothing in photographs: in cheeks that are drawn it
learnt to look for folds that real ones lack."""

_WITNESSES = {2: "browOuterUp", 12: "mouthSmile", 45: "eyeBlink"}
"""Units that MediaPipe's blendshapes see on photographs, and theirs for it. It does not see AU1, 6,
9 and 14, and of the others it is no better a witness than the teacher."""


def witnessed(
    said: npt.NDArray[np.float32], shapes: npt.NDArray[np.float32], aus: AUSet, steps: int = 20
) -> npt.NDArray[np.float32]:
    """Replaces what a teacher says of photographs by the mean of it over equal blendshapes.

    The scale remains the teacher's; what goes is what he sees in one person and not in another who
    smiles as much.

    Args:
        said: (N, P) what the teacher says.
        shapes: (N, 52) blendshapes.
        aus: The units.
        steps: Into how many groups of neighbours the photographs are divided.

    Returns:
        (N, P), of other units as it was.
    """
    from edge.face_mesh import BLENDSHAPES

    said = said.copy()
    for column, point in enumerate(aus.point_names):
        unit, side = aus.numbers[aus.point_owner[column]], point.rpartition("_")[2]
        if unit not in _WITNESSES:
            continue
        seen = shapes[:, BLENDSHAPES.index(f"{_WITNESSES[unit]}{side.capitalize()}")]
        groups = np.array_split(np.argsort(seen, kind="stable"), min(steps, len(seen)))
        place = [float(seen[group].mean()) for group in groups]
        height = np.maximum.accumulate([float(said[group, column].mean()) for group in groups])
        said[:, column] = np.interp(seen, place, height)
    return said


def mirrored(meshes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns the (..., 468, 3) aligned meshes of the mirrored faces."""
    flipped = meshes[..., MESH_MIRROR, :].copy()
    flipped[..., 0] *= -1
    return flipped
