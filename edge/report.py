"""`report.html`: one page that tells a video, and opens without a network."""

from __future__ import annotations

import base64
import html
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tfau
from edge.diagrams import colours
from edge.findings import Findings, peaks
from tfau.core.action_units import ACTION_UNITS
from tfau.core.files import whole_file

_PAGES = Path(__file__).parent / "pages"
_COLUMNS = 1200  # of the time line: more than a screen has


def write_report(
    summary: Mapping[str, Any],
    found: Sequence[Findings],
    pictures: Mapping[tuple[int, int], bytes],
    folder: Path,
    settings: Mapping[str, Any],
) -> None:
    """Writes the page of one video.

    Args:
        summary: See `Study.tell`.
        found: What was found of each face.
        pictures: JPEGs of faces, by face and frame.
        folder: Where it goes; plots and annotated video lie in it.
        settings: Of the command line.
    """
    video = next((f"annotated{s}" for s in (".mp4",) if (folder / f"annotated{s}").exists()), "")
    body = [
        f"<h1>{_safe(summary['video'])}</h1>",
        (
            "<p class=soft>Facial action units, read on this computer by "
            f"tfau {tfau.__version__} with {_safe(Path(str(settings.get('model'))).name)}. "
            "Intensity 0 to 5; left and right are the subject's. A convention of ours, not "
            "certified FACS coding: what a face shows, not what somebody feels.</p>"
        ),
        _facts(summary),
    ]
    if video:
        body.append(
            f"<section><h2>Video</h2><video src={video} controls preload=auto></video>"
            "<p id=novideo class=soft hidden>annotated.mp4 must lie beside this page.</p></section>"
        )
    if found:
        body += [
            _time_line(found),
            _key_frames(found, pictures),
            *(_units(face) for face in summary["faces"]),
            *(_expressions(face) for face in summary["faces"]),
            _events(found),
            _synchrony(summary),
            _plots(folder),
        ]
    else:
        body.append("<section><h2>No face</h2><p>No face was found in any frame.</p></section>")
    page = _page(str(summary["video"]), body, _data(found, float(summary["length_s"])))
    with whole_file(folder / "report.html") as path:
        path.write_text(page, encoding="utf-8")


