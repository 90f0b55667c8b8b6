"""`python -m tfau.pairs.exam MODEL.tflite --rig RIG`: what a model makes of faces it never saw.

Faces are drawn anew with the skins, hair, brows, lashes and teeth that nobody learns from, and read
as the edge reads a picture; photographs and videos are set beside MediaPipe's blendshapes. It needs
no TensorFlow.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.analyzer import FaceAnalyzer
from edge.face_mesh import BLENDSHAPES, FaceMesh
from edge.runtime import AUModel
from edge.sources import IMAGE_SUFFIXES, open_source, read_image
from edge.warp import crop_face, steady
from tfau.core import AUReading, FaceAligner
from tfau.core.agreement import bootstrap, icc, mae, pcc
from tfau.core.errors import require_extra, run_cli
from tfau.core.files import whole_file
from tfau.pairs.puppets import Puppeteer

Floats = npt.NDArray[np.float32]
MOVES = 0.25
"""Standard deviation from which a unit of the clip counts as moving."""

WITNESSES = {
    2: ("browOuterUpLeft", "browOuterUpRight"),
    4: ("browDownLeft", "browDownRight"),
    10: ("mouthUpperUpLeft", "mouthUpperUpRight"),
    12: ("mouthSmileLeft", "mouthSmileRight"),
    25: ("jawOpen",),
    26: ("jawOpen",),
    45: ("eyeBlinkLeft", "eyeBlinkRight"),
}
"""Units that some of MediaPipe's blendshapes see, too."""

_THUMB = 96  # px of a face on a sheet


class Reader:
    """Reads single pictures with a model.

    Args:
        path: A `.tflite`.
    """

    def __init__(self, path: Path) -> None:
        self.model = AUModel(path)
        self.mesh = FaceMesh(max_faces=1, blendshapes=True)
        self.analyzer = FaceAnalyzer(self.model, self.mesh)
        self.aus = self.model.bundle.aus

    def __call__(
        self, image: npt.NDArray[np.uint8], neutral: Floats | None = None
    ) -> AUReading | None:
        """Returns the reading of the one face, calibrated if the person at rest is known."""
        faces = self.mesh.detect(image)
        if not faces:
            return None
        (reading,) = self.analyzer.read(image, faces[:1], [neutral])
        return reading

    def units(self, reading: AUReading | None) -> Floats:
        """Returns the (A,) intensities of the model's own units, NaN where there is no answer."""
        if reading is None:
            return np.full(len(self.aus), np.nan, np.float32)
        return reading.intensities[: len(self.aus)]


def studio(rig_folder: Path, size: int = 320) -> Any:
    """Opens a renderer of reserved people."""
    require_extra("synthetic", "moderngl")
    from tfds_builders.synthetic_faces import wild
    from tfds_builders.synthetic_faces.renderer import FaceRenderer
    from tfds_builders.synthetic_faces.rig import FaceRig

    rig = wild.with_cheeks(wild.half(FaceRig.load(rig_folder), reserved=True))
    return FaceRenderer(rig, size, bulges=True)


def person(renderer: Any, seed: int) -> np.random.Generator:
    """Has a person sit down; returns what draws everything else about them."""
    from tfds_builders.synthetic_faces import sampling, wild

    rng = np.random.default_rng([20_261_127, seed])
    identity = wild.roughen_identity(sampling.sample_identity(renderer.rig, rng), rng)
    renderer.wear(dataclasses.replace(identity, glasses=None))
    return rng


def calm(rng: np.random.Generator, intensities: Mapping[int, Any], **changes: Any) -> Any:
    """Draws a good picture from the front."""
    from tfds_builders.synthetic_faces import sampling, wild

    shot = sampling.sample_shot(rng, intensities, wild.UNIT_TABLE)
    still = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "shift": (0.0, 0.0), "blur_px": 0.3}
    return dataclasses.replace(shot, **{**still, "grain": 1.0, "jpeg_quality": None, **changes})


