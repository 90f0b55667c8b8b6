"""What `python -m tfau.bench web` sets against Python: the page, in Chromium without a window."""

from __future__ import annotations

import atexit
import contextlib
import gzip
import importlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.arguments import FREE_MODEL
from edge.web.__main__ import make_server
from edge.web.site import site_files, write_site
from tfau.bench.device_contender import load_clip
from tfau.bench.turns import serve

DEFAULT_MODEL = str(FREE_MODEL)
_FRAMES = 60

_LOAD = """async () => {
  const { FaceMesh } = await import("./face_mesh.js");
  const archive = await (await fetch("models/face_landmarker.task")).arrayBuffer();
  const bytes = await (await fetch("frames.bin")).arrayBuffer();
  const [width, height, size] = [640, 480, 640 * 480 * 4];
  const frames = Array.from({ length: bytes.byteLength / size }, (_, i) =>
    new ImageData(new Uint8ClampedArray(bytes, i * size, size), width, height));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const { drawFrame } = await import("./draw.js");
  const { Tracker } = await import("./tracks.js");
  const { mesh, analyzer } = tfau;
  Object.assign(mesh, { follow: true, maxFaces: 1 });
  mesh.reset();
  let [count, tracker] = [0, new Tracker()];
  globalThis.read = async (steps) => {
    const parts = { mesh: 0, crop: 0, network: 0, rest: 0, drawing: 0 };
    for (let i = 0; i < steps; i++, count++) {
      // Back and forth, so that no face jumps; put on a canvas and taken off it, as a camera's are.
      const at = count % (2 * frames.length - 2);
      context.putImageData(frames[at < frames.length ? at : 2 * frames.length - 2 - at], 0, 0);
      const start = performance.now();
      const image = context.getImageData(0, 0, width, height);
      const taken = performance.now();
      const timeMs = (count * 1000) / 30;
      const faces = tracker.update(await mesh.detect(image, timeMs), timeMs);
      const found = performance.now();
      const readings = await analyzer.read(image, faces);
      const done = performance.now();
      drawFrame(document.getElementById("view"), { canvas }, readings, { mesh: true, heat: true });
      tfau.bars.show(readings[0] ?? null);
      const total = (part) => readings.reduce((sum, { ms }) => sum + ms[part], 0);
      const [crop, network] = [total("crop"), total("model")];
      parts.mesh += found - taken;
      parts.crop += crop;
      parts.network += network;
      parts.rest += taken - start + done - found - crop - network;
      parts.drawing += performance.now() - done;
    }
    return parts;
  };
}"""


@dataclass(frozen=True)
class Task:
    """Says how the page is to read.

    Args:
        clip: A photo, which is then moved about, or a video.
        model: A `.tflite`.
        threads: Cores that the browser may use, and threads that the page asks for.
        slower: How many times the browser makes its processor slower.
    """

    clip: str
    model: str
    threads: int = 1
    slower: float = 1.0


@contextlib.contextmanager
def open_page(
    model: str, threads: int, arguments: tuple[str, ...] = (), frames: bytes = b""
) -> Iterator[tuple[Any, float]]:
    """Serves the page and opens it in Chromium.

    Args:
        model: A `.tflite`.
        threads: That the page asks for.
        arguments: Words for Chromium.
        frames: What the page finds as `frames.bin`.

    Yields:
        Playwright's page, and the seconds from its address to its being ready.

    Raises:
        LookupError: If there is no playwright or no Chromium.
    """
    try:
        playwright: Any = importlib.import_module("playwright.sync_api")
    except ImportError:
        raise LookupError("playwright is not installed: `pip install 'tfau[test]'`") from None
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise LookupError("there is no chromium; a package of Debian's brings it")
    with tempfile.TemporaryDirectory() as name, make_server("127.0.0.1", 0, Path(name)) as server:
        write_site(Path(name) / "site", site_files(Path(model)))
        (Path(name) / "site" / "frames.bin").write_bytes(frames)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        with playwright.sync_playwright() as library:
            browser = library.chromium.launch(
                executable_path=path, args=["--no-sandbox", *arguments]
            )
            page = browser.new_context().new_page()
            start = time.monotonic()
            page.goto(f"{address}?nocache&accelerator=wasm&threads={threads}")
            while (state := page.evaluate("document.documentElement.dataset.state")) is None:
                time.sleep(0.01)
            if state != "ready":
                raise LookupError(page.evaluate("document.getElementById('status').textContent"))
            yield page, time.monotonic() - start
            browser.close()
        server.shutdown()


def weigh(model: str) -> tuple[int, int]:
    """Returns the bytes that a browser loads of the page, as they are and packed by gzip."""
    # One of the three builds of the runtime is loaded.
    others = ("compat_internal", "threaded_internal", "LICENSE", "NOTICE", "model.json")
    files = site_files(Path(model))
    loaded = [data for name, data in files.items() if not any(word in name for word in others)]
    return sum(map(len, loaded)), sum(len(gzip.compress(data)) for data in loaded)


def write_film(clip: str, path: Path) -> None:
    """Writes a clip, there and back, as raw video: Chromium takes that for a camera."""
    frames = load_clip(clip, 1)
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W640 H480 F30:1 Ip A1:1 C420jpeg\n")
        for frame in [*frames, *frames[-2:0:-1]]:
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())


def _make(words: dict[str, Any]) -> tuple[Callable[[], object], dict[str, Any]]:
    task = Task(**words)
    if sys.platform == "linux":
        # Before the browser starts: it inherits it.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.threads])
    images = load_clip(task.clip, 1)[:_FRAMES]
    rgba = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2RGBA) for image in images])
    stack = contextlib.ExitStack()
    page, ready_s = stack.enter_context(open_page(task.model, task.threads, frames=rgba.tobytes()))
    atexit.register(stack.close)
    page.evaluate(_LOAD)
    start = time.monotonic()
    page.evaluate("read(1)")
    first_s = ready_s + time.monotonic() - start
    if task.slower != 1:
        devtools = page.context.new_cdp_session(page)
        devtools.send("Emulation.setCPUThrottlingRate", {"rate": task.slower})
    page.evaluate("read(5)")
    stages = page.evaluate("read(30)")
    facts = {
        "first_s": first_s,
        "faces": page.evaluate("tfau.mesh.last.length"),
        "stages": {name: ms / 30 / 1000 for name, ms in stages.items()},
    }
    return lambda: page.evaluate("read(1)"), facts


if __name__ == "__main__":
    serve(_make)
