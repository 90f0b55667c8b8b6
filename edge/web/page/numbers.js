// Small linear algebra on plain arrays: 2 x 3 matrices, points, and the best similarity.

/** Moves a point [x, y] by a 2 x 3 matrix [a, b, c, d, e, f] = [[a, b, c], [d, e, f]]. */
export const move = (m, x, y) => [m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]];

/** Returns the 2 x 3 matrix of the way back. */
export function invert([a, b, c, d, e, f]) {
  const det = a * e - b * d;
  const [p, q, r, s] = [e / det, -b / det, -d / det, a / det];
  return [p, q, -p * c - q * f, r, s, -r * c - s * f];
}

export const clip = (value, low, high) => Math.min(Math.max(value, low), high);

/** Rounds halves to the even neighbour, as numpy and Python do. */
export function round(value) {
  const near = Math.round(value);
  return near - value === 0.5 && near % 2 ? near - 1 : near;
}

export const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Returns the distance of two points of equal dimension. */
export const distance = (a, b) => Math.hypot(...a.map((value, i) => value - b[i]));

/**
 * Finds the similarity that carries one point set onto another, least squares, never a reflection.
 *
 * @param source, target (N, 2) or (N, 3) arrays of points.
 * @returns {scale, rotation (D x D, rows), shift (D)}: target ~ scale * rotation * source + shift.
 *
 * In the plane the optimum is closed; in space it is Horn's quaternion (1987). Both are the answer
 * of Umeyama's method, which the Python twin uses.
 */
export function procrustes(source, target) {
  const dims = source[0].length;
  const axes = [...Array(dims).keys()];
  const centre = (points) => axes.map((k) => mean(points.map((p) => p[k])));
  const [from, to] = [centre(source), centre(target)];
  const cross = axes.map(() => axes.map(() => 0)); // sum of source_j * target_k
  let variance = 0;
  source.forEach((point, i) => {
    const s = axes.map((k) => point[k] - from[k]);
    const t = axes.map((k) => target[i][k] - to[k]);
    for (const j of axes) {
      variance += s[j] * s[j];
      for (const k of axes) cross[j][k] += s[j] * t[k];
    }
  });
  if (!(variance > 1e-12)) throw new Error("Cannot align points that coincide or are not finite.");
  const rotation = dims === 2 ? planeRotation(cross) : spaceRotation(cross);
  let gain = 0;
  for (const j of axes) for (const k of axes) gain += rotation[k][j] * cross[j][k];
  const scale = gain / variance;
  const shift = axes.map(
    (k) => to[k] - scale * axes.reduce((v, j) => v + rotation[k][j] * from[j], 0),
  );
  return { scale, rotation, shift };
}

/** Applies what `procrustes` found to one point. */
export const carry = ({ scale, rotation, shift }, point) =>
  rotation.map((row, k) => scale * row.reduce((v, r, j) => v + r * point[j], 0) + shift[k]);

function planeRotation([[xx, xy], [yx, yy]]) {
  const [cosine, sine] = [xx + yy, xy - yx];
  const length = Math.hypot(cosine, sine) || 1;
  return [
    [cosine / length, -sine / length],
    [sine / length, cosine / length],
  ];
}

function spaceRotation([[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]]) {
  const [w, x, y, z] = largestEigenvector([
    [xx + yy + zz, yz - zy, zx - xz, xy - yx],
    [yz - zy, xx - yy - zz, xy + yx, zx + xz],
    [zx - xz, xy + yx, yy - xx - zz, yz + zy],
    [xy - yx, zx + xz, yz + zy, zz - xx - yy],
  ]);
  return [
    [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
    [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
    [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
  ];
}

/** Returns the unit eigenvector of the largest eigenvalue of a symmetric matrix (Jacobi). */
function largestEigenvector(matrix) {
  const n = matrix.length;
  const a = matrix.map((row) => [...row]);
  const v = a.map((_, i) => a.map((_, j) => Number(i === j)));
  for (let sweep = 0; sweep < 50; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) off += a[p][q] ** 2;
    if (off < 1e-300) break;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        if (!a[p][q]) continue;
        const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
        const c = 1 / Math.sqrt(t * t + 1);
        const s = t * c;
        for (let k = 0; k < n; k++) {
          [a[k][p], a[k][q]] = [c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]];
        }
        for (let k = 0; k < n; k++) {
          [a[p][k], a[q][k]] = [c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]];
          [v[k][p], v[k][q]] = [c * v[k][p] - s * v[k][q], s * v[k][p] + c * v[k][q]];
        }
      }
    }
  }
  const best = a.reduce((top, row, i) => (row[i] > a[top][top] ? i : top), 0);
  return v.map((row) => row[best]);
}

/** Solves a 3 x 3 linear system by Cramer's rule. */
export function solve3(m, b) {
  const det = (p) =>
    p[0][0] * (p[1][1] * p[2][2] - p[1][2] * p[2][1]) -
    p[0][1] * (p[1][0] * p[2][2] - p[1][2] * p[2][0]) +
    p[0][2] * (p[1][0] * p[2][1] - p[1][1] * p[2][0]);
  const whole = det(m);
  return [0, 1, 2].map(
    (k) => det(m.map((row, i) => row.map((x, j) => (j === k ? b[i] : x)))) / whole,
  );
}