def clip(reader: Reader, renderer: Any, table: Path, people: int = 3) -> dict[str, Any]:
    """Drives people with a captured performance, and compares the time courses."""
    from tfds_builders.synthetic_faces import wild

    with table.open() as file:
        rows = list(csv.DictReader(file))
    names = [n for n in rows[0] if n not in ("frame", "time_s") and not n.startswith("head_")]
    found = []
    for seed in range(people):
        rng = person(renderer, seed)
        base = calm(rng, {})
        rest = reader(renderer.render(base).image)
        neutral = None if rest is None else rest.features
        truth, plain, calibrated = [], [], []
        for number, row in enumerate(rows):
            weights = _sided({name: float(row[name]) for name in names}, renderer.rig.units)
            shot = dataclasses.replace(
                wild.with_weights(dataclasses.replace(base, weights={}), weights),
                yaw=float(row["head_yaw_deg"]),
                pitch=float(row["head_pitch_deg"]),
                roll=float(row["head_roll_deg"]),
                grain_seed=number,
            )
            picture = renderer.render(shot)
            levels = np.mean(shot.labels(picture.opening), axis=0)
            truth.append(levels[[_numbers().index(unit) for unit in reader.aus.numbers]])
            plain.append(reader.units(reader(picture.image)))
            calibrated.append(reader.units(reader(picture.image, neutral)))
        found.append([np.array(values, np.float64) for values in (truth, plain, calibrated)])
    moving = found[0][0].std(axis=0) > MOVES
    result: dict[str, Any] = {
        "moving": [n for n, m in zip(reader.aus.numbers, moving, strict=True) if m]
    }
    for place, mode in ((1, "plain"), (2, "calibrated")):
        r = np.mean([_r(one[0], one[place]) for one in found], axis=0)
        result[mode] = _named(reader, r) | {"mean": float(np.nanmean(r[moving]))}
    return result


def _sided(weights: Mapping[str, float], units: Mapping[str, Any]) -> dict[str, Any]:
    sides: dict[str, Any] = {}
    for name, value in weights.items():
        stem = name.removesuffix("Left").removesuffix("Right")
        if name in units:
            sides[name] = (value, value)
        elif name.endswith("Left"):
            sides[stem] = (value, sides.get(stem, (0, 0))[1])
        else:
            sides[stem] = (sides.get(stem, (0, 0))[0], value)
    return sides


def pose(reader: Reader, renderer: Any, people: int = 8) -> dict[str, Any]:
    """Turns heads that keep their expression; says how every unit goes along, |r| on average."""
    from tfds_builders.synthetic_faces import wild

    found: dict[str, list[Any]] = {"pitch": [], "yaw": []}
    spread: dict[str, list[Any]] = {"pitch": [], "yaw": []}
    for seed in range(100, 100 + people):
        rng = person(renderer, seed)
        neutral = reader(renderer.render(calm(rng, {})).image)
        expression = {} if seed % 2 else wild.sample_expression(rng)
        for name, most in (("pitch", 25.0), ("yaw", 35.0)):
            angles = np.linspace(-most, most, 21)
            shot = calm(rng, expression)
            said = [
                reader.units(
                    reader(
                        renderer.render(dataclasses.replace(shot, **{name: float(a)})).image,
                        neutral.features if neutral else None,
                    )
                )
                for a in angles
            ]
            values = np.array(said, np.float64)
            found[name].append(np.abs(_r(np.repeat(angles[:, None], len(reader.aus), 1), values)))
            spread[name].append(np.nanstd(values, axis=0))
    return {
        name: {
            "r": _named(reader, np.nanmean(found[name], axis=0)),
            "deviation": _named(reader, np.nanmean(spread[name], axis=0)),
        }
        for name in found
    }


