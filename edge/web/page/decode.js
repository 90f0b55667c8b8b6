// Reads a network's answer: heatmaps to points and levels, and how far off a level may be. The twin
// of tfau/core/heatmaps.py and tfau/core/uncertainty.py.

import { clip } from "./numbers.js";

/**
 * Reads maps.
 *
 * @param maps (side * side * count) floats, the points last. @param stride crop px to a map px.
 * @param sigma width of a bump, map px.
 * @returns for each point [x, y, level]; x and y in crop px, NaN where the map is empty.
 */
export function decodeMaps(maps, side, count, stride, sigma) {
  const offset = (stride - 1) / 2;
  return [...Array(count).keys()].map((point) => {
    const value = (row, column) => maps[(row * side + column) * count + point];
    let [row, column] = [0, 0];
    for (let r = 0; r < side; r++) {
      for (let c = 0; c < side; c++) if (value(r, c) > value(row, column)) [row, column] = [r, c];
    }
    const peak = value(row, column);
    const floor = Math.max(peak, 1e-6) * 1e-3;
    // The centre of a Gaussian of known width, from its values at two pixels.
    const refine = (best, at) => {
      const [low, high] = [Math.max(best - 1, 0), Math.min(best + 1, side - 1)];
      const ratio = Math.log(Math.max(at(high), floor)) - Math.log(Math.max(at(low), floor));
      return clip((low + high) / 2 + (ratio * sigma ** 2) / (high - low), best - 0.5, best + 0.5);
    };
    const u = refine(column, (c) => value(row, c));
    const v = refine(row, (r) => value(r, column));
    const along = (centre) =>
      [...Array(side).keys()].map((i) => Math.exp(-(((centre - i) / sigma) ** 2) / 2));
    const [alongX, alongY] = [along(u), along(v)];
    let [fit, energy] = [0, 0];
    for (let r = 0; r < side; r++) {
      for (let c = 0; c < side; c++) {
        const bump = alongX[c] * alongY[r];
        fit += value(r, c) * bump;
        energy += bump * bump;
      }
    }
    const seen = peak > 0;
    return [seen ? u * stride + offset : NaN, seen ? v * stride + offset : NaN, fit / energy];
  });
}

/** Reads the expected absolute error of a level from a unit's row of the table; NaN if unknown. */
export function expectedError(level, row) {
  if (!row || row.includes(null)) return NaN;
  let error = row[0];
  for (let step = 0; step + 1 < row.length; step++) {
    error += clip(level - step, 0, 1) * (row[step + 1] - row[step]);
  }
  return error;
}
