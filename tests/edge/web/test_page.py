"""The page in a real browser: nothing leaves it, and what goes wrong."""

import threading
from typing import Any

import numpy as np
import pytest

from edge.web import __main__ as web
from edge.web import site


def test_a_camera_is_read_recorded_and_lost(tab):
    tab.page.locator("#camera").click()
    tab.until("tfau.frames > 3")
    assert tab.status == "No face is in the picture."  # the browser's own test picture
    assert tab.page.locator("#neutral").is_enabled()
    tab.page.locator("#neutral").click()
    assert tab.status == "A face must be in the picture for that."
    tab.page.locator("#record").click()
    tab.until("tfau.rows?.length > 3")
    assert "Recording" in tab.status
    _, rows = tab.saved()
    assert len(rows) > 3
    assert {row["reason"] for row in rows} == {"no_face"}
    times = [float(row["timestamp"]) for row in rows]
    assert times == sorted(times)
    tab.page.locator("#record").click()
    tab.until("tfau.rows?.length > 1")
    with tab.page.expect_download():  # what was recorded is not lost with the camera
        tab.page.evaluate(
            "tfau.source.video.srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))"
        )
    tab.until("!tfau.source")
    assert tab.page.locator("#camera").inner_text() == "Start camera"


def test_what_is_no_picture_is_said_in_a_sentence(tab, tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_bytes(b"not a video at all")
    tab.page.locator("#file").set_input_files(path)
    tab.until("document.getElementById('status').textContent.startsWith('notes.mp4')")
    assert tab.status == "notes.mp4 is no picture or video that this browser can read."


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--use-fake-device-for-media-stream", "--deny-permission-prompts"),
            "The camera is blocked.",
        ),
        (("--use-fake-ui-for-media-stream",), "There is no camera here."),
    ],
)
def test_without_a_camera_the_page_says_what_to_do(open_tab, arguments, sentence):
    tab = open_tab(*arguments)
    tab.page.locator("#camera").click()
    tab.until("document.getElementById('status').classList.contains('problem')")
    assert tab.status.startswith(sentence)
    assert "choose a photo or a video" in tab.status.lower()
    assert tab.wrong == []


def test_it_opens_without_a_network_the_second_time(open_tab):
    tab = open_tab()
    tab.until("!!navigator.serviceWorker.controller")
    tab.context.set_offline(True)
    tab.page.reload()
    tab.until("document.documentElement.dataset.state === 'ready'")
    assert tab.page.evaluate("crossOriginIsolated")


def test_another_version_takes_the_place_of_the_one_that_was_kept(open_tab, tmp_path):
    files = site.site_files()
    site.write_site(tmp_path / "site", files)
    with web.make_server("127.0.0.1", 0, tmp_path) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tab = open_tab(address=f"http://127.0.0.1:{server.server_address[1]}/")
        tab.until("!!navigator.serviceWorker.controller")
        files["strings.js"] = files["strings.js"].replace(b'"Neutral face"', b'"At rest"')
        files["files.js"] = files["files.js"].replace(b'VERSION = "', b'VERSION = "2')
        site.write_site(tmp_path / "site", files)
        tab.page.reload()
        tab.until("document.getElementById('neutral').textContent === 'At rest'")
        tab.until("document.documentElement.dataset.state === 'ready'")
        assert len(tab.page.evaluate("caches.keys()")) == 1
        server.shutdown()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(open_tab, photo, scheme):
    tab = open_tab(
        viewport={"width": 360, "height": 740},
        device_scale_factor=2.0,
        has_touch=True,
        is_mobile=True,
        color_scheme=scheme,
    )
    tab.page.locator("#file").set_input_files(photo)
    tab.until("tfau.frames === 1")
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 360
    buttons = tab.page.locator("button:visible, summary, select, label")
    for i in range(buttons.count()):
        box = buttons.nth(i).bounding_box()
        assert box["height"] >= 24
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    # Text against what it stands on: WCAG's 4.5 to 1.
    for place in ("#status", "#bars .value", ".note", "#camera", "#choose"):
        assert contrast(tab, place) >= 4.5, place


def contrast(tab: Any, place: str) -> float:
    colors = tab.page.evaluate(
        """(place) => {
        const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
        let box = document.querySelector(place);
        const text = rgb(getComputedStyle(box).color);
        let back = rgb(getComputedStyle(box).backgroundColor);
        while (back[3] === 0) {
          box = box.parentElement;
          back = rgb(getComputedStyle(box).backgroundColor);
        }
        return [text, back];
        }""",
        place,
    )
    light, dark = sorted((luminance(color[:3]) for color in colors), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: list[float]) -> float:
    shares = [c / 255 for c in color]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_keys_and_screen_readers_reach_everything(tab):
    assert (
        tab.page.evaluate(
            """() => [...document.querySelectorAll("button, select, input, canvas, [role=meter]")]
          .filter((e) => !e.hidden && !(e.textContent.trim() || e.ariaLabel
            || e.labels?.[0]?.textContent.trim())).map((e) => e.outerHTML)"""
        )
        == []
    )
    tab.page.locator("body").click(position={"x": 1, "y": 1})
    reached = []
    for _ in range(8):
        tab.page.keyboard.press("Tab")
        reached.append(tab.page.evaluate("document.activeElement.id"))
    assert reached[:2] == ["camera", "choose"]
    assert {"faces", "show_mesh", "show_heat", "smooth"} <= set(reached)


def test_a_gpu_must_pass_the_self_test_and_be_faster(open_tab, address):
    """On an imitation of a GPU, which is right and slow."""
    imitation = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
    there = f"{address}?nocache&accelerator=webgpu"
    tab = open_tab(*imitation, "--enable-features=Vulkan", address=there)
    if tab.page.evaluate("document.documentElement.dataset.state") == "failed":
        pytest.skip("this Chromium imitates no GPU")
    assert "the GPU (WebGPU)" in tab.page.locator("#card").text_content()
    assert tab.page.evaluate("tfau.analyzer.model.graph.model.isFullyAccelerated")
    tab.page.goto(f"{address}?nocache")
    tab.until("document.documentElement.dataset.state === 'ready'")
    assert "the processor" in tab.page.locator("#card").text_content()
