// The page: loads the networks, then turns frames into readings until the user stops.

import { FaceAnalyzer } from "./analyzer.js";
import { loadFastest } from "./au_model.js";
import { Timeline, drawFrame } from "./draw.js";
import { FaceMesh } from "./face_mesh.js";
import { startRuntime } from "./litert.js";
import { Bars, Expressions, People, showCard } from "./panel.js";
import { ReadingFilter } from "./signals.js";
import { SourceError, openCamera, openFile } from "./sources.js";
import strings from "./strings.js";
import { header, row } from "./table.js";
import { VERSION } from "./tables.js";
import { Tracker } from "./tracks.js";

const $ = (id) => document.getElementById(id);
const choices = new URLSearchParams(location.search); // ?threads=1, ?accelerator=wasm: to measure

const HOLD_MS = 4000; // for how long an answer to a click stays

/** Everything that is going on; one page has one. */
const page = { source: null, readings: [], frame: null, rows: null, frames: 0, facing: "user" };

/** Says how it stands; `holdMs`: for how long frames do not say something else. */
function say(text, { problem = false, holdMs = 0 } = {}) {
  page.heldMs = performance.now() + holdMs;
  if ($("status").textContent !== text) $("status").textContent = text;
  $("status").classList.toggle("problem", problem);
}

