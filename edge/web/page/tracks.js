// Keeps the number of a face from frame to frame by its motion alone: the twin of edge/tracks.py.

const FAR = 1e6;

export class Tracker {
  /** @param keepS for how long a lost face is waited for. @param reach in face sizes. */
  constructor(keepS = 1, reach = 0.75) {
    Object.assign(this, { keepS, reach, tracks: [], next: 0 });
  }

  /** Numbers the faces of the next frame: the same faces with their `track`. */
  update(faces, timestampMs) {
    const tracks = this.tracks.filter((track) => timestampMs - track.seenMs <= this.keepS * 1000);
    const places = faces.map(({ mesh }) => placeOf(mesh));
    const cost = tracks.map((track) =>
      places.map((place) => this.#cost(track, place, timestampMs)),
    );
    const match = new Map(
      assign(cost, places.length)
        .filter(([r, c]) => cost[r][c] < FAR)
        .map(([r, c]) => [c, r]),
    );
    const numbered = faces.map((face, column) => {
      const place = places[column];
      let track = tracks[match.get(column)];
      if (track) {
        const seconds = (timestampMs - track.seenMs) / 1000;
        if (seconds > 0)
          track.speed = track.speed.map((v, k) => (v + (place[k] - track.place[k]) / seconds) / 2);
        Object.assign(track, { place, seenMs: timestampMs });
      } else {
        track = { id: this.next++, place, speed: [0, 0, 0], seenMs: timestampMs };
        tracks.push(track);
      }
      return { ...face, track: track.id };
    });
    this.tracks = tracks;
    return numbered;
  }

  #cost(track, place, timestampMs) {
    const lostS = (timestampMs - track.seenMs) / 1000;
    const gap = place.map((value, k) => value - track.place[k] - track.speed[k] * lostS);
    const size = Math.exp(place[2]);
    const far = Math.hypot(gap[0], gap[1]) / size + Math.abs(gap[2]);
    // Who stood still may have started to move, so the last place counts as well.
    const stayed = Math.hypot(place[0] - track.place[0], place[1] - track.place[1]) / size;
    return Math.min(far, stayed) > this.reach * (1 + lostS) ? FAR : far;
  }
}

function placeOf(mesh) {
  const [xs, ys] = [0, 1].map((k) => mesh.map((point) => point[k]));
  const [left, right, top, bottom] = [
    Math.min(...xs),
    Math.max(...xs),
    Math.min(...ys),
    Math.max(...ys),
  ];
  return [
    (left + right) / 2,
    (top + bottom) / 2,
    Math.log(Math.max(Math.hypot(right - left, bottom - top), 1e-6)),
  ];
}

/** Pairs rows with columns so that the sum of their costs is least (Hungarian method). */
export function assign(cost, columns) {
  const rows = cost.length;
  if (rows > columns) {
    const turned = [...Array(columns).keys()].map((c) => cost.map((row) => row[c]));
    return assign(turned, rows).map(([c, r]) => [r, c]);
  }
  const [u, v] = [Array(rows).fill(0), Array(columns + 1).fill(0)];
  const owner = Array(columns + 1).fill(-1);
  for (let row = 0; row < rows; row++) {
    const least = Array(columns).fill(Infinity);
    const before = Array(columns).fill(columns);
    const used = Array(columns + 1).fill(false);
    let column = columns;
    owner[columns] = row;
    do {
      used[column] = true;
      const current = owner[column];
      let [step, nearest] = [Infinity, -1];
      for (let c = 0; c < columns; c++) {
        if (used[c]) continue;
        const reduced = cost[current][c] - u[current] - v[c];
        if (reduced < least[c]) [least[c], before[c]] = [reduced, column];
        if (least[c] < step) [step, nearest] = [least[c], c];
      }
      for (let c = 0; c <= columns; c++) {
        if (used[c]) {
          u[owner[c]] += step;
          v[c] -= step;
        } else if (c < columns) least[c] -= step;
      }
      column = nearest;
    } while (owner[column] !== -1);
    for (; column !== columns; column = before[column]) owner[column] = owner[before[column]];
  }
  return [...Array(columns).keys()].filter((c) => owner[c] !== -1).map((c) => [owner[c], c]);
}
