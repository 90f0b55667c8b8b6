// Draws faces on pictures, and levels over time.

import { distance } from "./numbers.js";
import { COLORS, OUTLINES } from "./tables.js";
import { LEVEL_MAX } from "./units.js";

const BUMP = 0.14; // width of a bump, distances of the outer eye corners
const WINDOW_S = 60;

/** Returns the colour of a face, the same in its mesh and on its button. */
export const colorOf = (track) => COLORS[track % COLORS.length];

/** Draws a frame and what was read in it. */
export function drawFrame(canvas, frame, readings, { mesh, heat }) {
  const context = canvas.getContext("2d");
  const { width, height } = frame.canvas;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.globalCompositeOperation = "source-over";
  context.drawImage(frame.canvas, 0, 0);
  for (const reading of readings) {
    if (heat) drawHeat(context, reading);
    if (mesh) drawMesh(context, reading.face);
  }
}

function drawMesh(context, { mesh, track }) {
  const unit = distance(mesh[33], mesh[263]);
  context.strokeStyle = context.fillStyle = colorOf(track);
  context.globalAlpha = 0.75;
  context.lineWidth = Math.max(1, unit * 0.012);
  context.lineJoin = "round";
  context.beginPath();
  for (const [closed, loop] of OUTLINES) {
    loop.forEach((vertex, i) =>
      context[i ? "lineTo" : "moveTo"](mesh[vertex][0] + 0.5, mesh[vertex][1] + 0.5),
    );
    if (closed) context.closePath();
  }
  context.stroke();
  context.globalAlpha = 0.35;
  const dot = Math.max(1, unit * 0.014);
  for (let i = 0; i < 468; i++)
    context.fillRect(mesh[i][0] - dot / 2 + 0.5, mesh[i][1] - dot / 2 + 0.5, dot, dot);
  context.globalAlpha = 1;
}

function drawHeat(context, { points, face }) {
  const spread = BUMP * distance(face.mesh[33].slice(0, 2), face.mesh[263].slice(0, 2));
  // Stronger ones last: where bumps overlap, the highest is seen, not the sum.
  const seen = points
    .filter(([x, , level]) => level > 0.5 && !Number.isNaN(x))
    .sort((a, b) => a[2] - b[2]);
  for (const [x, y, level] of seen) {
    const glow = context.createRadialGradient(x, y, 0, x, y, 2.5 * spread);
    const [r, g, b] = hot(level / LEVEL_MAX);
    for (const [at, share] of [
      [0, 1],
      [0.3, 0.75],
      [0.6, 0.32],
      [1, 0],
    ]) {
      glow.addColorStop(
        at,
        `rgba(${r}, ${g}, ${b}, ${0.75 * share * Math.sqrt(level / LEVEL_MAX)})`,
      );
    }
    context.fillStyle = glow;
    context.fillRect(x - 2.5 * spread, y - 2.5 * spread, 5 * spread, 5 * spread);
  }
}

const RAMP = [
  [10, 8, 40],
  [92, 20, 110],
  [190, 50, 90],
  [245, 125, 30],
  [250, 230, 120],
];

/** Returns the colour of a share, 0 to 1: dark, violet, red, orange, yellow. */
export function hot(share) {
  const at = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
  const [low, part] = [
    Math.min(Math.floor(at), RAMP.length - 2),
    at - Math.min(Math.floor(at), RAMP.length - 2),
  ];
  return RAMP[low].map((value, k) => Math.round(value + part * (RAMP[low + 1][k] - value)));
}

const [ROW, LABEL, FOOT] = [15, 44, 18]; // px

/**
 * The levels of the last minute: a row for each unit, now at the right.
 *
 * They are painted once, onto a ring that is a minute long; showing it is two copies.
 */
export class Timeline {
  constructor(canvas, names) {
    Object.assign(this, { canvas, names, ring: document.createElement("canvas") });
    this.clear();
  }

