// Where frames come from: a camera, a video, a photo. Each gives snapshots that stay as they are.

/** Says that a source cannot be used; `reason` is a key of the page's strings. */
export class SourceError extends Error {
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

const CAMERA_PROBLEMS = {
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotFoundError: "noCamera",
  OverconstrainedError: "noCamera",
  NotReadableError: "busy",
  AbortError: "busy",
};

/** Opens a camera; `facing` is "user" (front) or "environment" (back). */
export async function openCamera(facing) {
  if (!navigator.mediaDevices?.getUserMedia) throw new SourceError("insecure");
  let stream;
  try {
    const video = {
      facingMode: facing,
      width: { ideal: 640 },
      height: { ideal: 480 },
      frameRate: { ideal: 30 },
    };
    stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
  } catch (error) {
    throw new SourceError(CAMERA_PROBLEMS[error.name] ?? "busy");
  }
  const source = new Source("camera", document.createElement("video"));
  source.video.srcObject = stream;
  source.close = () => stream.getTracks().forEach((track) => track.stop());
  source.ended = new Promise((resolve) => {
    stream.getVideoTracks()[0].addEventListener("ended", () => resolve("lost"));
  });
  source.mirrored = (stream.getVideoTracks()[0].getSettings().facingMode ?? "user") === "user";
  await source.play();
  return source;
}

/** Opens a photo or a video that the user chose. */
export async function openFile(file) {
  try {
    // A photo as it is stored, turned upright, without colour management: as Python reads it.
    const bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
    });
    const source = new Source("photo", bitmap);
    source.close = () => bitmap.close();
    return source;
  } catch {
    // no photo: a video then
  }
  const source = new Source("video", document.createElement("video"));
  const url = URL.createObjectURL(file);
  source.video.src = url;
  source.close = () => {
    source.video.pause();
    source.video.removeAttribute("src");
    URL.revokeObjectURL(url);
  };
  source.ended = new Promise((resolve) =>
    source.video.addEventListener("ended", () => resolve("ended")),
  );
  const failed = new Promise((_, reject) => {
    source.video.addEventListener("error", () => reject(new SourceError("unreadable")));
  });
  await Promise.race([source.play(), failed]).catch(() => {
    source.close();
    throw new SourceError("unreadable");
  });
  return source;
}

class Source {
  constructor(kind, element) {
    Object.assign(this, { kind, element, ended: new Promise(() => {}), mirrored: false });
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
    if (kind !== "photo") Object.assign(element, { muted: true, playsInline: true });
  }

  get video() {
    return this.element;
  }

  async play() {
    await this.video.play();
    this.startMs = performance.now();
  }

  /** Waits for a new frame and copies it: {canvas, image: {data, width, height}, timestampMs}. */
  async frame() {
    let timestampMs = 0;
    if (this.kind !== "photo") {
      const mediaTimeS = await this.#next();
      timestampMs = this.kind === "video" ? mediaTimeS * 1000 : performance.now() - this.startMs;
    }
    const [width, height] = [
      this.element.videoWidth ?? this.element.width,
      this.element.videoHeight ?? this.element.height,
    ];
    if (this.canvas.width !== width || this.canvas.height !== height)
      Object.assign(this.canvas, { width, height });
    this.context.drawImage(this.element, 0, 0);
    return {
      canvas: this.canvas,
      image: this.context.getImageData(0, 0, width, height),
      timestampMs,
    };
  }

  /** Plays a video slower where frames were missed, and faster again where none is. */
  #pace(presented) {
    const missed = presented - (this.presented ?? presented - 1) > 1;
    this.presented = presented;
    const rate = this.video.playbackRate * (missed ? 0.8 : 1.02);
    this.video.playbackRate = Math.min(Math.max(rate, 0.0625), 1);
  }

  #next() {
    return new Promise((resolve) => {
      if (this.video.requestVideoFrameCallback) {
        this.video.requestVideoFrameCallback((_, { mediaTime, presentedFrames }) => {
          if (this.kind === "video") this.#pace(presentedFrames);
          resolve(mediaTime);
        });
      } else requestAnimationFrame(() => resolve(this.video.currentTime));
    });
  }
}
