// Finds faces and fits a mesh to each: Google's face models on LiteRT.js, the twin of
// edge/face_detector.py and edge/face_mesh.py. Meshes are arrays of [x, y, z] in frame px.

import { cropFace, warp } from "./align.js";
import { Graph } from "./litert.js";
import { clip, distance, invert, mean, move, round } from "./numbers.js";
import { unzip } from "./zip.js";

const DETECTOR = 128;
const ROI_SCALE = 1.5; // the mesh network wants half a face of surroundings
const [RIGHT_EYE, LEFT_EYE, NOSE] = [33, 263, 1];
const SEARCH_EVERY_MS = 250;
const GRID = 128; // steps in a radian, in a doubling, and in a face's side
const MOVED = 0.1; // of a region's side: a face that far off its region is fitted again
const SURE = 0.8;

const sigmoid = (logit) => 1 / (1 + Math.exp(-clip(logit, -100, 100)));

export class FaceMesh {
  /** @param archive bytes of face_landmarker.task. @param options {threads, maxFaces, follow}. */
  static async load(archive, { threads = 1, maxFaces = 1, follow = true } = {}) {
    const files = await unzip(archive);
    const graphs = [];
    for (const name of ["face_detector", "face_landmarks_detector"]) {
      graphs.push(await Graph.load(files[`${name}.tflite`], { threads }));
    }
    return new FaceMesh(...graphs, { maxFaces, follow });
  }

  constructor(detector, mesh, { maxFaces, follow }) {
    Object.assign(this, { detector, mesh, maxFaces, follow, minScore: 0.5, minPresence: 0.5 });
    this.size = mesh.inputs.input_12[1];
    this.reset();
  }

  /** Forgets the frames before, as at the start of another video. */
  reset() {
    this.last = [];
    this.searchedMs = -Infinity;
  }

  /**
   * Finds the faces of one frame.
   *
   * @param image {data, width, height}. @param timestampMs must rise where faces are followed.
   * @returns [{mesh: 478 x [x, y, z] px, presence}]: those followed in their order, then new ones.
   */
  async detect(image, timestampMs = 0) {
    let faces = [];
    if (this.follow) {
      faces = await this.#followed(image);
      const lost = faces.length < this.last.length;
      const due = timestampMs - this.searchedMs;
      if (faces.length < this.maxFaces && (!faces.length || lost || due >= SEARCH_EVERY_MS)) {
        const fine = !(due >= 0 && due < SEARCH_EVERY_MS);
        if (fine) this.searchedMs = timestampMs;
        await this.#find(image, faces, fine ? 2 : 1);
      }
      this.last = faces.map((face) => face.mesh);
    } else {
      await this.#find(image, faces, 3);
    }
    return faces;
  }

