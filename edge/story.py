"""The merged video: the picture, its units and expressions beside it, the whole time line below.

Everything that does not move is drawn once; a frame costs the picture, the bars and a cursor.
Needs matplotlib, for the time line and for its fonts.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps, font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from edge import annotators, diagrams
from edge.findings import Findings
from edge.outlines import CUTS, LOOPS, Outline
from tfau.core.action_units import INTENSITY_MAX

Image = npt.NDArray[np.uint8]
Rgb = tuple[int, int, int]

_GROUND: Rgb = (17, 21, 27)
_TRACK: Rgb = (38, 45, 55)
_TEXT: Rgb = (232, 236, 241)
_FAINT: Rgb = (139, 150, 165)
_CURSOR: Rgb = (255, 92, 92)
_MOST_FACES = 3  # that have bars and a time line; more would be too small to read
_LEAST_HEIGHT, _LARGEST_HEIGHT = 720, 2160
OVERLAYS = ("heat", "mesh")


class Story:
    """Draws the frames of the merged video.

    Args:
        size: Width and height of the video, px. The frames drawn are as high, but at least 720 and
            at most 2160 px, and wider.
        found: What was found of each face; the first three have bars and a time line.
        length_s: Of the video.
        overlays: Of `OVERLAYS`, what is laid over the picture.
    """

    def __init__(
        self,
        size: tuple[int, int],
        found: Sequence[Findings],
        length_s: float,
        overlays: Sequence[str] = OVERLAYS,
    ) -> None:
        self.found, self.overlays = list(found[:_MOST_FACES]), tuple(overlays)
        height = min(max(size[1], _LEAST_HEIGHT), _LARGEST_HEIGHT)
        strips = max(len(self.found), 1)
        unit = self.unit = height / 36
        strip = round((7.0 if strips == 1 else 5.0) * unit) * strips
        self.height = height - strip
        self.scale = self.height / size[1]
        self.width = max(16, round(size[0] * self.scale))
        self.left, right = round(11 * unit), round(11.5 * unit)
        total = self.left + self.width + right, height
        self._canvas = np.full((total[1] + total[1] % 2, total[0] + total[0] % 2, 3), 0, np.uint8)
        self._canvas[:] = _GROUND
        self._rows = [self._rows_of(one) for one in self.found]
        colour = diagrams.colours(len(self.found[0].names) if self.found else 0)
        self._colours = [tuple(round(255 * c) for c in rgb) for rgb in colour]
        self._heat = (colormaps["YlOrRd"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
        self._inferno = (colormaps["inferno"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
        self._cursor: list[tuple[slice, slice, Image]] = []
        self._shown: dict[Any, Any] = {}
        self._time_lines(total[0], self.height, strip // strips, length_s)
        self._titles()

    @staticmethod
    def _rows_of(one: Findings) -> npt.NDArray[np.int64]:
        """Maps numbers of frames to rows of a table; -1 = there is none."""
        last = int(one.face.frames[-1]) if len(one.face) else 0
        rows = np.full(last + 1, -1)
        rows[one.face.frames] = np.arange(len(one.face))
        return rows

    def draw(self, image: Image, number: int, time_s: float, outlines: Sequence[Outline]) -> Image:
        """Draws one frame.

        Args:
            image: (H, W, 3) RGB of the video; one of another size is scaled to the first.
            number: Its number, from 1.
            time_s: Its time.
            outlines: What was kept of its faces.

        Returns:
            The frame, larger than the picture; it is written to again by the next call.
        """
        picture = image
        scales = self.width / image.shape[1], self.height / image.shape[0]
        if scales != (1, 1):
            way = cv2.INTER_LINEAR if self.scale > 0.6 else cv2.INTER_AREA
            picture = np.asarray(
                cv2.resize(image, (self.width, self.height), interpolation=way), np.uint8
            )
        place = self._canvas[: self.height, self.left : self.left + self.width]
        place[:] = picture
        faces = [_scaled(face, scales) for face in outlines]
        if "heat" in self.overlays:
            for face in faces:
                self._lay_heat(place, face)
        if "mesh" in self.overlays:
            for face in faces:
                self._lay_mesh(place, face)
        now = [rows[number] if number < len(rows) else -1 for rows in self._rows]
        self._bars(now)
        self._expressions(now)
        self._move_cursor(time_s)
        return self._canvas

    # --- What does not move -----------------------------------------------------------------------

    def _time_lines(self, width: int, top: int, height: int, length_s: float) -> None:
        """Draws the time line of each face, once."""
        self._lines = []
        for place, one in enumerate(self.found or [None]):
            figure = Figure(figsize=(width / 100, height / 100), dpi=100)
            canvas = FigureCanvasAgg(figure)
            ground, text = (f"#{r:02x}{g:02x}{b:02x}" for r, g, b in (_GROUND, _TEXT))
            figure.set_facecolor(ground)
            unit = self.unit / width
            axis = figure.add_axes((2.2 * unit, 0.30, 1 - 3.2 * unit, 0.58), facecolor=ground)
            if one is not None and len(one.face):
                diagrams.draw_expressions(axis, one, line_width=max(1.0, self.unit / 16))
                axis.axhline(one.threshold, color="0.6", linestyle="--", linewidth=0.8)
            axis.set(xlim=(0, max(length_s, 1e-3)), ylim=(0, None))
            size = 0.42 * self.unit * 72 / 100
            axis.tick_params(colors=text, labelsize=size, length=2)
            if len(self.found) > 1 and one is not None:
                axis.set_title(
                    f"face {one.face.face_id}", color=text, fontsize=size, loc="left", y=0.8
                )
            for side in axis.spines.values():
                side.set_color("0.35")
            canvas.draw()  # type: ignore[no-untyped-call]
            drawn = np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
            start = top + place * height
            area = self._canvas[start : start + height, :width]
            area[:] = drawn[: area.shape[0], : area.shape[1]]
            box = axis.get_window_extent()
            rows = slice(start + height - round(box.y1), start + height - round(box.y0))
            self._lines.append((rows, box.x0, box.x1 - box.x0, max(length_s, 1e-3)))

    def _titles(self) -> None:
        unit, aus = self.unit, self.found[0].face.aus if self.found else None
        self._write("action units" if aus else "no face", 0.5 * unit, 0.35 * unit, 0.75 * unit)
        for row, label in enumerate(aus.names if aus else ()):
            self._write(label, 0.5 * unit, self._row_top(row), self._row * 0.62)
        if aus:
            right = self.left + self.width
            self._write("expressions", right + 0.5 * unit, 0.35 * unit, 0.75 * unit)

    @property
    def _row(self) -> float:
        rows = len(self.found[0].face.aus) if self.found else 1
        return min(self.unit * 1.25, (self.height - 2 * self.unit) / max(rows, 1))

    def _row_top(self, row: int) -> float:
        return 1.8 * self.unit + row * self._row

    # --- What moves -------------------------------------------------------------------------------

    def _bars(self, now: Sequence[int]) -> None:
        unit, canvas = self.unit, self._canvas
        start, end = round(3.1 * unit), round(7.6 * unit)
        count = max(len(self.found), 1)
        for row in range(len(self.found[0].face.aus) if self.found else 0):
            levels = [
                float(one.face.levels[at, row]) if at >= 0 else np.nan
                for one, at in zip(self.found, now, strict=True)
            ]
            tenths = tuple(-1 if np.isnan(v) else round(10 * v) for v in levels)
            if self._shown.get(("unit", row)) == tenths:
                continue
            self._shown["unit", row] = tenths
            top = self._row_top(row)
            low, high = round(top + 0.12 * self._row), round(top + 0.84 * self._row)
            canvas[low:high, start:end] = _TRACK
            for place, tenth in enumerate(tenths):
                if tenth <= 0:
                    continue
                a = low + (high - low) * place // count
                b = low + (high - low) * (place + 1) // count
                stop = start + round((end - start) * tenth / (10 * INTENSITY_MAX))
                colour = self._heat[60 + min(195, round(39 * tenth / 10))]
                if count > 1:
                    colour = np.array(annotators.color_of(self.found[place].face.face_id))
                canvas[a : max(b - (count > 1), a + 1), start:stop] = colour
            if count == 1:
                words = "" if tenths[0] < 0 else f"{tenths[0] / 10:.1f}"
                letter = " ABCDE"[round(tenths[0] / 10)] if tenths[0] >= 0 else " "
                strong = _TEXT if tenths[0] >= 10 else _FAINT
                canvas[round(top) : round(top + self._row), end + 1 : self.left] = _GROUND
                self._write(letter, 8.0 * unit, top, self._row * 0.62, strong)
                self._write(words, 9.1 * unit, top, self._row * 0.62, strong)

    def _expressions(self, now: Sequence[int]) -> None:
        if not self.found:
            return
        unit, left = self.unit, self.left + self.width
        share = (self.height - 1.6 * unit) / len(self.found)
        for place, (one, at) in enumerate(zip(self.found, now, strict=True)):
            ranks = tuple(one.ranks[at].tolist()) if at >= 0 else ()
            values = tuple(round(100 * one.scores[at, i]) for i in ranks if i >= 0)
            lately = one.lately(at) if at >= 0 else ""
            if self._shown.get(("face", place)) == (ranks, values, lately):
                continue
            self._shown["face", place] = ranks, values, lately
            top = 1.6 * unit + place * share
            self._canvas[round(top) : round(top + share), left:] = _GROUND
            if len(self.found) > 1:
                colour = annotators.color_of(one.face.face_id)
                words = f"face {one.face.face_id}" + ("" if at >= 0 else ": not seen")
                self._write(words, left + 0.5 * unit, top, 0.62 * unit, colour)
                top += 1.1 * unit
                listed = [i for i in ranks if i >= 0]
            else:
                listed = list(range(len(one.names)))
            room = share - (2.6 if len(self.found) == 1 else 1.1) * unit
            row = min(1.15 * unit, room / max(len(listed), 1))
            if row < 0.55 * unit:  # more than fit: the highest only
                listed = [i for i in ranks if i >= 0]
                row = 1.15 * unit
            best = dict(zip(ranks, values, strict=False))
            for line, i in enumerate(listed):
                high = i in best
                neutral = i == len(one.names) - 1
                colour = (_TEXT if neutral else self._colours[i]) if high else _FAINT
                y = top + line * row
                self._write(one.names[i], left + 0.5 * unit, y, row * 0.6, colour)
                if high:
                    words = f"{best[i] / 100:.2f}"
                    self._write(words, left + 9.6 * unit, y, row * 0.6, colour)
            if len(self.found) == 1:
                y = 1.6 * unit + share - 2.2 * unit
                window = f"over {one.questions.window_s:g} s:"
                self._write(window, left + 0.5 * unit, y, 0.55 * unit, _FAINT)
                self._write(lately, left + 0.5 * unit, y + 0.9 * unit, 0.7 * unit, _TEXT)

    def _move_cursor(self, time_s: float) -> None:
        for rows, columns, before in self._cursor:
            self._canvas[rows, columns] = before
        self._cursor.clear()
        for rows, start, length, seconds in self._lines:
            x = round(start + length * min(time_s / seconds, 1.0))
            columns = slice(x, x + max(2, round(self.unit / 12)))
            self._cursor.append((rows, columns, self._canvas[rows, columns].copy()))
            self._canvas[rows, columns] = _CURSOR

    def _lay_heat(self, picture: Image, face: Outline) -> None:
        """Lays a bump at each point over the face, drawn small and enlarged."""
        low = np.floor(face.lines.min(axis=0)).astype(int)
        high = np.ceil(face.lines.max(axis=0)).astype(int)
        reach = (high - low).max() // 8
        left, top = np.maximum(low - reach, 0)
        right, bottom = np.minimum(high + reach, (picture.shape[1], picture.shape[0]))
        if right - left < 8 or bottom - top < 8:
            return
        patch = picture[top:bottom, left:right]
        step = max(1.0, max(patch.shape[:2]) / 96)
        shape = tuple(max(2, round(side / step)) for side in patch.shape[:2])
        heat = np.zeros(shape, np.float32)
        spread = 0.05 * float((high - low)[1]) / step
        rows, columns = (np.arange(side, dtype=np.float32) for side in shape)
        for x, y, level in face.points:
            if level > 0 and np.isfinite(x + y):
                down = np.exp(-((rows - (y - top) / step) ** 2) / (2 * spread**2))
                across = np.exp(-((columns - (x - left) / step) ** 2) / (2 * spread**2))
                np.maximum(heat, np.outer(down * (level / INTENSITY_MAX), across), out=heat)
        if heat.max() < 0.1:
            return
        weight = 0.8 * np.sqrt(np.clip((heat - 0.1) / 0.9, 0, 1))
        # Coloured small too: what is enlarged is colours and weights.
        size = patch.shape[1::-1]
        colours = cv2.resize(self._inferno[(heat * 255).astype(np.uint8)], size)
        weight = np.asarray(cv2.resize(weight, size), np.float32)
        patch[:] = cv2.blendLinear(np.ascontiguousarray(patch), colours, 1 - weight, weight)

    def _lay_mesh(self, picture: Image, face: Outline) -> None:
        colour = annotators.color_of(face.track_id)
        extent = float(np.ptp(face.lines[:, 1]))
        width = max(1, round(extent / 220))
        loops = np.split(np.rint(face.lines * 16).astype(np.int32), CUTS)
        view = np.ascontiguousarray(picture)
        for closed in (True, False):
            chosen = [line for (c, _), line in zip(LOOPS, loops, strict=True) if c == closed]
            cv2.polylines(view, chosen, closed, colour, width, cv2.LINE_AA, 4)
        picture[:] = view

    def _write(self, text: str, x: float, y: float, size: float, colour: Rgb = _TEXT) -> None:
        """Writes text whose line starts at (x, y), in letters `size` tall."""
        if not text.strip():
            return
        sprite = _sprite(text, max(8, round(size)), colour)
        top, left = round(y), round(x)
        area = self._canvas[top : top + sprite.shape[0], left : left + sprite.shape[1]]
        area[:] = sprite[: area.shape[0], : area.shape[1]]


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)


@functools.lru_cache(4096)
def _sprite(text: str, size: int, colour: Rgb) -> Image:
    """Draws a text on the ground of the panels."""
    font = _font(size)
    box = font.getbbox(text)
    picture = Pictures.new("RGB", (int(box[2]) + 1, int(size * 1.25)), _GROUND)
    ImageDraw.Draw(picture).text((0, 0), text, font=font, fill=colour)
    return np.asarray(picture, np.uint8)


def _scaled(face: Outline, scales: tuple[float, float]) -> Outline:
    if scales == (1, 1):
        return face
    both = np.array(scales, np.float32)
    points = face.points.copy()
    points[:, :2] = (points[:, :2] + 0.5) * both - 0.5
    return Outline(face.track_id, points, (face.lines + np.float32(0.5)) * both - np.float32(0.5))
