// From a frame to action units: mesh, crop, network and decoder. The twin of edge/analyzer.py.

import { alignedMesh, cropFace, cropMatrix, steady } from "./align.js";
import { decodeMaps, expectedError } from "./decode.js";
import { closure, measure } from "./geometry.js";
import { clip, invert, move } from "./numbers.js";
import { hiddenPoints, judge } from "./quality.js";
import { AUSet, LEVEL_MAX } from "./units.js";

const LIDS = [43, 45]; // read off the mesh where the network does not know them

export class FaceAnalyzer {
  /** @param model an AUModel. @param mesh a FaceMesh. */
  constructor(model, mesh) {
    const lids = LIDS.filter((number) => !model.aus.numbers.includes(number));
    Object.assign(this, { model, mesh, lids: lids.length ? new AUSet(lids) : null });
    this.aus = new AUSet([...model.aus.numbers, ...lids]);
  }

  /**
   * Reads the faces of a frame that were found already.
   *
   * @param faces of `FaceMesh.detect`. @param neutrals for each the features at rest, or null.
   * @returns readings: {face, points: [x px, y px, level], levels, errors, success, reason, quality,
   *   shape, features, maps, toMaps, ms of the crop and of the network}.
   */
  async read(image, faces, neutrals = []) {
    const readings = [];
    for (const [i, face] of faces.entries())
      readings.push(await this.#read(image, face, neutrals[i] ?? null));
    return readings;
  }

  async #read(image, face, neutral) {
    const { model, aus } = this;
    const start = performance.now();
    const matrix = steady(cropMatrix(face.mesh, model.size), model.size);
    const crop = cropFace(image, matrix, model.size);
    const cut = performance.now();
    const answer = await model.run(
      crop,
      model.features ? alignedMesh(face.mesh) : undefined,
      neutral,
    );
    const done = performance.now();

    const shape = measure(face.mesh, image.width, image.height);
    const points = this.#points(answer, face.mesh, matrix);
    if (this.lids) {
      const closed = closure(shape.eyeAspect);
      // Both units have a point on the left, then one on the right.
      this.lids.places(face.mesh).forEach(([x, y], i) => points.push([x, y, closed[i % 2]]));
    }
    for (const point of points) point[2] = Math.fround(clip(point[2], 0, LEVEL_MAX));
    const { quality, reasons } = judge(face, shape, crop, model.size);
    const { hidden, cut: isCut } = hiddenPoints(face.mesh, image.width, image.height, shape, aus);
    if (isCut) reasons.push("at_border");
    hidden.forEach((isHidden, i) => isHidden && points[i].fill(NaN));
    const levels = aus.pool(points.map((point) => point[2]));
    return {
      face,
      points,
      levels,
      errors: this.#errors(answer, levels),
      success: !levels.every(Number.isNaN),
      reason: reasons.join(" "),
      quality,
      shape,
      features: answer.features ?? null,
      ms: { crop: cut - start, model: done - cut },
    };
  }

  #points(answer, mesh, matrix) {
    const { model } = this;
    if (answer.intensity) {
      return model.aus.places(mesh).map(([x, y], i) => [x, y, answer.intensity[i]]);
    }
    const { stride, sigma } = model.decoder;
    const back = invert(matrix);
    const count = model.aus.points.length;
    return decodeMaps(answer.heatmaps, model.size / stride, count, stride, sigma).map(
      ([x, y, level]) => [...move(back, x, y), level],
    );
  }

  #errors(answer, levels) {
    const { model, aus } = this;
    const own = answer.error && model.aus.pool([...answer.error]);
    const table = model.decoder.expected_error;
    return aus.numbers.map((_, i) => {
      if (Number.isNaN(levels[i])) return NaN;
      return own ? (own[i] ?? NaN) : expectedError(levels[i], table?.[i]);
    });
  }
}

/** Returns a reading with other levels at its points. */
export function withLevels(reading, levels, aus) {
  const points = reading.points.map(([x, y], i) => [x, y, Math.fround(levels[i])]);
  return { ...reading, points, levels: aus.pool(points.map((point) => point[2])) };
}
