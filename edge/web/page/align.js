// Where a face crop is cut, and the one warp behind every crop: the twin of tfau/core/align.py and
// edge/warp.py. Images are {data: RGBA bytes, width, height}; crops are RGB bytes.

import { carry, clip, invert, procrustes, round } from "./numbers.js";
import { STABLE } from "./tables.js";

/** Returns the 2 x 3 matrix, frame px -> crop px, of a face; `size` is the crop's side. */
export function cropMatrix(mesh, size) {
  const { origin, unit, vertices, template } = STABLE;
  const target = template.map(([x, y]) => [
    (x * unit + origin[0]) * size,
    (y * unit + origin[1]) * size,
  ]);
  const { scale, rotation, shift } = procrustes(
    vertices.map((v) => [mesh[v][0], mesh[v][1]]),
    target,
  );
  const [[a, b], [c, d]] = rotation;
  return [scale * a, scale * b, shift[0], scale * c, scale * d, shift[1]];
}

/** Turns a mesh to the front and to unit size: (468 * 3) floats, as a pair network takes them. */
export function alignedMesh(mesh) {
  const { scale, rotation, shift } = procrustes(
    STABLE.vertices.map((v) => mesh[v]),
    STABLE.template,
  );
  const turn = { scale: 1, rotation, shift };
  const flat = new Float32Array(468 * 3);
  for (let i = 0; i < 468; i++) {
    // Scaled in 32 bits, as numpy does: the network's first step is to round to 8.
    flat.set(
      carry(
        turn,
        mesh[i].map((value) => Math.fround(Math.fround(scale) * value)),
      ),
      i * 3,
    );
  }
  return flat;
}

/** Snaps a crop to a grid, so that rounding differences of processors do not move it. */
export function steady(m, size) {
  const angle = round(Math.atan2(m[3], m[0]) * 512) / 512;
  const scale = 2 ** (round(Math.log2(Math.hypot(m[0], m[3])) * 512) / 512);
  const [c, s] = [scale * Math.cos(angle), scale * Math.sin(angle)];
  const middle = (size - 1) / 2;
  const back = invert(m);
  const snap = (row) => {
    const at = back[row] * middle + back[row + 1] * middle + back[row + 2];
    return round(at * scale * 16) / (scale * 16);
  };
  const [x, y] = [snap(0), snap(3)];
  return [c, -s, middle - (c * x - s * y), s, c, middle - (s * x + c * y)];
}

/**
 * Warps the region that a matrix names to a square crop; what lies outside the frame is black.
 *
 * A face that shrinks by a factor of 2 or more is averaged over whole pixel blocks first.
 */
export function cropFace(image, matrix, size) {
  const factor = Math.floor(
    1 / Math.sqrt(Math.abs(matrix[0] * matrix[4] - matrix[1] * matrix[3])) + 1e-6,
  );
  return factor >= 2
    ? warp(...shrink(image, matrix, size, factor), size)
    : warp(image, matrix, size);
}

/**
 * Samples bilinearly, (size, size, 3); beyond the frame it is black.
 *
 * It rounds to 32 bits where OpenCV 5 does, and multiplies and adds in one step where that does: an
 * 8-bit network may answer one level more or less of a pixel by a whole step.
 */
export function warp({ data, width, height }, matrix, size) {
  const f = Math.fround;
  const [a, b, c, d, e, g] = invert(matrix).map(f);
  const crop = new Uint8Array(size * size * 3);
  let at = 0;
  for (let row = 0; row < size; row++) {
    const [x0, y0] = [f(f(row * b) + c), f(f(row * e) + g)];
    for (let column = 0; column < size; column++, at += 3) {
      const x = f(column * a + x0);
      const y = f(column * d + y0);
      const left = Math.floor(x);
      const top = Math.floor(y);
      if (left < -1 || top < -1 || left >= width || top >= height) continue;
      const u = f(x - left);
      const v = f(y - top);
      const hasLeft = left >= 0;
      const hasRight = left + 1 < width;
      const first = (top * width + left) * 4;
      const next = first + width * 4;
      const hasTop = top >= 0;
      const hasBottom = top + 1 < height;
      for (let k = 0; k < 3; k++) {
        const p = hasTop && hasLeft ? data[first + k] : 0;
        const q = hasTop && hasRight ? data[first + 4 + k] : 0;
        const r = hasBottom && hasLeft ? data[next + k] : 0;
        const s = hasBottom && hasRight ? data[next + 4 + k] : 0;
        const above = f(u * (q - p) + p);
        const below = f(u * (s - r) + r);
        const level = f(v * f(below - above) + above);
        const whole = Math.floor(level + 0.5); // halves to the even neighbour
        crop[at + k] = whole - level === 0.5 && whole & 1 ? whole - 1 : whole;
      }
    }
  }
  return crop;
}

/** Averages blocks of factor x factor px around the crop; returns them and the new matrix. */
function shrink({ data, width, height }, matrix, size, factor) {
  const back = invert(matrix);
  const span = (row, blocks) => {
    const ends = [-1, size].flatMap((x) =>
      [-1, size].map((y) => back[row] * x + back[row + 1] * y + back[row + 2]),
    );
    const first = Math.floor(Math.min(...ends) / factor) - 1;
    const last = Math.ceil(Math.max(...ends) / factor) + 2;
    return [clip(first, 0, blocks - 1), clip(last, 1, blocks)];
  };
  const [left, right] = span(0, Math.ceil(width / factor));
  const [top, bottom] = span(3, Math.ceil(height / factor));
  const small = { width: right - left, height: bottom - top };
  small.data = new Uint8ClampedArray(small.width * small.height * 4);
  const area = factor * factor;
  for (let row = 0; row < small.height; row++) {
    for (let column = 0; column < small.width; column++) {
      const [x0, y0] = [(left + column) * factor, (top + row) * factor];
      const sums = [0, 0, 0];
      for (let y = y0; y < Math.min(y0 + factor, height); y++) {
        for (let x = x0; x < Math.min(x0 + factor, width); x++) {
          const at = (y * width + x) * 4;
          for (let k = 0; k < 3; k++) sums[k] += data[at + k];
        }
      }
      const to = (row * small.width + column) * 4;
      sums.forEach((sum, k) => {
        small.data[to + k] = factor === 2 ? (sum + 2) >> 2 : round(sum / area);
      });
    }
  }
  const [x, y] = [left, top].map((start) => start * factor + (factor - 1) / 2);
  const [a, b, c, d, e, f] = matrix;
  return [
    small,
    [a * factor, b * factor, a * x + b * y + c, d * factor, e * factor, d * x + e * y + f],
  ];
}
