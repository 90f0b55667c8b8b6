// The lists beside the picture: levels of units with both sides, expressions, people, the card.

import { colorOf } from "./draw.js";
import { EXPRESSIONS, score } from "./expressions.js";
import strings from "./strings.js";
import { LEVEL_MAX } from "./units.js";

const SHOWN = 0.5; // score from which an expression stands out

function element(tag, options = {}, ...children) {
  const made = Object.assign(document.createElement(tag), options);
  made.append(...children);
  return made;
}

function meter(label, max) {
  const bar = element("i");
  const box = element(
    "div",
    { className: "meter", role: "meter", ariaLabel: label, ariaValueMin: 0, ariaValueMax: max },
    bar,
  );
  return { box, bar };
}

/** A bar for each unit: its level, and a mark for each side of the face. */
export class Bars {
  constructor(list, aus, threshold) {
    Object.assign(this, { aus, threshold });
    this.rows = aus.names.map((name, unit) => {
      const { box, bar } = meter(`${name} ${aus.titles[unit]}`, LEVEL_MAX);
      const paired = aus.points.filter(({ owner }) => owner === unit)[0].name.endsWith("_left");
      const marks = paired
        ? ["left", "right"].map((side) =>
            element("s", { className: side, title: strings.side[side] }),
          )
        : [];
      box.append(...marks);
      const value = element("span", { className: "value" });
      const title = element("span", {
        className: "title",
        textContent: aus.titles[unit],
        title: aus.titles[unit],
      });
      return {
        item: element("li", {}, element("b", { textContent: name }), title, box, value),
        box,
        bar,
        marks,
        value,
      };
    });
    list.replaceChildren(...this.rows.map(({ item }) => item));
    this.show(null);
  }

  /** Shows a reading; null = nothing is known. */
  show(reading) {
    const levels = reading?.levels ?? this.aus.names.map(() => NaN);
    const sides = reading?.points.map((point) => point[2]) ?? this.aus.points.map(() => NaN);
    this.rows.forEach(({ item, box, bar, marks, value }, unit) => {
      const level = levels[unit];
      const text = strings.level(level);
      item.classList.toggle("absent", !(level >= this.threshold));
      bar.style.transform = `scaleX(${(level || 0) / LEVEL_MAX})`;
      box.ariaValueNow = Number.isNaN(level) ? 0 : level.toFixed(1);
      box.ariaValueText = text;
      value.textContent = Number.isNaN(level) ? "–" : `${level.toFixed(1)} ${letter(level)}`;
      const own = this.aus.sides(sides, unit);
      marks.forEach((mark, i) => {
        mark.hidden = Number.isNaN(own[i]);
        mark.style.left = `calc(${((own[i] || 0) / LEVEL_MAX) * 100}% - 1px)`;
      });
    });
  }
}

/** FACS letters, A to E; nothing below A. */
const letter = (level) => " ABCDE"[Math.min(Math.round(level), LEVEL_MAX)].trim();

/** A bar for each expression; those that are shown stand out. */
export class Expressions {
  constructor(list, aus) {
    this.aus = aus;
    this.rows = EXPRESSIONS.map(({ name }) => {
      const { box, bar } = meter(name, 1);
      const value = element("span", { className: "value" });
      return {
        item: element("li", {}, element("b", { textContent: name }), box, value),
        box,
        bar,
        value,
      };
    });
    list.replaceChildren(...this.rows.map(({ item }) => item));
    this.show(null);
  }

  show(reading) {
    const scores = reading ? score(reading.levels, this.aus) : EXPRESSIONS.map(() => NaN);
    this.rows.forEach(({ item, box, bar, value }, i) => {
      const known = !Number.isNaN(scores[i]);
      item.classList.toggle("absent", !(scores[i] >= SHOWN));
      bar.style.transform = `scaleX(${scores[i] || 0})`;
      box.ariaValueNow = known ? scores[i].toFixed(2) : 0;
      value.textContent = known ? scores[i].toFixed(2) : "–";
    });
  }
}

/** A button for each face, where there are several: whose levels are shown. */
export class People {
  constructor(box, onChoose) {
    Object.assign(this, { box, onChoose, tracks: "", chosen: null });
  }

  /** Returns the reading that is shown. */
  choose(readings) {
    const chosen = readings.find(({ face }) => face.track === this.chosen) ?? readings[0] ?? null;
    const tracks = readings.map(({ face }) => face.track).sort((a, b) => a - b);
    const now = `${tracks} ${chosen?.face.track}`;
    if (now !== this.tracks) {
      this.tracks = now;
      this.box.hidden = tracks.length < 2;
      this.box.replaceChildren(
        ...tracks.map((track) => {
          const button = element("button", { textContent: strings.person(track), type: "button" });
          button.ariaPressed = String(track === chosen?.face.track);
          button.style.borderLeftColor = colorOf(track);
          button.addEventListener("click", () => {
            this.chosen = track;
            this.onChoose();
          });
          return button;
        }),
      );
    }
    return chosen;
  }
}

/** Fills the model's card. */
export function showCard(list, rows) {
  const cells = Object.entries(rows).filter(([, value]) => value);
  list.replaceChildren(
    ...cells.flatMap(([name, value]) => [
      element("dt", { textContent: strings.card[name] }),
      element("dd", { textContent: value }),
    ]),
  );
}