async function bytesOf(name, part) {
  say(strings.loading(strings.parts[part]));
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} is missing`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Makes the page open without a network next time; what it loads from now on is kept. */
async function keep() {
  const workers = navigator.serviceWorker;
  if (!workers || choices.has("nocache")) return;
  const isKept = Boolean(workers.controller);
  const changed = new Promise((resolve) => workers.addEventListener("controllerchange", resolve));
  const patience = new Promise((resolve) => setTimeout(resolve, 5000));
  try {
    const kept = await workers.register("service_worker.js");
    if (!isKept) return await Promise.race([changed, patience]);
    await Promise.race([kept.update(), patience]);
    if (!kept.installing) return;
    // Another version, or another model: this page is of the one before.
    await Promise.race([changed, patience]);
    location.reload();
    await new Promise(() => {});
  } catch {
    // no network, or a certificate that the browser does not trust: the page works as it is
  }
}

async function start() {
  for (const place of document.querySelectorAll("[data-text]"))
    place.textContent = strings[place.dataset.text];
  for (const [id, text] of [
    ["camera", "startCamera"],
    ["flip", "flip"],
    ["choose", "choose"],
    ["neutral", "neutral"],
    ["record", "record"],
  ]) {
    $(id).textContent = strings[text];
  }
  $("hint").textContent = strings.hint;
  $("times").ariaLabel = strings.times;
  $("view").ariaLabel = strings.view(0);
  await keep();
  say(strings.loading(strings.parts.runtime));
  const { threads } = await startRuntime({ threads: Number(choices.get("threads")) || null });
  page.mesh = await FaceMesh.load(await bytesOf("models/face_landmarker.task", "mesh"), {
    threads,
  });
  const allow = choices.has("accelerator") ? [choices.get("accelerator")] : undefined;
  const loaded = await loadFastest(await bytesOf("models/model.tflite", "model"), {
    threads,
    allow,
  });
  page.analyzer = new FaceAnalyzer(loaded.model, page.mesh);
  const { aus } = page.analyzer;
  const { described } = loaded.model;
  page.threshold = described.threshold;
  page.bars = new Bars($("bars"), aus, page.threshold);
  page.expressions = new Expressions($("expressions"), aus);
  page.timeline = new Timeline($("times"), aus.names);
  page.people = new People($("people"), () => show());
  const provenance = described.provenance ?? {};
  showCard($("card"), {
    name: provenance.run ?? provenance.name,
    units: aus.names.join(" "),
    data: provenance.dataset,
    licence: [provenance.licence, provenance.use].filter(Boolean).join(": "),
    recipe: described.recipe,
    test: strings.test(loaded.difference, described.golden?.tolerance),
    runs: strings.runs(loaded.accelerator, threads),
    version: VERSION,
  });
  page.timeline.clear();
  $("camera").disabled = $("choose").disabled = false;
  say(strings.ready);
  globalThis.tfau = page; // for the curious, in the browser's console
  document.documentElement.dataset.state = "ready";
}

/** Reads frames of a source until it ends, or another takes its place. */
async function run(opening) {
  halt();
  const turn = (page.turn = Symbol("turn"));
  let source;
  try {
    source = await opening;
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    const text = strings[error.reason];
    say(typeof text === "function" ? text(page.fileName) : text, { problem: true });
    return;
  }
  if (turn !== page.turn) return source.close();
  begin(source);
  source.ended.then((reason) => page.source === source && halt(reason));
  do {
    const frame = await source.frame();
    if (page.source !== source) return;
    await step(frame);
  } while (page.source === source && source.kind !== "photo");
}

function begin(source) {
  const { aus } = page.analyzer;
  Object.assign(page, {
    source,
    frames: 0,
    tracker: new Tracker(),
    fps: 0,
    stages: {},
    beforeMs: null,
  });
  page.filter = new ReadingFilter(aus, { smooth: source.kind !== "photo" && $("smooth").checked });
  Object.assign(page.mesh, { follow: source.kind !== "photo", maxFaces: Number($("faces").value) });
  page.mesh.reset();
  page.timeline.clear();
  $("hint").hidden = true;
  const awake = source.kind === "photo" ? null : navigator.wakeLock?.request("screen");
  page.awake = awake?.catch(() => null); // a phone must not fall asleep over it
  $("view").classList.toggle("mirrored", source.mirrored);
  $("camera").textContent = source.kind === "photo" ? strings.startCamera : strings.stop;
  $("flip").hidden = source.kind !== "camera";
  $("neutral").disabled = source.kind === "photo";
  $("record").disabled = false;
  $("record").textContent = source.kind === "photo" ? strings.save : strings.record;
  showNeutral();
}

/** Stops what runs; what was recorded is saved. */
function halt(reason = "stopped") {
  const { source } = page;
  if (!source) return;
  page.source = page.turn = null;
  source.close();
  page.awake?.then((lock) => lock?.release());
  $("camera").textContent = strings.startCamera;
  $("flip").hidden = true;
  $("neutral").disabled = $("record").disabled = true;
  say(strings[reason], { problem: reason === "lost" });
  if (page.rows) save();
}

/** Reads one frame and shows it. */
async function step(frame) {
  const { source, analyzer, filter } = page;
  const began = performance.now();
  let faces = await page.mesh.detect(frame.image, frame.timestampMs);
  const found = performance.now();
  faces = page.tracker.update(faces, frame.timestampMs);
  let readings = await analyzer.read(frame.image, faces, filter.neutrals(faces));
  readings = filter.next(readings, frame.timestampMs);
  if (page.source !== source) return;
  Object.assign(page, { readings, frame, frames: page.frames + 1 });
  const read = performance.now();
  if (page.rows) record(frame, readings);
  show();
  const total = (key) => readings.reduce((sum, { ms }) => sum + ms[key], 0);
  gauge(began, {
    mesh: found - began,
    crop: total("crop"),
    model: total("model"),
    draw: performance.now() - read,
  });
}

/** Shows the last frame as the options say. */
function show() {
  const { frame, readings } = page;
  if (!frame) return;
  drawFrame($("view"), frame, readings, {
    mesh: $("show_mesh").checked,
    heat: $("show_heat").checked,
  });
  $("view").ariaLabel = strings.view(readings.length);
  const chosen = page.people.choose(readings);
  const known = chosen?.success ? chosen : null;
  page.bars.show(known);
  page.expressions.show(known);
  if (frame !== page.shown) page.timeline.add(frame.timestampMs / 1000, known?.levels ?? null);
  page.shown = frame;
  const problems = (chosen?.reason ?? "")
    .split(" ")
    .filter(Boolean)
    .map((code) => strings.quality[code]);
  if (performance.now() < page.heldMs) return;
  if (page.rows) say(strings.recording(page.rows.length));
  else if (!readings.length) say(strings.noFace, { problem: true });
  else
    say(
      [
        strings.reading(readings.length),
        ...(problems.length ? [`${problems.join(", ")}.`] : []),
      ].join(" "),
    );
}

/** Shows how fast it goes: means over about ten frames. */
function gauge(nowMs, stages) {
  const mix = (before, value) => (before === undefined ? value : 0.9 * before + 0.1 * value);
  for (const [name, ms] of Object.entries(stages)) page.stages[name] = mix(page.stages[name], ms);
  if (page.beforeMs !== null)
    page.fps = mix(page.fps || undefined, 1000 / Math.max(nowMs - page.beforeMs, 1));
  page.beforeMs = nowMs;
  if (page.source.kind === "photo" || page.frames % 10) return;
  const parts = Object.entries(page.stages);
  const text = parts.map(([name, ms]) => `${strings.stages[name]} ${ms.toFixed(1)}`).join(", ");
  $("speed").textContent = strings.speed(
    page.fps,
    parts.reduce((sum, [, ms]) => sum + ms, 0),
    text,
  );
}

function showNeutral() {
  const on = page.filter?.isCalibrated ?? false;
  $("neutral").ariaPressed = String(on);
  $("neutral").textContent = on ? strings.forget : strings.neutral;
}

function record(frame, readings) {
  const { aus } = page.analyzer;
  for (const reading of readings.length ? readings : [null]) {
    page.rows.push(row(page.frames, frame.timestampMs, reading, aus, page.threshold).join(","));
  }
}

/** Hands the table over as a file. */
function save() {
  const { rows } = page;
  page.rows = null;
  $("record").ariaPressed = "false";
  $("record").textContent = page.source?.kind === "photo" ? strings.save : strings.record;
  const stamp = new Date()
    .toISOString()
    .replace(/[-:]|\..*/g, "")
    .replace("T", "-");
  const name = `tfau-${stamp}.csv`;
  const text = [header(page.analyzer.aus).join(","), ...rows].map((line) => `${line}\n`);
  const link = Object.assign(document.createElement("a"), {
    href: URL.createObjectURL(new Blob(text, { type: "text/csv" })),
    download: name,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say(strings.saved(name, rows.length), { holdMs: HOLD_MS });
}

$("camera").addEventListener("click", () => {
  if (page.source && page.source.kind !== "photo") return halt();
  say(strings.starting);
  run(openCamera(page.facing)).catch(fail);
});
$("flip").addEventListener("click", () => {
  page.facing = page.facing === "user" ? "environment" : "user";
  run(openCamera(page.facing)).catch(fail);
});
$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  $("file").value = "";
  if (!file) return;
  page.fileName = file.name;
  run(openFile(file)).catch(fail);
});
$("neutral").addEventListener("click", () => {
  if (page.filter.isCalibrated) page.filter.calibrate([]);
  else if (!page.readings.some(({ success }) => success))
    return say(strings.needFace, { problem: true, holdMs: HOLD_MS });
  else page.filter.calibrate(page.readings);
  if (page.filter.isCalibrated) say(strings.calibrated, { holdMs: HOLD_MS });
  showNeutral();
});
$("record").addEventListener("click", () => {
  if (page.rows) return save();
  page.rows = [];
  if (page.source.kind === "photo") {
    record(page.frame, page.readings);
    return save();
  }
  $("record").ariaPressed = "true";
  $("record").textContent = strings.save;
  say(strings.recording(0));
});
$("faces").addEventListener("change", () => {
  page.mesh.maxFaces = Number($("faces").value);
  page.mesh.searchedMs = -Infinity;
  page.mesh.last = page.mesh.last.slice(0, page.mesh.maxFaces);
});
$("smooth").addEventListener(
  "change",
  () => page.filter && (page.filter.smooth = $("smooth").checked),
);
for (const id of ["show_mesh", "show_heat"]) $(id).addEventListener("change", show);
addEventListener("beforeunload", (event) => page.rows && event.preventDefault());

function fail(error) {
  halt();
  const why = String(error?.message ?? error).replace(/\.$/, "");
  say(strings.failed(why), { problem: true });
  document.documentElement.dataset.state = "failed";
}

start().catch(fail);