  async #followed(image) {
    const fits = [];
    for (const last of this.last) {
      const fit = await this.#refined(image, regionOf(last, this.size), MOVED);
      if (fit.presence >= this.minPresence) fits.push({ last, ...fit });
    }
    const faces = [];
    for (const { last, mesh, presence } of fits) {
      const rivals = fits.filter((fit) => sameFace(fit.mesh, mesh));
      // Two that have met on one face: it belongs to the one that moved less.
      const own = rivals.every((fit) => shift(last, mesh) <= shift(fit.last, fit.mesh));
      if (own && !faces.some((face) => sameFace(mesh, face.mesh))) faces.push({ mesh, presence });
    }
    return faces;
  }

  async #find(image, faces, levels) {
    let level = 0;
    for (const views of viewsOf(image.width, image.height, levels)) {
      const found = [];
      for (const view of views) found.push(...(await this.#look(image, view)));
      // The closer one looks, the more there is that resembles a face.
      const needed = level++ ? Math.max(this.minPresence, SURE) : this.minPresence;
      for (const box of mergeBoxes(found)) {
        if (faces.some((face) => holds(face.mesh, box))) continue;
        const fit = await this.#refined(image, regionOfBox(box, this.size), 0);
        const known = faces.some((face) => sameFace(fit.mesh, face.mesh));
        if (fit.presence >= needed && !known) faces.push(fit);
        if (faces.length === this.maxFaces) return;
      }
    }
  }

  /** Finds boxes, frame px, in what `view` carries onto the detector's input. */
  async #look(image, view) {
    const picture = view[0] > 1 / 8 ? warp(image, view, DETECTOR) : cropFace(image, view, DETECTOR);
    const input = new Float32Array(picture.length);
    for (let i = 0; i < input.length; i++) input[i] = Math.fround(picture[i] / 127.5) - 1;
    const { regressors, classificators } = await this.detector.run({ input });
    const back = invert(view);
    return decodeBoxes(regressors, classificators, this.minScore).map(({ points, score }) => ({
      points: points.map(([x, y]) => move(back, x, y)),
      score,
    }));
  }

  /** Fits a mesh to a region, and again to its own if the first was off by too much of it. */
  async #refined(image, region, tolerance) {
    let fit = await this.#fit(image, region);
    if (fit.presence >= this.minPresence) {
      const better = regionOf(fit.mesh, this.size);
      const back = invert(better);
      const moved = [
        [0, 0],
        [this.size, 0],
        [0, this.size],
      ].flatMap(([x, y]) => {
        const [u, v] = move(region, ...move(back, x, y));
        return [Math.abs(u - x), Math.abs(v - y)];
      });
      if (Math.max(...moved) > tolerance * this.size) fit = await this.#fit(image, better);
    }
    return fit;
  }

  async #fit(image, region) {
    const crop = cropFace(image, region, this.size);
    const input = new Float32Array(crop.length);
    for (let i = 0; i < input.length; i++) input[i] = crop[i] / 255;
    const answer = await this.mesh.run({ input_12: input });
    const back = invert(region);
    const depth = Math.hypot(back[0], back[3]);
    const flat = answer.Identity;
    const mesh = [];
    for (let i = 0; i < flat.length; i += 3) {
      const [x, y] = move(back, flat[i], flat[i + 1]);
      mesh.push([Math.fround(x), Math.fround(y), Math.fround(flat[i + 2] * depth)]);
    }
    return { mesh, presence: sigmoid(answer.Identity_1[0]) };
  }
}

/** Reads the face detector's answer: [{points: 8 x [x, y], score}] in px of its input. */
export function decodeBoxes(raw, logits, minScore) {
  const boxes = [];
  ANCHORS.forEach(([left, top], i) => {
    const score = sigmoid(logits[i]);
    const row = raw.subarray(i * 16, i * 16 + 16);
    if (score < minScore || row[2] <= 0 || row[3] <= 0) return;
    const points = [];
    for (let k = 0; k < 16; k += 2) points.push([row[k], row[k + 1]]);
    const [[x, y], [width, height]] = points;
    points[0] = [x - width / 2, y - height / 2];
    points[1] = [x + width / 2, y + height / 2];
    boxes.push({ points: points.map(([u, v]) => [u + left, v + top]), score });
  });
  return boxes;
}

/** Replaces every heap of overlapping boxes by its average, weighted by score; the surest first. */
export function mergeBoxes(boxes, minOverlap = 0.5) {
  let left = [...boxes].sort((a, b) => b.score - a.score);
  const merged = [];
  while (left.length) {
    const [best] = left;
    const same = left.filter(
      (box) => box === best || overlap(best.points, box.points) > minOverlap,
    );
    const weight = same.reduce((sum, box) => sum + box.score, 0);
    const average = (k, axis) =>
      same.reduce((sum, box) => sum + box.score * box.points[k][axis], 0) / weight;
    merged.push(best.points.map((_, k) => [average(k, 0), average(k, 1)]));
    left = left.filter((box) => !same.includes(box));
  }
  return merged;
}

function overlap([low, high], [otherLow, otherHigh]) {
  const size = (a, b) => Math.max(b[0] - a[0], 0) * Math.max(b[1] - a[1], 0);
  const pick = (f, a, b) => [f(a[0], b[0]), f(a[1], b[1])];
  const shared = size(pick(Math.max, low, otherLow), pick(Math.min, high, otherHigh));
  const area = size(low, high) + size(otherLow, otherHigh) - shared;
  return area > 0 ? shared / area : 0;
}

