// Reads a zip, also one that stands behind something else, as the description of a model does.

const LIMIT = 2 ** 26; // bytes of one member, unpacked

/** @param bytes Uint8Array. @returns {name: Uint8Array}. Throws if it is no zip. */
export async function unzip(bytes) {
  const { files } = await openZip(bytes);
  return files;
}

/** Returns {files, start}: the members, and where the first of them begins. */
export async function openZip(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  while (end >= 0 && end > bytes.length - 22 - 65536 && view.getUint32(end, true) !== 0x06054b50)
    end--;
  if (end < 0 || view.getUint32(end, true) !== 0x06054b50) throw new Error("no zip");
  const files = {};
  let start = bytes.length;
  let at = view.getUint32(end + 16, true);
  for (let count = view.getUint16(end + 10, true); count; count--) {
    if (view.getUint32(at, true) !== 0x02014b50) throw new Error("a damaged zip");
    const [method, packed] = [view.getUint16(at + 10, true), view.getUint32(at + 20, true)];
    const lengths = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    const local = view.getUint32(at + 42, true);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + lengths[0]));
    const data = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    files[name] = await inflate(bytes.subarray(data, data + packed), method);
    start = Math.min(start, local);
    at += 46 + lengths[0] + lengths[1] + lengths[2];
  }
  return { files, start };
}

async function inflate(packed, method) {
  if (method === 0) return packed.slice();
  if (method !== 8) throw new Error("a zip that is packed in another way");
  const reader = new Blob([packed])
    .stream()
    .pipeThrough(new DecompressionStream("deflate-raw"))
    .getReader();
  const parts = [];
  let length = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    length += part.value.length;
    if (length > LIMIT) throw new Error("a zip with too much in it");
  }
  const whole = new Uint8Array(length);
  parts.reduce((offset, part) => (whole.set(part, offset), offset + part.length), 0);
  return whole;
}