  clear() {
    Object.assign(this, { nowS: 0, lastS: null, drawnMs: 0 });
    this.ring.width = 0;
    this.#show();
  }

  /** Takes the levels of a moment in; null where no face was read. */
  add(timeS, levels) {
    this.#fit();
    const context = this.ring.getContext("2d");
    const { height } = this.ring;
    const row = height / this.names.length;
    // What came too long before does not stand for the time since.
    const fromS = this.lastS !== null && timeS - this.lastS < 0.5 ? this.lastS : timeS;
    const first = Math.floor(this.#place(Math.max(this.lastS ?? timeS, timeS - WINDOW_S)));
    const last = Math.floor(this.#place(timeS));
    for (let x = first + 1; x <= last; x++) context.clearRect(x % this.ring.width, 0, 1, height);
    const painted = Math.floor(this.#place(fromS));
    (levels ?? []).forEach((level, i) => {
      if (!(level >= 0.25)) return;
      context.fillStyle = `rgb(${hot(0.25 + (0.75 * level) / LEVEL_MAX).join(", ")})`;
      const tall = Math.max(2, ((row - 2) * Math.min(level, LEVEL_MAX)) / LEVEL_MAX);
      for (let x = Math.min(painted + 1, last); x <= last; x++) {
        context.fillRect(x % this.ring.width, (i + 1) * row - 1 - tall, 1, tall);
      }
    });
    Object.assign(this, { nowS: timeS, lastS: timeS });
    if (performance.now() - this.drawnMs > 200) this.#show();
  }

  /** Returns where a time lies on a ring without end, px. */
  #place(timeS) {
    return (timeS / WINDOW_S) * this.ring.width;
  }

  /** Gives canvas and ring the size that the page has for them; a new size begins anew. */
  #fit() {
    const { canvas, names, ring } = this;
    const density = globalThis.devicePixelRatio || 1;
    const width = Math.max(canvas.clientWidth || 320, 2 * LABEL);
    const [wide, high] = [width, names.length * ROW + FOOT].map((px) => Math.round(px * density));
    if (canvas.width !== wide || canvas.height !== high) {
      Object.assign(canvas, { width: wide, height: high });
      canvas.style.height = `${names.length * ROW + FOOT}px`;
    }
    const minute = Math.round((width - LABEL) * density);
    if (ring.width !== minute)
      Object.assign(ring, { width: minute, height: Math.round(names.length * ROW * density) });
    return { density, width };
  }

  #show() {
    this.drawnMs = performance.now();
    const { density, width } = this.#fit();
    const { canvas, names, ring } = this;
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, canvas.height);
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    names.forEach((name, i) => {
      context.fillStyle = style.getPropertyValue("--track");
      context.fillRect(LABEL, i * ROW + 1, width - LABEL, ROW - 2);
      context.fillStyle = style.getPropertyValue("--faint");
      context.fillText(name, 0, i * ROW + ROW / 2);
    });
    for (const ago of [60, 45, 30, 15, 0]) {
      context.textAlign = ago === 0 ? "right" : ago === 60 ? "left" : "center";
      const x = width - (ago / WINDOW_S) * (width - LABEL);
      context.fillText(ago ? `-${ago} s` : "now", x, names.length * ROW + FOOT / 2);
    }
    context.textAlign = "left";
    context.setTransform(1, 0, 0, 1, 0, 0);
    const seam = (Math.floor(this.#place(this.nowS)) % ring.width) + 1; // the oldest is right of it
    const left = canvas.width - ring.width;
    if (seam < ring.width) {
      context.drawImage(
        ring,
        seam,
        0,
        ring.width - seam,
        ring.height,
        left,
        0,
        ring.width - seam,
        ring.height,
      );
    }
    context.drawImage(ring, 0, 0, seam, ring.height, canvas.width - seam, 0, seam, ring.height);
  }
}