def covered(reader: Reader, renderer: Any, people: int = 60) -> dict[str, Any]:
    """Hides faces, and says how often the model is sure (expects < .5) and wrong (by > 1.5)."""
    from tfds_builders.synthetic_faces import wild

    result = {}
    for kind in ("", "hand", "mask", "object"):
        wrong, sure, errors, doubts = 0, 0, [], []
        for seed in range(200, 200 + people):
            rng = person(renderer, seed)
            shot = calm(rng, wild.sample_expression(rng))
            shot = dataclasses.replace(shot, cover=kind, cover_seed=seed)
            picture = renderer.render(shot)
            reading = reader(picture.image)
            if reading is None:
                continue
            truth = np.mean(shot.labels(picture.opening), axis=0)
            order = [list(_numbers()).index(unit) for unit in reader.aus.numbers]
            error = np.abs(reader.units(reading) - truth[order])
            doubt = reading.uncertainties[: len(reader.aus)]
            known = np.isfinite(error)
            errors.append(error[known])
            doubts.append(doubt[known])
            sure += int((doubt[known] < 0.5).sum())
            wrong += int(((doubt[known] < 0.5) & (error[known] > 1.5)).sum())
        result[kind or "nothing"] = {
            "mae": float(np.concatenate(errors).mean()),
            "expected": float(np.concatenate(doubts).mean()),
            "sure": sure,
            "sure_and_wrong": wrong / max(sure, 1),
        }
    return result


def _numbers() -> tuple[int, ...]:
    from tfds_builders.synthetic_faces.sampling import NUMBERS

    return NUMBERS


def photos(reader: Reader, folder: Path, pictures: Path | None = None) -> dict[str, Any]:
    """Reads photographs and their mirror images; sets units beside MediaPipe's blendshapes.

    Args:
        reader: Reads them.
        folder: Of photographs of one face each.
        pictures: Folder for `sheet.jpg`: who shows most of each unit, and who least.
    """
    aligner = FaceAligner(_THUMB)
    rows, shapes, flips, thumbs = [], [], [], []
    for file in sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES):
        image = read_image(file)
        reading = reader(image)
        mirrored = reader(np.ascontiguousarray(image[:, ::-1]))
        if reading is None or reading.face is None or mirrored is None:
            continue
        points = len(reader.aus.point_names)
        rows.append(reader.units(reading))
        shapes.append(reading.face.blendshapes)
        flips.append(
            np.abs(reading.points[:points, 2] - mirrored.points[:points, 2][reader.aus.flip_index])
        )
        thumbs.append(crop_face(image, steady(aligner.matrix(reading.face.mesh), _THUMB), _THUMB))
    if not rows:
        raise ValueError(f"There is no face in {folder}.")
    seen, turned = np.array(rows), np.array(flips)
    if pictures:
        write_picture(pictures / "sheet.jpg", sheet(reader.aus.names, seen, thumbs))
    return {
        "photos": len(seen),
        "mean": _named(reader, np.nanmean(seen, axis=0)),
        "r_with_blendshapes": beside_blendshapes(reader, seen, np.array(shapes)),
        "mirrored_apart": {
            "mean": float(np.nanmean(turned)),
            "95 %": float(np.nanquantile(turned, 0.95)),
        },
    }


