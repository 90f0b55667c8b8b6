// How good a picture is for reading a face: the twin of edge/quality.py.

import { clip, distance } from "./numbers.js";

const SIDE = 96;
const [TURNED, YAW_MAX, PITCH_MAX] = [35, 60, 40];

/** Returns {quality 0 to 1, reasons}; `crop` is (size * size * 3) RGB bytes. */
export function judge({ mesh, presence }, shape, crop, size) {
  const [marks, reasons] = [[], []];
  const mark = (value, worst, good, reason) => {
    marks.push(clip((value - worst) / (good - worst), 0, 1));
    if (marks.at(-1) < 1) reasons.push(reason);
  };
  mark(presence, 0.5, 0.8, "low_presence");
  mark(distance(mesh[263].slice(0, 2), mesh[33].slice(0, 2)), 12, 24, "small_face");
  const grey = averaged(greyOf(crop), size);
  const median = middle(grey);
  mark(sharpness(grey), 0.04, 0.1, "blurred");
  mark(median, 20, 40, "under_exposed");
  mark(median, 245, 215, "over_exposed");
  const yaw = Math.abs(shape.yawDeg);
  marks.push(clip((YAW_MAX - yaw) / (YAW_MAX - TURNED), 0, 1));
  if (isExtreme(shape)) {
    reasons.push("extreme_pose");
    marks.push(0);
  } else if (yaw > TURNED) reasons.push("turned");
  return { quality: Math.min(...marks), reasons };
}

/** Says of each point of a set whether the camera cannot see it; `cut`: the frame ends before it. */
export function hiddenPoints(mesh, width, height, shape, aus) {
  const beyond = ([x, y]) => x < -0.5 || y < -0.5 || x > width - 0.5 || y > height - 0.5;
  const outside = mesh.some(beyond) ? aus.places(mesh).map(beyond) : aus.points.map(() => false);
  const away = shape.yawDeg > 0 ? "left" : "right";
  const turned = Math.abs(shape.yawDeg) > TURNED;
  const hidden = aus.points.map(
    ({ name }, i) => outside[i] || isExtreme(shape) || (turned && name.endsWith(away)),
  );
  return { hidden, cut: outside.some(Boolean) };
}

const isExtreme = ({ yawDeg, pitchDeg }) =>
  Math.abs(yawDeg) > YAW_MAX || Math.abs(pitchDeg) > PITCH_MAX;

function greyOf(crop) {
  const grey = new Uint8Array(crop.length / 3);
  for (let i = 0, at = 0; i < grey.length; i++, at += 3) {
    grey[i] = (crop[at] * 9798 + crop[at + 1] * 19235 + crop[at + 2] * 3735 + 16384) >> 15;
  }
  return grey;
}

/** Shrinks a square picture to `SIDE`, each pixel the mean of what it covers, in whole levels. */
function averaged(grey, size) {
  const step = size / SIDE;
  const starts = Array.from({ length: SIDE }, (_, i) => Math.floor(i * step));
  const shares = starts.map((start, i) => {
    const [low, high] = [i * step, (i + 1) * step];
    const count = Math.min(Math.ceil(high - 1e-9), size) - start;
    return Array.from({ length: count }, (_, k) => {
      return (Math.min(high, start + k + 1) - Math.max(low, start + k)) / step;
    });
  });
  const small = new Float32Array(SIDE * SIDE);
  for (let i = 0; i < SIDE; i++) {
    for (let j = 0; j < SIDE; j++) {
      let sum = 0;
      for (let r = 0; r < shares[i].length; r++) {
        const at = (starts[i] + r) * size + starts[j];
        for (let c = 0; c < shares[j].length; c++)
          sum += grey[at + c] * shares[i][r] * shares[j][c];
      }
      small[i * SIDE + j] = Math.round(sum);
    }
  }
  return small;
}

function middle(values) {
  const sorted = values.slice().sort();
  return (sorted[sorted.length / 2 - 1] + sorted[sorted.length / 2]) / 2;
}

/** Returns the spread of the second derivative over the spread of the levels. */
function sharpness(grey) {
  const edges = new Float32Array(grey.length);
  for (let row = 0; row < SIDE; row++) {
    // Beyond the border the picture is mirrored.
    const above = (row ? row - 1 : 1) * SIDE;
    const below = (row + 1 < SIDE ? row + 1 : SIDE - 2) * SIDE;
    for (let column = 0; column < SIDE; column++) {
      const [left, right] = [column ? column - 1 : 1, column + 1 < SIDE ? column + 1 : SIDE - 2];
      const at = row * SIDE;
      const around =
        grey[above + column] + grey[below + column] + grey[at + left] + grey[at + right];
      edges[at + column] = around - 4 * grey[at + column];
    }
  }
  return spread(edges) / Math.max(spread(grey), 1);
}

function spread(values) {
  let [sum, squares] = [0, 0];
  for (const value of values) sum += value;
  const centre = sum / values.length;
  for (const value of values) squares += (value - centre) ** 2;
  return Math.sqrt(squares / values.length);
}
