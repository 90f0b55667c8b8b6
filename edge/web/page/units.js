// Ordered sets of action units, and with them every column: the twin of tfau.core.AUSet.

import { UNITS } from "./tables.js";

export const LEVEL_MAX = 5;

export class AUSet {
  /** @param numbers FACS numbers. */
  constructor(numbers) {
    this.numbers = [...numbers];
    this.names = this.numbers.map((number) => `AU${String(number).padStart(2, "0")}`);
    this.titles = this.numbers.map((number) => UNITS[number].name);
    this.points = this.numbers.flatMap((number, owner) =>
      Object.entries(UNITS[number].points).map(([name, vertices]) => ({ name, owner, vertices })),
    );
  }

  /** Averages point levels to unit levels; NaN where no point is known. */
  pool(levels) {
    const [sums, counts] = [this.numbers.map(() => 0), this.numbers.map(() => 0)];
    this.points.forEach(({ owner }, i) => {
      if (Number.isNaN(levels[i])) return;
      sums[owner] += levels[i];
      counts[owner] += 1;
    });
    return sums.map((sum, i) => (counts[i] ? sum / counts[i] : NaN));
  }

  /** Returns the levels of the points of a unit: left and right, or upper and lower. */
  sides(levels, unit) {
    return levels.filter((_, i) => this.points[i].owner === unit);
  }

  /** Places the points on a mesh: [x, y] each. */
  places(mesh) {
    return this.points.map(({ vertices }) =>
      [0, 1].map((k) => vertices.reduce((sum, v) => sum + mesh[v][k], 0) / vertices.length),
    );
  }
}