def moved(
    reader: Reader, folder: Path, puppeteer: Puppeteer, every: int = 3, views: int = 6
) -> dict[str, Any]:
    """Turns heads and moves faces of photographs, see `tfau.pairs.puppets`; says what is seen.

    Args:
        reader: Reads them.
        folder: Of photographs of one face each.
        puppeteer: Moves the points of the model's own units.
        every: Which of the photographs are taken: each third.
        views: Pictures made of each.

    Returns:
        How answers go along with what was moved (r over all points of a unit, as a difference from
        the photograph, and with the photograph as the person at rest); what a mere turn of the head
        changes (root mean square); and how that goes along with pitch and yaw (r; mean of |r|).
    """
    points = len(reader.aus.point_names)
    rows, files = [], sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    for number, file in enumerate(files[::every]):
        photo = read_image(file)
        before = reader(photo)
        if before is None or before.face is None:
            continue
        for view in puppeteer.views(photo, before.face.mesh, views, [1, number]):
            after, known = reader(view.image), reader(view.image, before.features)
            if after is not None and known is not None:
                apart = after.points[:points, 2] - before.points[:points, 2]
                rows.append((view.change, apart, known.points[:points, 2], view[2:]))
    if not rows:
        raise ValueError(f"There is no face in {folder}.")
    change, apart, beside, turn = (
        np.array(column, np.float64) for column in zip(*rows, strict=True)
    )
    still = (change == 0).all(axis=1)

    def along(seen: npt.NDArray[Any], shown: npt.NDArray[Any]) -> dict[str, float]:
        r = []
        for unit in range(len(reader.aus)):
            one, other = (x[:, reader.aus.point_owner == unit].ravel() for x in (shown, seen))
            known = np.isfinite(one) & np.isfinite(other)
            r.append(_r(one[known, None], other[known, None])[0])
        return _named(reader, np.array(r)) | {"mean": float(np.nanmean(r))}

    def astray(shown: npt.NDArray[Any]) -> dict[str, float]:
        r = along(off, shown)
        return r | {"mean": float(np.nanmean([abs(r[name]) for name in reader.aus.names]))}

    off, turns = apart[still], np.repeat(turn[still][:, :, None], points, axis=2)
    return {
        "pictures": len(rows),
        "r": along(apart[~still], change[~still]),
        "r_calibrated": along(beside[~still], np.maximum(change[~still], 0)),
        "turned_apart": float(np.sqrt(np.nanmean(off**2))),
        "r_with_pitch": astray(turns[:, 0]),
        "r_with_yaw": astray(turns[:, 1]),
    }


def videos(reader: Reader, folder: Path, pictures: Path | None = None) -> dict[str, Any]:
    """Reads videos of one person each; sets time courses beside blendshapes and turns of the head.

    Args:
        reader: Reads them.
        folder: Of videos; pictures in it are passed over.
        pictures: Folder for a plot of each.
    """
    found = {}
    for file in sorted(p for p in folder.iterdir() if p.suffix.lower() not in IMAGE_SUFFIXES):
        times, rows, shapes, turns = [], [], [], []
        with open_source(str(file)) as source:
            for frame in source:
                reading = reader(frame.image)
                if reading is not None and reading.face and reading.geometry:
                    times.append(frame.timestamp_ms / 1e3)
                    rows.append(reader.units(reading))
                    shapes.append(reading.face.blendshapes)
                    turns.append(reading.geometry.rotation)
        if not rows:
            raise ValueError(f"There is no face in {file}.")
        seen, blend = np.array(rows), np.array(shapes)
        found[file.stem] = {
            "frames": len(seen),
            "r_with_blendshapes": beside_blendshapes(reader, seen, blend),
            "r_with_pitch": _named(reader, _r_where_known(np.array(turns)[:, 0], seen)),
            "r_with_yaw": _named(reader, _r_where_known(np.array(turns)[:, 1], seen)),
        }
        if pictures:
            draw_courses(pictures / f"{file.stem}.png", reader, np.array(times), seen, blend)
    if not found:
        raise ValueError(f"There is no video in {folder}.")
    return found


def beside_blendshapes(reader: Reader, seen: Floats, blend: Floats) -> dict[str, float]:
    """Correlates (N, A) intensities with those of (N, 52) blendshapes that see the same."""
    r = {}
    for unit, names in WITNESSES.items():
        if unit in reader.aus.numbers:
            witness = blend[:, [BLENDSHAPES.index(name) for name in names]].mean(axis=1)
            (value,) = _r_where_known(witness, seen[:, [reader.aus.index(unit)]])
            r[f"AU{unit:02d}"] = float(value)
    return r


