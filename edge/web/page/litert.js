// Runs .tflite graphs with LiteRT.js, on the processor or, where it proves right, on the GPU.

import { Tensor, loadAndCompile, loadLiteRt } from "./vendor/litert/index.js";

/** Loads the runtime; threads only where the page is cross-origin isolated. */
export async function startRuntime({ threads = null } = {}) {
  const wanted =
    threads ?? Math.min(4, Math.max(1, Math.floor((navigator.hardwareConcurrency || 2) / 2)));
  const folder = new URL("vendor/litert/wasm/", import.meta.url).href;
  if (globalThis.crossOriginIsolated && wanted > 1) {
    try {
      await loadLiteRt(folder, { threads: true });
      return { threads: wanted };
    } catch {
      // an older browser: one thread then
    }
  }
  await loadLiteRt(folder);
  return { threads: 1 };
}

/** One graph with named ends. Graphs answer one call after the other. */
export class Graph {
  /** @param bytes the flatbuffer. @param options {threads, accelerator: "wasm" or "webgpu"}. */
  static async load(bytes, { threads = 1, accelerator = "wasm" } = {}) {
    const model = await loadAndCompile(withFixedShapes(bytes), {
      accelerator,
      cpuOptions: { numThreads: threads },
    });
    return new Graph(model);
  }

  constructor(model) {
    this.model = model;
    const shapes = (ends) => Object.fromEntries(ends.map((end) => [end.name, [...end.shape]]));
    this.inputs = shapes(model.getInputDetails());
    this.outputs = shapes(model.getOutputDetails());
  }

  /** Runs the graph once on {name: Float32Array}; returns {name: Float32Array}. */
  async run(values) {
    const tensors = {};
    let answers = {};
    try {
      for (const [name, data] of Object.entries(values))
        tensors[name] = new Tensor(data, this.inputs[name]);
      answers = await this.model.run(tensors);
      const read = Object.entries(answers).map(async ([name, tensor]) => [
        name,
        await tensor.data(),
      ]);
      return Object.fromEntries(await Promise.all(read));
    } finally {
      // The memory is the runtime's own; nothing else frees it.
      for (const tensor of [...Object.values(tensors), ...Object.values(answers)]) tensor.delete();
    }
  }

  free() {
    this.model.delete();
  }
}

/**
 * Returns a copy of a flatbuffer whose tensors have no open dimension: LiteRT.js takes none.
 *
 * What stands in `shape` (1 for an open batch) is written over the -1 of `shape_signature`.
 */
function withFixedShapes(bytes) {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  const follow = (at) => at + view.getUint32(at, true);
  const field = (table, index) => {
    const layout = table - view.getInt32(table, true);
    const place = 4 + 2 * index;
    const offset = place < view.getUint16(layout, true) ? view.getUint16(layout + place, true) : 0;
    return offset ? table + offset : 0;
  };
  const vector = (table, index) => {
    const at = field(table, index);
    if (!at) return [];
    const start = follow(at);
    return Array.from({ length: view.getUint32(start, true) }, (_, i) => start + 4 + 4 * i);
  };
  for (const graph of vector(follow(0), 2)) {
    for (const tensor of vector(follow(graph), 0)) {
      const [shape, signature] = [0, 7].map((index) => vector(follow(tensor), index));
      signature.forEach((at, i) => view.setInt32(at, view.getInt32(shape[i], true), true));
    }
  }
  return copy;
}