/** 896 anchor centres: 2 for each 8-px cell, then 6 for each 16-px cell. */
const ANCHORS = [
  [8, 2],
  [16, 6],
].flatMap(([stride, repeats]) => {
  const cells = DETECTOR / stride;
  return [...Array(cells * cells * repeats).keys()].map((i) => {
    const cell = Math.floor(i / repeats);
    return [((cell % cells) + 0.5) * stride, (Math.floor(cell / cells) + 0.5) * stride];
  });
});

/** Yields sets of matrices from the frame to the detector's input, coarse to fine. */
export function* viewsOf(width, height, levels) {
  let side = Math.max(width, height);
  for (let level = 0; level < levels; level++) {
    const scale = DETECTOR / side;
    yield starts(height, side).flatMap((top) =>
      starts(width, side).map((left) => [scale, 0, -left * scale, 0, scale, -top * scale]),
    );
    if (side <= 2 * DETECTOR) return;
    side /= 2;
  }
}

/** Places squares along a frame, each half over the one before; one in the middle if it fits. */
function starts(length, side) {
  if (length <= side) return [(length - side) / 2];
  const steps = Math.ceil((length - side) / (side / 2));
  return [...Array(steps + 1).keys()].map((i) => ((length - side) * i) / steps);
}

function region([c, s], [x, y], side, size) {
  const scale = size / Math.max(ROI_SCALE * side, 1e-9);
  return [c * scale, s * scale, size / 2 - scale * x, -s * scale, c * scale, size / 2 - scale * y];
}

function regionOfBox(box, size) {
  const [low, high, right, left] = box;
  const along = [left[0] - right[0], left[1] - right[1]];
  const length = Math.max(Math.hypot(...along), 1e-9);
  const [c, s] = [along[0] / length, along[1] / length];
  const [x, y] = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
  return region(
    [c, s],
    [c * x + s * y, -s * x + c * y],
    Math.max(high[0] - low[0], high[1] - low[1]),
    size,
  );
}

export function regionOf(mesh, size) {
  const [right, left] = [mesh[RIGHT_EYE], mesh[LEFT_EYE]];
  // Snapped to a grid, so that a face at rest is seen through the same window on every machine.
  const angle = round(Math.atan2(left[1] - right[1], left[0] - right[0]) * GRID) / GRID;
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const low = [Infinity, Infinity];
  const high = [-Infinity, -Infinity];
  for (let i = 0; i < 468; i++) {
    const [x, y] = mesh[i];
    [c * x + s * y, -s * x + c * y].forEach((value, k) => {
      low[k] = Math.min(low[k], value);
      high[k] = Math.max(high[k], value);
    });
  }
  const longest = Math.max(high[0] - low[0], high[1] - low[1], 1e-9);
  const side = 2 ** (round(Math.log2(longest) * GRID) / GRID);
  const centre = [0, 1].map((k) => (round(((low[k] + high[k]) / 2 / side) * GRID) * side) / GRID);
  return region([c, s], centre, side, size);
}

/** Tells whether two meshes lie on one face: noses closer than half an eye distance. */
function sameFace(mesh, other) {
  const eyes = distance(other[RIGHT_EYE], other[LEFT_EYE]);
  return distance(mesh[NOSE].slice(0, 2), other[NOSE].slice(0, 2)) < eyes / 2;
}

/** Tells whether the nose of a box lies in the frame of a known face. */
function holds(mesh, box) {
  return [0, 1].every((k) => {
    const values = mesh.map((point) => point[k]);
    return box[4][k] > Math.min(...values) && box[4][k] < Math.max(...values);
  });
}

/** Returns how far a face has moved and grown, mean distance of its points, px. */
const shift = (last, mesh) =>
  mean(mesh.map(([x, y], i) => Math.hypot(x - last[i][0], y - last[i][1])));