def write_index(summaries: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Writes the page of several videos."""
    rows = []
    for summary in summaries:
        first = summary["faces"][0] if summary["faces"] else None
        strong = "" if first is None else ", ".join(_strongest(first))
        shown = "" if first is None else _most_shown(first)
        link = _safe(os.fspath(Path(summary["folder"]) / "report.html"))
        rows.append(
            f'<tr><td><a href="{link}">{_safe(summary["video"])}</a><td>{summary["length_s"]:.1f}'
            f"<td>{len(summary['faces'])}<td>{_percent(summary['coverage'])}"
            f"<td>{_number(first and first['blinks_per_minute'])}<td>{shown}<td>{strong}"
        )
    body = [
        f"<h1>{len(summaries)} videos</h1>",
        "<p class=soft>All of it is in all.csv too, a row for each face.</p>",
        (
            "<section><table><thead><tr><th>video<th>seconds<th>faces<th>face seen"
            "<th>blinks a minute<th>most shown<th>strongest units</thead>"
            f"{''.join(rows)}</table></section>"
        ),
    ]
    with whole_file(out / "index.html") as path:
        path.write_text(_page("Videos", body, None), encoding="utf-8")


def _page(title: str, body: Sequence[str], data: Mapping[str, Any] | None) -> str:
    # Nothing may be fetched but the video beside the page.
    policy = (
        "default-src 'none'; img-src data:; media-src 'self' file:; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'"
    )
    script = ""
    if data is not None:
        content = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
        script = (
            f'<script type="application/json" id=data>{content}</script>'
            f"<script>{_part('report.js')}</script>"
        )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width">'
        f'<meta http-equiv=Content-Security-Policy content="{policy}">'
        f"<title>{_safe(title)}</title><style>{_part('report.css')}</style><main>{''.join(body)}</main>{script}"
    )


def _part(name: str) -> str:
    return (_PAGES / name).read_text(encoding="utf-8")


def _facts(summary: Mapping[str, Any]) -> str:
    faces = summary["faces"]
    facts = {
        "length": f"{summary['length_s']:.1f} s",
        "frames": f"{summary['frames']:,}",
        "with a face": _percent(summary["coverage"]),
        "faces": str(len(faces)),
    }
    if faces:
        first = faces[0]
        facts |= {
            "picture quality": _percent(first["quality"]),
            "blinks a minute": _number(first["blinks_per_minute"]),
            "most shown": _most_shown(first),
        }
    cells = "".join(
        f"<div><span class=soft>{name}</span><b>{v}</b></div>" for name, v in facts.items()
    )
    return f"<section class=facts>{cells}</section>"


def _time_line(found: Sequence[Findings]) -> str:
    choice = ""
    if len(found) > 1:
        options = "".join(
            f"<option value={i}>face {one.face.face_id}" for i, one in enumerate(found)
        )
        choice = f"<label>Face <select id=face>{options}</select></label>"
    last = max(one.face.times_s[-1] for one in found)
    return (
        f"<section><h2>Time line</h2>{choice}<p id=said aria-live=polite class=soft></p>"
        "<canvas tabindex=0 role=slider aria-label='time, seconds' aria-valuemin=0 "
        f"aria-valuemax={last:.2f} aria-valuenow=0></canvas>"
        "<p class=soft>Click, drag, or use the arrow keys; darker is stronger.</p></section>"
    )


def _key_frames(found: Sequence[Findings], pictures: Mapping[tuple[int, int], bytes]) -> str:
    cards = []
    times = {
        (one.face.face_id, int(frame)): float(time)
        for one in found
        for frame, time in zip(one.face.frames, one.face.times_s, strict=True)
    }
    for face, frame, kind, name, value in peaks(found):
        if (face, frame) not in pictures:
            continue
        words = ACTION_UNITS[int(name[2:])].name if kind == "unit" else "expression"
        image = base64.b64encode(pictures[face, frame]).decode()
        time = times[face, frame]
        who = f", face {face}" if len(found) > 1 else ""
        cards.append(
            f"<button data-seek={time:.3f}><img alt='' src=data:image/jpeg;base64,{image}>"
            f"<b>{_safe(name)}</b> {value:.2f}<br>"
            f"<span class=soft>{words}{who}, {time:.1f} s</span></button>"
        )
    if not cards:
        return ""
    return f"<section><h2>Peaks</h2><div class=keys>{''.join(cards)}</div></section>"


def _units(face: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{name} {ACTION_UNITS[int(name[2:])].name}<td>{_number(v['mean'])}"
        f"<td>{_number(v['sd'])}<td>{_number(v['max'])}<td>{_time(v['max_at_s'])}"
        f"<td>{_number(v['active_s'])}<td>{v['events']}<td>{_number(v['mean_duration_s'])}"
        f"<td>{_number(v['asymmetry'])}"
        for name, v in face["units"].items()
    )
    return (
        f"<section><h2>Action units, face {face['face_id']}</h2>"
        "<div class=scroll><table><thead><tr><th>unit<th>mean<th>sd<th>max<th>at"
        "<th>seconds at 1 or more<th>events<th>mean duration, s<th>left - right</thead>"
        f"{rows}</table></div></section>"
    )


def _expressions(face: Mapping[str, Any]) -> str:
    ordered = sorted(face["expressions"].items(), key=lambda item: -(item[1]["first_s"] or 0))
    rows = "".join(
        f"<tr><td>{_safe(name)}<td>{_number(v['mean'])}<td>{_number(v['max'])}"
        f"<td>{_time(v['max_at_s'])}<td>{_number(v['first_s'])}"
        for name, v in ordered
    )
    emotions = ", ".join(
        f"{name} {_number(v['mean'])}" for name, v in face["emotions"].items() if v["mean"]
    )
    return (
        f"<section><h2>Expressions, face {face['face_id']}</h2>"
        f"<p class=soft>Below {_number(face['neutral_threshold'])} a face counts as peaceful. "
        f"Share of the units of the seven basic emotions: {emotions or 'none'}.</p>"
        "<div class=scroll><table><thead><tr><th>expression<th>mean<th>max<th>at<th>seconds first"
        f"</thead>{rows}</table></div></section>"
    )


def _events(found: Sequence[Findings]) -> str:
    events = [(one.face.face_id, event) for one in found for event in one.events]
    rows = "".join(
        f"<tr><td>{_safe(event.kind)} {_safe(' + '.join(event.names))}<td>{face}"
        f"<td>{_time(event.onset_s)}<td>{_time(event.apex_s)}<td>{event.duration_s:.2f}"
        f"<td>{event.amplitude:.2f}"
        for face, event in sorted(events, key=lambda item: item[1].onset_s)[:2000]
    )
    more = f"<p class=soft>{len(events)} events; events.csv has all.</p>"
    return (
        f"<section><h2>Events</h2>{more}<div class=scroll><table><thead><tr><th>event<th>face"
        f"<th>onset<th>apex<th>duration, s<th>amplitude</thead>{rows}</table></div></section>"
    )


def _synchrony(summary: Mapping[str, Any]) -> str:
    rows = []
    for pair in summary["synchrony"]:
        one, other = pair["faces"]
        for name, r in pair["r"].items():
            if r is not None and abs(r) >= 0.3:
                rows.append(
                    f"<tr><td>{name}<td>{one}, {other}<td>{r:.2f}<td>{pair['lag_s'][name]:+.1f}"
                )
    if not rows:
        return ""
    return (
        "<section><h2>Together</h2>"
        "<p class=soft>Correlation of .3 or more at the best lag up to 2 s; above 0 the "
        "second face follows.</p><table><thead><tr><th>unit<th>faces<th>r<th>lag, s"
        f"</thead>{''.join(rows)}</table></section>"
    )


def _plots(folder: Path) -> str:
    images = "".join(
        f"<img alt='{_safe(path.stem)}' src=data:image/png;base64,"
        f"{base64.b64encode(path.read_bytes()).decode()}>"
        for path in sorted((folder / "plots").glob("*.png"))
    )
    return f"<section class=plots><h2>Plots</h2>{images}</section>"


def _data(found: Sequence[Findings], length_s: float) -> dict[str, Any]:
    """Puts the time line into few enough numbers for a page."""
    faces = []
    names = found[0].names if found else ()
    for one in found:
        columns = min(_COLUMNS, max(len(one.face), 1))
        edges = np.linspace(0, max(length_s, 1e-9), columns + 1)
        place = np.searchsorted(edges, one.face.times_s, side="right") - 1
        place = place.clip(0, columns - 1)
        levels = np.full((columns, len(one.face.aus)), -1.0)
        np.maximum.at(levels, place, np.nan_to_num(one.face.levels, nan=-1.0))
        best = np.full(columns, -1)
        best[place] = one.ranks[:, 0]
        moving = [i for i in range(len(one.face.aus)) if levels[:, i].max() >= 1]
        faces.append(
            {
                "units": [one.face.aus.names[i] for i in moving],
                "levels": levels[:, moving].T.round(1).tolist(),
                "best": best.tolist(),
            }
        )
    palette = [f"#{''.join(f'{round(255 * c):02x}' for c in rgb)}" for rgb in colours(len(names))]
    return {
        "length": length_s,
        "names": list(names),
        "colours": [*palette[:-1], "#8a94a0"] if palette else [],
        "faces": faces,
    }


def _strongest(face: Mapping[str, Any], count: int = 4) -> list[str]:
    known = [(v["max"], name) for name, v in face["units"].items() if v["max"] is not None]
    return [f"{name} {value:.1f}" for value, name in sorted(known, reverse=True)[:count]]


def _most_shown(face: Mapping[str, Any]) -> str:
    shown = face["expressions"]
    return _safe(max(shown, key=lambda name: shown[name]["first_s"] or 0)) if shown else ""


def _safe(text: Any) -> str:
    return html.escape(str(text), quote=True)


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"<button class=time data-seek={seconds:.3f}>{seconds:.2f} s</button>"