def sheet(
    names: Sequence[str], seen: Floats, thumbs: Sequence[npt.NDArray[np.uint8]], each: int = 7
) -> npt.NDArray[np.uint8]:
    """Lays out, a row for each unit, the faces with the highest and the lowest answers."""
    rows = []
    for name, levels in zip(names, seen.T, strict=True):
        known = np.flatnonzero(np.isfinite(levels))
        order = known[np.argsort(-levels[known], kind="stable")]
        row = []
        for place, number in enumerate([*order[:each], *order[-each:]]):
            face = thumbs[number].copy()
            text = f"{name} " * (place == 0) + f"{levels[number]:.1f}"
            for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
                cv2.putText(
                    face, text, (3, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, width, cv2.LINE_AA
                )
            row.append(face)
        rows.append(np.hstack(row))
    return np.vstack(rows)


def write_picture(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Writes an RGB picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    with whole_file(path) as part:
        part.write_bytes(data.tobytes())


def draw_courses(path: Path, reader: Reader, times: Any, seen: Floats, blend: Floats) -> None:
    """Draws time courses of the units of `WITNESSES`, and those of their blendshapes."""
    require_extra("analyze", "matplotlib")
    from matplotlib.figure import Figure

    units = [unit for unit in WITNESSES if unit in reader.aus.numbers]
    figure = Figure(figsize=(14, 1.5 * len(units)), layout="constrained")
    for axis, unit in zip(
        np.atleast_1d(figure.subplots(len(units), sharex=True)), units, strict=True
    ):
        columns = [BLENDSHAPES.index(name) for name in WITNESSES[unit]]
        axis.plot(times, 5 * blend[:, columns].mean(axis=1), color="0.6", label="blendshapes x 5")
        axis.plot(times, seen[:, reader.aus.index(unit)], color="tab:blue", label="tfau")
        axis.set(ylabel=f"AU{unit:02d}", ylim=(0, 5))
    axis.legend(loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=80)


def people(reader: Reader, shards: Sequence[Path]) -> dict[str, Any]:
    """Scores crops of rendered shards, as `synthetic_faces/reserved` keeps them."""
    from tfau.core.action_units import AUSet
    from tfds_builders.synthetic_faces.shards import read_shard

    if not reader.model.bundle.features:
        raise ValueError("Shards are for a pair network; this model is of another kind.")
    truth, plain, known, who, turns = [], [], [], [], []
    for shard in shards:
        rest: dict[int, Floats] = {}
        for row in read_shard(shard):
            data = np.frombuffer(row["jpeg"], np.uint8)
            picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))
            mesh = FaceAligner.aligned_mesh(row["mesh"])
            size = reader.model.bundle.crop_size
            crop = np.asarray(cv2.resize(picture, (size, size)), np.uint8)
            answer = reader.model(crop[None], mesh[None])
            if row["frame"] == 0:
                rest[row["subject"]] = answer["features"][0]
            again = reader.model(crop[None], mesh[None], rest[row["subject"]][None])
            aus = AUSet(row["numbers"])
            order = [aus.index(unit) for unit in reader.aus.numbers]
            truth.append(((row["left"] + row["right"]) / 2)[order])
            plain.append(reader.aus.pool(answer["intensity"][0].clip(0, 5)))
            known.append(reader.aus.pool(again["intensity"][0].clip(0, 5)))
            who.append(row["subject"])
            turns.append(row.get("pose", (np.nan,) * 3))
    result: dict[str, Any] = {"crops": len(truth), "people": len(set(who))}
    errors, turned = np.array(plain) - np.array(truth), np.array(turns, np.float64)
    for column, turn in enumerate(("yaw", "pitch")):
        along = np.repeat(turned[:, column : column + 1], errors.shape[1], axis=1)
        if np.isfinite(along).all():
            result[f"r_of_error_with_{turn}"] = _named(reader, _r(along, errors))
    for mode, values in (("plain", plain), ("calibrated", known)):
        for name, metric in (("icc", icc), ("mae", mae), ("pcc", pcc)):
            result[f"{name}_{mode}"] = _named(reader, metric(np.array(truth), np.array(values)))
    likely = bootstrap(np.array(truth), np.array(plain), np.array(who), ("ICC",))["ICC"]
    result["icc_plain_95"] = {
        name: [round(float(low), 3), round(float(high), 3)]
        for name, low, high in zip(reader.aus.names, likely.low, likely.high, strict=False)
    }
    return result


