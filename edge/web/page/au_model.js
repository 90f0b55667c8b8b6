// The action unit model: a .tflite that carries its own description, run by LiteRT.js. The twin of
// tfau/core/bundle.py and edge/runtime.py.

import { Graph } from "./litert.js";
import { AUSet } from "./units.js";
import { openZip } from "./zip.js";

const FORMAT = 3;
const TEMPLATE = "tfau.core.align 1";

/** Says that a model file cannot be used. */
export class ModelError extends Error {}

/** Splits a model file into its graph, its description and its golden pair. */
export async function openBundle(bytes) {
  let [files, start] = [{}, 0];
  let described;
  try {
    ({ files, start } = await openZip(bytes));
    described = JSON.parse(new TextDecoder().decode(files["tfau.json"]));
  } catch {
    throw new ModelError("the file carries no readable tfau.json");
  }
  if (described.format > FORMAT) throw new ModelError("the file is of a later version of tfau");
  if (described.crop?.template !== TEMPLATE)
    throw new ModelError("its crops are cut in another way");
  const graph = bytes.slice(0, start);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", graph));
  const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (sha256 !== described.graph_sha256)
    throw new ModelError("its graph does not match its checksum");
  const golden = described.golden && {
    ...described.golden,
    image: npy(files["golden_image.npy"], Uint8Array),
    answer: npy(files["golden_answer.npy"], Float32Array),
    mesh: files["golden_mesh.npy"] && npy(files["golden_mesh.npy"], Float32Array),
  };
  return { graph, described, golden };
}

/** Reads the numbers of a .npy file. */
function npy(bytes, Kind) {
  const copy = bytes.slice();
  const header = new DataView(copy.buffer).getUint16(8, true) + 10;
  return new Kind(copy.buffer.slice(header));
}

export class AUModel {
  /** @param bytes the .tflite. @param options of `Graph.load`. */
  static async load(bytes, options = {}) {
    const bundle = await openBundle(bytes);
    const graph = await Graph.load(bundle.graph, options);
    return new AUModel(graph, bundle);
  }

  constructor(graph, { described, golden }) {
    Object.assign(this, { graph, described, golden });
    this.aus = new AUSet(described.action_units);
    this.size = described.crop.size;
    this.decoder = described.decoder;
    this.features = described.decoder.features ?? 0;
    if ((described.batch ?? 1) !== 1) throw new ModelError("its graph takes several crops at once");
  }

  /**
   * Answers one crop.
   *
   * @param crop (S * S * 3) RGB bytes. @param mesh (468 * 3) aligned, for a pair network.
   * @param neutral (D) features of the person at rest; null = unknown.
   * @returns {heatmaps}, or {intensity, error, features} of a pair network.
   */
  run(crop, mesh, neutral) {
    const inputs = { image: new Float32Array(crop) };
    if (this.features)
      Object.assign(inputs, { mesh, neutral: neutral ?? new Float32Array(this.features) });
    return this.graph.run(inputs);
  }

  /** Returns the largest difference from the golden answer, intensity units; NaN if there is none. */
  async selfTest() {
    if (!this.golden) return NaN;
    const { image, mesh, answer, every } = this.golden;
    const given = await this.run(image, mesh);
    const seen = given.intensity ? [...given.intensity] : this.#thin(given.heatmaps, every);
    return Math.max(...seen.map((value, i) => Math.abs(value - answer[i])));
  }

  #thin(maps, every) {
    const count = this.aus.points.length;
    const side = Math.sqrt(maps.length / count);
    const kept = [...Array(side).keys()].filter((i) => i % every === 0);
    return kept.flatMap((row) =>
      kept.flatMap((column) => [
        ...maps.subarray((row * side + column) * count, (row * side + column + 1) * count),
      ]),
    );
  }
}

/**
 * Loads a model where it runs fastest: on the GPU only if there is an adapter, the file's own test
 * passes there, and it takes less time there than on the processor.
 *
 * @returns {model, accelerator, difference}. Throws if the processor fails the test.
 */
export async function loadFastest(bytes, { threads, allow = ["wasm", "webgpu"] } = {}) {
  let best = null;
  for (const accelerator of allow) {
    if (accelerator === "webgpu" && !(await navigator.gpu?.requestAdapter().catch(() => null)))
      continue;
    try {
      const model = await AUModel.load(bytes, { threads, accelerator });
      const difference = await model.selfTest();
      if (difference > model.golden?.tolerance + 1e-6) {
        model.graph.free();
        throw new ModelError(`it answers its own test ${difference.toFixed(3)} off`);
      }
      const ms = await timed(model);
      if (!best || ms < best.ms) {
        best?.model.graph.free();
        best = { model, accelerator, difference, ms };
      } else model.graph.free();
    } catch (error) {
      if (accelerator === "wasm") throw error;
    }
  }
  if (!best) throw new ModelError("there is nothing here to run it");
  return best;
}

async function timed(model) {
  const crop = model.golden?.image ?? new Uint8Array(model.size ** 2 * 3);
  const mesh = model.golden?.mesh ?? new Float32Array(468 * 3);
  const times = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    await model.run(crop, mesh);
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[2];
}
