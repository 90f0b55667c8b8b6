// Expressions as sums of action units: the twin of tfau/core/expressions.py, from its tables.

import { clip } from "./numbers.js";
import { EXPRESSIONS } from "./tables.js";
import { LEVEL_MAX } from "./units.js";

const COVERAGE = 0.5; // least share of an expression's weights whose units must be known

export { EXPRESSIONS };

/** Says how far each expression is shown, 0 to 1; NaN where too few units are known. */
export function score(levels, aus, expressions = EXPRESSIONS) {
  const shown = levels.map((level) => clip(level / LEVEL_MAX, 0, 1));
  const of = (number) => shown[aus.numbers.indexOf(number)] ?? NaN;
  const known = (value) => (Number.isNaN(value) ? 0 : value);
  return expressions.map(({ code, lowered_by, alone }) => {
    let [total, weight, whole] = [0, 0, 0];
    for (const [number, share] of code) {
      const value = of(number);
      whole += share;
      if (!Number.isNaN(value)) [total, weight] = [total + share * value, weight + share];
    }
    if (weight < Math.max(COVERAGE * whole, 1e-9) - 1e-9) return NaN;
    let mean = total / weight;
    for (const [number, share] of lowered_by) mean *= 1 - share * known(of(number));
    const own = code.map(([number]) => number);
    const others = aus.numbers.flatMap((number, i) =>
      own.includes(number) ? [] : [known(shown[i])],
    );
    return alone && others.length < shown.length && others.length
      ? mean * (1 - Math.max(...others))
      : mean;
  });
}
