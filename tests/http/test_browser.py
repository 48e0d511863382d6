"""The page in Chromium, as people use it: the real server on a socket, with tones for a model.

`make page-test`; the screenshots are in out/page/.
"""

from __future__ import annotations

import dataclasses
import io
import shutil
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from f5_worker.engine.types import Segment
from f5_worker.synthesis.context import Worker
from f5_worker.voices.library import Library
from f5_worker.voices.store_directory import DirectoryStore
from tests.conftest import ROOT, TINY, ToneDevice
from tests.http.conftest import RunningServer, running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no Chromium; as root: apt-get install chromium", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: make page-test installs it")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe: make page-test installs it")
expect = sync_api.expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SHOTS = ROOT / "out" / "page"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
CLIP, WORDS = TINY / "voices" / "joe.wav", (TINY / "voices" / "joe.txt").read_text(encoding="utf-8").strip()
TEXT = (
    "The first sentence is short. The second one has rather more to say, and takes its time about it. "
    "After the third, we are done."
)
KEY = "a-key-of-the-page"
WAIT_MS = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, with a microphone that hears the clip."""
    arguments = [
        "--no-sandbox",  # as root
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={CLIP}",
    ]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def server(worker: Worker, device: ToneDevice, tmp_path: Path) -> Iterator[RunningServer]:
    """A server that stores voices, and speaks a segment in about a second."""
    device.before = _take_time
    library = Library(TINY / "voices", worker.settings, stores=[DirectoryStore(tmp_path)])
    with running(dataclasses.replace(worker, voices=library)) as server:
        yield server


def _take_time(segment: Segment, step: int) -> None:
    time.sleep(0.05)


@pytest.fixture
def visit(browser: Any) -> Callable[..., Any]:
    """Opens the page; at the end nothing was asked of another host, and no script has failed."""

    @contextmanager
    def open_page(server: RunningServer, **options: Any) -> Iterator[Any]:
        context = browser.new_context(**{"viewport": DESKTOP, "accept_downloads": True} | options)
        context.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        page = context.new_page()
        asked: list[str] = []
        faults: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if "Security Policy" in line.text else None)
        page.goto(server.url)
        yield page
        context.close()
        assert faults == []
        assert all(url.startswith((server.url, f"blob:{server.url}")) for url in asked), asked

    return open_page


def check(page: Any, name: str) -> None:
    """Take a screenshot of the whole page, in light and dark; in both, axe finds nothing, and nothing is cut off."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=SHOTS / f"{name}-{scheme}.png", full_page=True)
        found = axe.Axe().run(page).response["violations"]
        assert [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def speak(page: Any) -> None:
    """Speak the text, and wait until all of it has been heard."""
    page.get_by_label("Text", exact=True).last.fill(TEXT)
    page.get_by_role("button", name="Speak").click()
    expect(page.locator("#spoken .now")).to_be_visible()


def downloaded(page: Any, kind: str) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("link", name=kind, exact=True).click()
    return Path(download.value.path()).read_bytes()


def check_files(page: Any) -> None:
    """The files are what was spoken."""
    with wave.open(io.BytesIO(downloaded(page, "WAV"))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        assert file.getnframes() > 4 * 24_000
        assert any(file.readframes(24_000))
    assert "The first sentence" in downloaded(page, "SRT").decode()
    assert "[Script Info]" in downloaded(page, "ASS").decode()


@pytest.mark.parametrize(("name", "screen"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_record_report_speak_highlight_download(
    visit: Callable[..., Any], server: RunningServer, name: str, screen: dict[str, int]
) -> None:
    with visit(server, viewport=screen, has_touch=screen is PHONE) as page:
        expect(page.locator("#footer")).to_contain_text("tones")
        expect(page.get_by_role("heading", name="This")).to_be_visible()  # the report of the first stored voice
        check(page, f"{name}-1-start")
        page.get_by_text("New clip").click()
        page.get_by_label("Words spoken in the clip").fill(WORDS)
        page.get_by_role("button", name="Record").click()
        expect(page.get_by_role("button", name="Stop (5 s)")).to_be_visible()
        page.get_by_role("button", name="Stop (5 s)").click()
        report = page.get_by_label("How well it will clone")
        expect(report).to_contain_text("letters a second")
        expect(page.locator("figcaption")).to_contain_text("Used:")
        assert page.locator("#wave .used").get_attribute("d")
        check(page, f"{name}-2-clip")
        speak(page)
        assert 0 < page.locator("#spoken .heard").count() <= len(TEXT.split())
        page.screenshot(path=SHOTS / f"{name}-3-speaking.png", full_page=True)
        expect(page.locator("#result-audio")).to_be_visible()
        assert page.locator("#spoken .heard").count() == len(TEXT.split())
        assert page.locator("#spoken").text_content() == TEXT
        expect(page.locator("#footer")).to_contain_text("times as fast")
        check(page, f"{name}-4-result")
        check_files(page)
