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
    loop.forEach((vertex, i) => context[i ? "lineTo" : "moveTo"](mesh[vertex][0] + 0.5, mesh[vertex][1] + 0.5));
    if (closed) context.closePath();
  }
  context.stroke();
  context.globalAlpha = 0.35;
  const dot = Math.max(1, unit * 0.014);
  for (let i = 0; i < 468; i++) context.fillRect(mesh[i][0] - dot / 2 + 0.5, mesh[i][1] - dot / 2 + 0.5, dot, dot);
  context.globalAlpha = 1;
}

function drawHeat(context, { points, face }) {
  const spread = BUMP * distance(face.mesh[33].slice(0, 2), face.mesh[263].slice(0, 2));
  // Stronger ones last: where bumps overlap, the highest is seen, not the sum.
  const seen = points.filter(([x, , level]) => level > 0.5 && !Number.isNaN(x)).sort((a, b) => a[2] - b[2]);
  for (const [x, y, level] of seen) {
    const glow = context.createRadialGradient(x, y, 0, x, y, 2.5 * spread);
    const [r, g, b] = hot(level / LEVEL_MAX);
    for (const [at, share] of [[0, 1], [0.3, 0.75], [0.6, 0.32], [1, 0]]) {
      glow.addColorStop(at, `rgba(${r}, ${g}, ${b}, ${0.75 * share * Math.sqrt(level / LEVEL_MAX)})`);
    }
    context.fillStyle = glow;
    context.fillRect(x - 2.5 * spread, y - 2.5 * spread, 5 * spread, 5 * spread);
  }
}

const RAMP = [[10, 8, 40], [92, 20, 110], [190, 50, 90], [245, 125, 30], [250, 230, 120]];

/** Returns the colour of a share, 0 to 1: dark, violet, red, orange, yellow. */
export function hot(share) {
  const at = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
  const [low, part] = [Math.min(Math.floor(at), RAMP.length - 2), at - Math.min(Math.floor(at), RAMP.length - 2)];
  return RAMP[low].map((value, k) => Math.round(value + part * (RAMP[low + 1][k] - value)));
}

/** Keeps the levels of the last minute and draws them: a row for each unit, now at the right. */
export class Timeline {
  constructor(canvas, names) {
    Object.assign(this, { canvas, names, samples: [], drawnMs: 0 });
  }

  clear() {
    this.samples = [];
    this.drawnMs = 0;
    this.draw(0);
  }

  /** Takes the levels of a moment in; null where no face was read. */
  add(timeS, levels) {
    this.samples.push([timeS, levels]);
    while (this.samples.length && this.samples[0][0] < timeS - WINDOW_S) this.samples.shift();
    if (performance.now() - this.drawnMs > 200) this.draw(timeS);
  }

  draw(nowS) {
    this.drawnMs = performance.now();
    const { canvas, names, samples } = this;
    const density = globalThis.devicePixelRatio || 1;
    const [row, label, foot] = [15, 44, 18];
    const width = canvas.clientWidth || 320;
    const height = names.length * row + foot;
    const size = [Math.round(width * density), Math.round(height * density)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) {
      [canvas.width, canvas.height] = size;
      canvas.style.height = `${height}px`;
    }
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    const x = (timeS) => width - ((nowS - timeS) / WINDOW_S) * (width - label);
    names.forEach((name, i) => {
      context.fillStyle = style.getPropertyValue("--track");
      context.fillRect(label, i * row + 1, width - label, row - 2);
      context.fillStyle = style.getPropertyValue("--faint");
      context.fillText(name, 0, i * row + row / 2);
    });
    const longest = 0.5; // seconds between samples that still belong together
    samples.forEach(([timeS, levels], at) => {
      const next = samples[at + 1]?.[0] ?? timeS + 0.05;
      const [from, to] = [Math.max(x(timeS), label), x(Math.min(next, timeS + longest))];
      if (!levels || to <= label) return;
      levels.forEach((level, i) => {
        if (!(level >= 0.25)) return;
        context.fillStyle = `rgb(${hot(0.25 + (0.75 * level) / LEVEL_MAX).join(", ")})`;
        const tall = Math.max(2, ((row - 2) * Math.min(level, LEVEL_MAX)) / LEVEL_MAX);
        context.fillRect(from, i * row + row - 1 - tall, Math.max(to - from, 1), tall);
      });
    });
    context.fillStyle = style.getPropertyValue("--faint");
    for (const ago of [60, 45, 30, 15, 0]) {
      context.textAlign = ago === 0 ? "right" : ago === 60 ? "left" : "center";
      context.fillText(ago ? `-${ago} s` : "now", x(nowS - ago), height - foot / 2);
    }
    context.textAlign = "left";
  }
}