def _r(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.asarray(pcc(one, other), np.float64)


def _r_where_known(one: npt.NDArray[Any], seen: Floats) -> npt.NDArray[np.float64]:
    """Correlates (N,) values with each column of (N, A) intensities, NaN aside."""
    r = []
    for said in seen.T.astype(np.float64):
        known = np.isfinite(said)
        r.append(_r(one[known, None], said[known, None])[0])
    return np.array(r)


def _named(reader: Reader, values: npt.NDArray[Any]) -> dict[str, float]:
    from tfau.pairs import MAIN_UNITS

    named = {
        f"AU{unit:02d}": float(value)
        for unit, value in zip(reader.aus.numbers, values, strict=True)
    }
    main = [named[f"AU{unit:02d}"] for unit in MAIN_UNITS if unit in reader.aus.numbers]
    return named | {"mean": float(np.nanmean(main))}


def main(argv: Sequence[str] | None = None) -> None:
    """Examines a model."""
    parser = argparse.ArgumentParser(
        prog="python -m tfau.pairs.exam",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="a .tflite of a pair network")
    parser.add_argument(
        "--rig",
        type=Path,
        help="folder of the face rig, to draw turned and covered faces, and to move photographs",
    )
    parser.add_argument(
        "--clip", type=Path, help="animation.csv of a captured performance, for the rig"
    )
    parser.add_argument("--photos", type=Path, help="folder of photographs of one face each")
    parser.add_argument("--videos", type=Path, help="folder of videos of one person each")
    parser.add_argument("--pictures", type=Path, help="folder for sheets and plots of the above")
    parser.add_argument("--shards", type=Path, help="folder of rendered shards")
    parser.add_argument("-o", "--out", type=Path, help="a .json to write")
    args = parser.parse_args(argv)
    reader = Reader(args.model)
    parts: list[tuple[str, Callable[[], dict[str, Any]]]] = []
    if args.shards:
        files = sorted(args.shards.glob("faces-*.npz"))
        if not files:
            raise ValueError(f"There is no shard in {args.shards}.")
        parts.append(("people", lambda: people(reader, files)))
    if args.photos:
        parts.append(("photos", lambda: photos(reader, args.photos, args.pictures)))
    if args.videos:
        parts.append(("videos", lambda: videos(reader, args.videos, args.pictures)))
    if args.clip and not args.rig:
        raise ValueError("`--clip` needs --rig, which performs it.")
    if args.rig:
        renderer = studio(args.rig)
        if args.clip:
            parts.append(("clip", lambda: clip(reader, renderer, args.clip)))
        if args.photos:
            puppeteer = Puppeteer.of_rig(args.rig, reader.aus)
            parts.append(("moved", lambda: moved(reader, args.photos, puppeteer)))
        parts += [
            ("pose", lambda: pose(reader, renderer)),
            ("covered", lambda: covered(reader, renderer)),
        ]
    if not parts:
        raise ValueError("There is nothing to examine with; give --rig, or another folder.")
    found = {}
    for name, examine in parts:
        found[name] = examine()
        print("\n".join(_lines(name, found[name])), flush=True)
    if args.out:
        with whole_file(args.out) as path:
            path.write_text(json.dumps(found, indent=1) + "\n")


def _lines(name: str, values: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    yield f"{'  ' * depth}{name}:"
    plain = {k: v for k, v in values.items() if not isinstance(v, dict)}
    if plain:
        words = (f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in plain.items())
        yield f"{'  ' * (depth + 1)}{'  '.join(words)}"
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _lines(key, value, depth + 1)


if __name__ == "__main__":
    sys.exit(run_cli(main))
