"""A browser that opens the page from a server on this machine."""

import csv
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.web import __main__ as web
from edge.web import site

CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as a folder; what tests put in `given` is served too."""
    folder = tmp_path_factory.mktemp("web")
    site.write_site(folder / "site", site.site_files())
    (folder / "site" / "given").mkdir()
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with web.make_server("127.0.0.1", 0, folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.fixture(scope="module")
def library() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as library:
        yield library


class Tab:
    """A page, everything that it asked for, and every error that it did not catch."""

    def __init__(self, library: Any, address: str, *arguments: str, **options: Any) -> None:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        if not path:
            pytest.skip("needs chromium")
        arguments = ("--no-sandbox", *arguments)
        browser = library.chromium.launch(executable_path=path, args=[*arguments])
        from playwright.sync_api import Error

        self.close, self.error = browser.close, Error
        self.context = browser.new_context(accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.wrong: list[str] = []
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.goto(address)
        self.until("document.documentElement.dataset.state")

    def until(self, expression: str, seconds: float = 60.0) -> Any:
        """Waits until something is true; the page's own rules forbid playwright's way of it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                value = self.page.evaluate(expression)
            except self.error as error:  # the page has just loaded itself anew
                if "context was destroyed" not in str(error):
                    raise
                value = None
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds} s: {expression}; says {self.status!r}")

    @property
    def status(self) -> str:
        return self.page.locator("#status").inner_text()

    def saved(self, button: str = "#record") -> tuple[str, list[dict[str, str]]]:
        """Clicks and returns the name and the rows of the table that is handed over."""
        with self.page.expect_download() as download:
            self.page.locator(button).click()
        text = Path(download.value.path()).read_text()
        return download.value.suggested_filename, list(csv.DictReader(text.splitlines()))


@pytest.fixture
def open_tab(library: Any, address: str) -> Iterator[Callable[..., Tab]]:
    """Opens tabs in browsers of their own."""
    tabs: list[Tab] = []

    def opened(*arguments: str, address: str = address, **options: Any) -> Tab:
        tabs.append(Tab(library, address, *arguments, **options))
        return tabs[-1]

    yield opened
    for tab in tabs:
        tab.close()


@pytest.fixture(scope="module")
def tab(library: Any, address: str) -> Iterator[Tab]:
    """A tab with a camera, for tests that leave the page as it was."""
    tab = Tab(library, address, *CAMERA)
    yield tab
    tab.close()
    assert tab.wrong == []
    assert {url.split("/")[2] for url in tab.asked if not url.startswith("blob:")} == {
        address.split("/")[2]
    }
