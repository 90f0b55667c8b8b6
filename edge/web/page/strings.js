// Every word of the page. A translation is a copy of this file.

export default {
  claim: "Facial action units, on this device. No picture and no reading leaves it.",
  loading: (part) => `Loading ${part} ...`,
  parts: { runtime: "the runtime", mesh: "the face mesh", model: "the model" },
  ready: "Ready. Start the camera, or choose a photo or a video.",
  hint: "Camera, photo or video",
  startCamera: "Start camera",
  stop: "Stop",
  flip: "Other camera",
  choose: "Photo or video",
  neutral: "Neutral face",
  forget: "Forget neutral",
  record: "Record",
  save: "Save CSV",
  options: "Options",
  faces: "Faces",
  showMesh: "Mesh",
  showHeat: "Heat",
  smooth: "Smooth",
  timeline: "Last 60 seconds",
  units: "Action units",
  unitsNote: "Level 0 to 5 (FACS A to E). Small marks: the subject's left (L) and right (R).",
  expressions: "Expressions",
  expressionsNote: "A score says what the face shows, not what is felt.",
  about: "About the model",
  limits:
    "An estimate for research and play: it was learnt from rendered faces, and is no basis for a judgement about a person.",
  starting: "Waiting for the camera ...",
  reading: (faces) => (faces === 1 ? "One face." : `${faces} faces.`),
  noFace: "No face is in the picture.",
  recording: (rows) => `Recording: ${rows} ${rows === 1 ? "row" : "rows"}.`,
  saved: (name, rows) => `Saved ${name}: ${rows} ${rows === 1 ? "row" : "rows"}.`,
  calibrated: "This is the neutral face now; levels are relative to it.",
  needFace: "A face must be in the picture for that.",
  denied:
    "The camera is blocked. Allow it in the browser's settings for this page, or choose a photo or a video.",
  noCamera: "There is no camera here. Choose a photo or a video.",
  busy: "The camera is in use by another program.",
  insecure:
    "Browsers give a camera only to pages from https or localhost. Choose a photo or a video.",
  lost: "The camera is gone. Plug it in again and start it.",
  unreadable: (name) => `${name} is no picture or video that this browser can read.`,
  ended: "The video has ended.",
  stopped: "Stopped.",
  failed: (why) => `This page cannot run here: ${why}.`,
  quality: {
    low_presence: "hardly a face",
    small_face: "too small",
    blurred: "blurred",
    under_exposed: "too dark",
    over_exposed: "too bright",
    turned: "turned away",
    extreme_pose: "turned too far",
    at_border: "cut off by the frame",
  },
  person: (number) => `Face ${number + 1}`,
  side: { left: "L", right: "R", upper: "", lower: "" },
  level: (value) => (Number.isNaN(value) ? "unknown" : `${value.toFixed(1)} of 5`),
  speed: (fps, ms, parts) =>
    `${fps.toFixed(0)} frames a second, ${ms.toFixed(0)} ms each (${parts})`,
  stages: { mesh: "mesh", crop: "crop", model: "model", draw: "drawing" },
  view: (faces) => `Picture with ${faces} ${faces === 1 ? "face" : "faces"} read`,
  times: "Level of each action unit over the last 60 seconds",
  card: {
    name: "Model",
    units: "Action units",
    data: "Learnt from",
    licence: "Licence",
    recipe: "Form",
    test: "Self-test",
    runs: "Runs on",
    version: "tfau",
  },
  test: (difference, tolerance) =>
    Number.isNaN(difference)
      ? "the file has none"
      : `passed, ${difference.toFixed(3)} off (allowed ${tolerance.toFixed(3)})`,
  runs: (accelerator, threads) =>
    accelerator === "webgpu"
      ? "the GPU (WebGPU)"
      : `the processor, ${threads} ${threads === 1 ? "thread" : "threads"}`,
};
