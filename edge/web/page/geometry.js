// What the mesh alone tells: head pose, gaze, how far the eyes are open. The twin of
// edge/geometry.py; the pose minimises the same error as its solver, from a start close by.

import { carry, clip, distance, mean, procrustes, solve3 } from "./numbers.js";
import { EYES, HEAD } from "./tables.js";

const [EYEBALL, IRIS_REST] = [0.4, -0.045];
const IRISES = [
  [263, 362, 473],
  [33, 133, 468],
]; // left and right: corners, centre of the iris
const [OPEN, CLOSED] = [0.24, 0.1];

const AXES = [0, 1, 2];
const AXIS = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) =>
  AXES.map((k) => a[(k + 1) % 3] * b[(k + 2) % 3] - a[(k + 2) % 3] * b[(k + 1) % 3]);
const total = (vectors) => AXES.map((k) => vectors.reduce((sum, vector) => sum + vector[k], 0));
const apply = (m, p) => m.map((row) => row[0] * p[0] + row[1] * p[1] + row[2] * p[2]);
const product = (a, b) =>
  a.map((row) => [0, 1, 2].map((k) => row.reduce((v, x, j) => v + x * b[j][k], 0)));

/**
 * Measures head pose, gaze and eyes of one face.
 *
 * @returns {rotation (3) rad, translation (3) mm, gaze: left and right unit vectors, eyeAspect:
 *   left and right, yawDeg, pitchDeg}.
 */
export function measure(mesh, width, height) {
  const { turn, shift } = pose(mesh, width, height);
  const rotation = [
    Math.atan2(-turn[1][2], turn[2][2]),
    Math.asin(clip(turn[0][2], -1, 1)),
    Math.atan2(-turn[0][1], turn[0][0]),
  ];
  const gaze = gazeOf(mesh, turn);
  const [x, y, z] = [0, 1, 2].map((k) => (gaze[0][k] + gaze[1][k]) / 2);
  return {
    rotation,
    translation: shift,
    gaze,
    gazeAngles: [Math.atan2(x, -z), Math.atan2(y, -z)],
    eyeAspect: eyeAspect(mesh),
    yawDeg: (-rotation[1] * 180) / Math.PI,
    pitchDeg: (rotation[0] * 180) / Math.PI,
  };
}

/** Turns eye aspect ratios into levels of closed lids, 0 to 5 (AU43, AU45). */
export const closure = (aspects) =>
  aspects.map((a) => clip((OPEN - a) / (OPEN - CLOSED), 0, 1) * 5);

/** Returns how far the left and the right eye are open: gap of the lids over width of the eye. */
export function eyeAspect(mesh) {
  return EYES.map(([outer, inner, ...lids]) => {
    const gaps = lids.map(([upper, lower]) => distance(mesh[upper], mesh[lower]));
    return mean(gaps) / Math.max(distance(mesh[outer], mesh[inner]), 1e-9);
  });
}

/**
 * Finds turn and place of the head by Gauss-Newton, from the turn of the mesh in space.
 *
 * What is least is the sum of (x - u z)^2 + (y - v z)^2 over the points (x, y, z) of the head and
 * where they are seen, (u, v): that is what SQPnP minimises.
 */
function pose(mesh, width, height) {
  const focal = Math.max(width, height); // a lens that sees 53 degrees of the longer side
  const model = HEAD.points.map((point) => point.map((x) => x * HEAD.eye_distance_mm));
  const seen = HEAD.vertices.map((v) => mesh[v]);
  // Of each point A = [[1, 0, -u], [0, 1, -v]], whose product with a point is its error.
  const rows = seen.map(([x, y]) => {
    const [u, v] = [(x - (width - 1) / 2) / focal, (y - (height - 1) / 2) / focal];
    return [
      [1, 0, -u],
      [0, 1, -v],
    ];
  });
  const squares = rows.map((a) =>
    AXES.map((i) => AXES.map((j) => a[0][i] * a[0][j] + a[1][i] * a[1][j])),
  );
  const whole = AXES.map((i) => total(squares.map((square) => square[i])));
  // The shift that is best for points as they are turned, or its change as they change.
  const shiftOf = (points) =>
    solve3(whole, total(points.map((point, n) => apply(squares[n], point)))).map((x) => -x);

  let { rotation: turn } = procrustes(model, seen);
  let shift;
  for (let step = 0; step < 30; step++) {
    const turned = model.map((point) => apply(turn, point));
    shift = shiftOf(turned);
    // How a point changes as the head turns about each axis, the shift included.
    const changes = AXES.map((axis) => {
      const own = turned.map((point) => cross(AXIS[axis], point));
      const common = shiftOf(own);
      return own.map((change) => change.map((x, k) => x + common[k]));
    });
    const normal = AXES.map(() => [0, 0, 0]);
    const right = [0, 0, 0];
    rows.forEach((a, n) => {
      for (const row of a) {
        const error = dot(row, turned[n]) + dot(row, shift);
        const slopes = AXES.map((axis) => dot(row, changes[axis][n]));
        for (const i of AXES) {
          right[i] -= slopes[i] * error;
          for (const j of AXES) normal[i][j] += slopes[i] * slopes[j];
        }
      }
    });
    const move = solve3(normal, right);
    turn = product(exponential(move), turn);
    if (Math.hypot(...move) < 1e-9) break;
  }
  return { turn, shift };
}

/** Returns the rotation about a vector by its length (Rodrigues). */
function exponential([x, y, z]) {
  const angle = Math.hypot(x, y, z);
  const [s, c] =
    angle < 1e-9 ? [1, 0.5] : [Math.sin(angle) / angle, (1 - Math.cos(angle)) / angle ** 2];
  const k = [
    [0, -z, y],
    [z, 0, -x],
    [-y, x, 0],
  ];
  const kk = product(k, k);
  return k.map((row, i) => row.map((value, j) => Number(i === j) + s * value + c * kk[i][j]));
}

function gazeOf(mesh, turn) {
  const found = procrustes(
    HEAD.vertices.map((v) => mesh[v]),
    HEAD.points,
  );
  return IRISES.map(([outer, inner, iris]) => {
    if (mesh.length === 468) return [NaN, NaN, NaN];
    const [a, b, centre] = [outer, inner, iris].map((v) => carry(found, mesh[v]));
    const width = Math.max(distance(a, b), 1e-9);
    const [across, down] = [0, 1].map(
      (k) => (centre[k] - (a[k] + b[k]) / 2) / width - [0, IRIS_REST][k],
    );
    const [x, y] = [across, down].map((value) => clip(value / EYEBALL, -0.95, 0.95));
    const gaze = apply(turn, [x, y, -Math.sqrt(Math.max(1 - x * x - y * y, 0))]);
    return gaze.map((value) => value / Math.hypot(...gaze));
  });
}
