"""The page in Chromium, as people use it: the real server on a socket, with tones for a model.

`make page-test`; the screenshots are in out/page/.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import shutil
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from f5_worker.audio.levels import SAMPLE_RATE
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
SCREENS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
CLIP, WORDS = TINY / "voices" / "joe.wav", (TINY / "voices" / "joe.txt").read_text(encoding="utf-8").strip()
TEXT = (
    "The first sentence is short. The second one has rather more to say, and takes its time about it. "
    "After the third, we are done."
)
KEY = "a-key-of-the-page"
OTHER_NAME = "worker.test"  # of this machine; other than localhost, browsers trust it with https alone
WAIT_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, with a microphone that hears the clip."""
    arguments = [
        "--no-sandbox",  # as root
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={CLIP}",
        f"--host-resolver-rules=MAP {OTHER_NAME} 127.0.0.1",
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
    def open_page(server: RunningServer, host: str = "127.0.0.1", **options: Any) -> Iterator[Any]:
        context = browser.new_context(accept_downloads=True, **(options or SCREENS["desktop"]))
        context.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        page = context.new_page()
        asked: list[str] = []
        faults: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if "Security Policy" in line.text else None)
        own = server.url.replace("127.0.0.1", host)
        page.goto(own)
        yield page
        context.close()
        assert faults == []
        assert all(url.startswith((own, f"blob:{own}")) for url in asked), asked

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
    page.get_by_role("textbox", name="Text", exact=True).fill(TEXT)
    page.get_by_role("button", name="Speak").click()
    expect(page.locator("#spoken .now")).to_be_visible()


def downloaded(page: Any, kind: str) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("link", name=kind, exact=True).click()
    return Path(download.value.path()).read_bytes()


def check_files(page: Any) -> None:
    """The files are what was spoken."""
    with wave.open(io.BytesIO(downloaded(page, "WAV"))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (SAMPLE_RATE, 1, 2)
        assert file.getnframes() > 4 * SAMPLE_RATE
        assert any(file.readframes(SAMPLE_RATE))
    assert "The first sentence" in downloaded(page, "SRT").decode()
    assert "[Script Info]" in downloaded(page, "ASS").decode()


@pytest.mark.parametrize("name", ["desktop", "phone"])
def test_record_report_speak_highlight_download(visit: Callable[..., Any], server: RunningServer, name: str) -> None:
    with visit(server, **SCREENS[name]) as page:
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
        expect(page.locator("#footer")).to_contain_text("times real time")
        check(page, f"{name}-4-result")
        check_files(page)


def test_a_long_recording_is_dropped_with_its_subtitles_and_the_voice_is_kept(
    visit: Callable[..., Any], server: RunningServer
) -> None:
    with visit(server) as page:
        page.get_by_text("New clip").click()
        sound, subtitles = long_recording(5)
        drop(page, "#drop", {"long.wav": sound, "long.srt": subtitles.encode()})
        expect(page.locator("figcaption")).to_have_text(re.compile(r"Used: \d+\.\d to \d+\.\d s of \d+\.\d s"))
        assert page.locator("#wave .used").get_attribute("d")
        assert page.locator("#wave .unused").get_attribute("d")
        page.get_by_text("Keep this voice").click()
        page.get_by_label("Name").last.fill("Joe")
        keep = page.get_by_role("button", name="Keep")
        keep.click()  # the browser says that the name is not one
        page.get_by_label("Name").last.fill("my-joe")
        keep.click()
        expect(page.locator("#keep-status")).to_contain_text("consent")
        check(page, "desktop-5-keep")
        page.get_by_label("Who agreed").fill("Joe agreed on 3 May, for the tests of this page.")
        keep.click()
        expect(page.locator("#stored-status")).to_have_text("my-joe is stored.")
        expect(page.get_by_label("Name").first).to_have_value("my-joe")
        page.get_by_role("button", name="Listen").click()
        expect(page.locator("#stored-audio")).to_be_visible()
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Delete").click()
        expect(page.locator("#stored-status")).to_have_text("my-joe is deleted.")
        assert "my-joe" not in page.locator("#voice").inner_text()


def test_advice_for_a_bad_clip_and_errors_in_words(visit: Callable[..., Any], server: RunningServer) -> None:
    with visit(server, **SCREENS["phone"]) as page:
        page.get_by_role("button", name="Speak").click()
        alert = page.locator("#work-error")
        expect(alert).to_have_text("Write a text first.")
        page.get_by_text("New clip").click()
        page.get_by_role("textbox", name="Text", exact=True).fill(TEXT)
        page.get_by_role("button", name="Speak").click()
        expect(alert).to_contain_text("Record a clip first")
        drop(page, "#drop", {"noise.wav": wav_file(noisy())})
        expect(page.locator("#clip-status")).to_have_text("Now type the words spoken in the clip.")
        expect(page.locator("#report")).to_have_attribute("data-verdict", "poor")
        page.get_by_label("Words spoken").fill(WORDS * 6)
        page.get_by_label("Words spoken").blur()
        expect(page.locator("#report .advice")).to_contain_text("send exactly the words spoken in this clip")
        check(page, "phone-5-poor")
        page.get_by_role("button", name="Speak").click()
        expect(alert).to_contain_text("letters a second where people speak")
        expect(page.locator("#result")).to_be_hidden()
        check(page, "phone-6-error")
        drop(page, "#drop", {"none.wav": b"no sound"})
        expect(page.locator("#clip-status")).to_contain_text("format is not one that this worker reads")
        server.close()
        page.get_by_text("Stored voice").click()
        page.get_by_role("button", name="Speak").click()
        expect(alert).to_contain_text("The server does not answer.")


def test_without_https_the_page_says_why_it_cannot_record(visit: Callable[..., Any], server: RunningServer) -> None:
    with visit(server, host=OTHER_NAME) as page:
        page.get_by_text("New clip").click()
        expect(page.get_by_role("button", name="Record")).to_be_disabled()
        expect(page.locator("#clip-status")).to_contain_text("Choose a file instead")
        page.get_by_text("Stored voice").click()
        speak(page)


def test_speech_is_checked_on_request(visit: Callable[..., Any], server: RunningServer) -> None:
    with visit(server) as page:
        page.get_by_text("Options").click()
        page.get_by_label("Misspoken words").select_option("Speak again")
        check(page, "desktop-9-options")
        speak(page)
        expect(page.locator("#warnings")).to_contain_text("The speech was not checked: this worker has no recogniser")


def test_subtitles_are_dubbed(visit: Callable[..., Any], server: RunningServer) -> None:
    srt = "1\n00:00:00,500 --> 00:00:03,000\nThe first line.\n\n2\n00:00:03,500 --> 00:00:06,000\nAnd the second.\n"
    with visit(server, **SCREENS["phone"]) as page:
        page.get_by_text("Subtitles", exact=True).click()
        check(page, "phone-7-dub")
        page.get_by_role("button", name="Dub").click()
        expect(page.locator("#work-error")).to_have_text("Choose a file of subtitles first.")
        page.locator("#subtitles").set_input_files({"name": "film.srt", "mimeType": "", "buffer": srt.encode()})
        expect(page.locator("#subtitles-name")).to_have_text("film.srt")
        page.get_by_label("Format", exact=True).select_option("flac")
        page.get_by_role("button", name="Dub").click()
        expect(page.locator("#result-audio")).to_be_visible()
        assert page.locator("#spoken").text_content() == "The first line.\nAnd the second."
        assert downloaded(page, "FLAC")[:4] == b"fLaC"
        assert "And the second." in downloaded(page, "SRT").decode()
        page.locator("#result-audio").evaluate("audio => audio.play()")
        expect(page.locator("#spoken .now")).to_have_text("second.")
        check(page, "phone-8-dubbed")


def test_a_request_is_paused_and_stopped_and_another_one_replaces_it(
    visit: Callable[..., Any], server: RunningServer, until: Callable[[Callable[[], bool]], None]
) -> None:
    with visit(server) as page:
        speak(page)
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Go on")).to_be_visible()
        n_heard = page.locator("#spoken .heard").count()
        page.wait_for_timeout(1_000)
        assert page.locator("#spoken .heard").count() == n_heard
        page.get_by_role("button", name="Go on").click()
        page.get_by_role("textbox", name="Text", exact=True).fill(" ".join([TEXT] * 40))
        page.get_by_role("textbox", name="Text", exact=True).press("Control+Enter")
        expect(page.locator("#result-status")).to_have_text("Speaking …")
        expect(page.locator("#spoken .now")).to_be_visible()
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("#result-status")).to_have_text("Stopped.")
        expect(page.get_by_role("button", name="Speak")).to_be_focused()
        until(lambda: not server.service.runner.n_jobs)  # the worker stopped as well


def test_the_key_is_asked_for_once(visit: Callable[..., Any], worker: Worker) -> None:
    with running(worker, api_key=KEY) as server, visit(server, **SCREENS["phone"]) as page:
        expect(page.get_by_role("dialog", name="Key")).to_be_visible()
        check(page, "phone-9-key")
        page.get_by_label("Key of this server").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#key-reason")).to_have_text("The server did not accept the key.")
        page.get_by_label("Key of this server").fill(KEY)
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#voice")).not_to_be_empty()
        page.reload()
        expect(page.locator("#voice")).not_to_be_empty()
        expect(page.get_by_role("dialog", name="Key")).to_be_hidden()


def test_while_the_model_loads_the_page_says_so_and_goes_on_by_itself(
    visit: Callable[..., Any], worker: Worker
) -> None:
    with running(None) as server, visit(server) as page:
        expect(page.locator("#banner")).to_have_text("The model is being loaded.")
        server.service.start(worker)
        expect(page.locator("#footer")).to_contain_text("tones")
        expect(page.locator("#banner")).to_be_hidden()


def test_everything_is_reached_with_the_keyboard(visit: Callable[..., Any], server: RunningServer) -> None:
    with visit(server) as page:
        expect(page.locator("#report")).to_be_visible()
        reached = []
        for _ in range(12):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.name || ''"))
        order = [name for name in reached if name in ("source", "voice", "listen", "task", "text", "start")]
        assert order[:6] == ["source", "voice", "listen", "task", "text", "start"]
        page.locator("#start").focus()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.locator('input[name="source"]').first.focus()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("button", name="Record")).to_be_visible()


def test_chunks_are_joined_without_a_gap_and_words_marked_by_their_place(
    visit: Callable[..., Any], server: RunningServer
) -> None:
    with visit(server) as page:
        starts = page.evaluate(
            """async () => {
                const { StreamPlayer } = await import("./page/player.js");
                const starts = [];
                const start = AudioBufferSourceNode.prototype.start;
                AudioBufferSourceNode.prototype.start = function (at) { starts.push(at); start.call(this, at); };
                const player = new StreamPlayer(24000);
                for (const n of [2400, 1200, 4800]) player.add(new Int16Array(n), 0);
                player.close();
                return starts;
            }"""
        )
        assert np.diff(starts) == pytest.approx([0.1, 0.05])
        marked = page.evaluate(
            """async () => {
                const { HeardWords } = await import("./page/words.js");
                const pane = document.createElement("div");
                const words = new HeardWords(pane, "No, no:\\n  no more no.");
                words.add([{text: "No,", start_s: 0, end_s: 1}, {text: "no:", start_s: 1, end_s: 2}]);
                words.add([{text: "no", start_s: 2, end_s: 3}]);
                const seen = [];
                for (const time_s of [-1, 0.5, 2.5, 1.5]) { words.show(time_s); seen.push(pane.innerHTML); }
                return seen;
            }"""
        )
        heard, now, not_yet = '<span class="heard">', '<span class="heard now">', '<span(?: class="")?>'
        end = "</span>"
        patterns = [
            f"{not_yet}No,{end} {not_yet}no:{end}\n  {not_yet}no{end} more no.",
            f"{now}No,{end} {not_yet}no:{end}\n  {not_yet}no{end} more no.",
            f"{heard}No,{end} {heard}no:{end}\n  {now}no{end} more no.",
            f"{heard}No,{end} {now}no:{end}\n  {not_yet}no{end} more no.",
        ]
        for pattern, html in zip(patterns, marked, strict=True):
            assert re.fullmatch(pattern, html)


def long_recording(times: int) -> tuple[bytes, str]:
    """The clip several times with pauses, and its subtitles."""
    with wave.open(str(CLIP)) as file:
        clip = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    each = np.concatenate([clip, np.zeros(SAMPLE_RATE // 2, np.int16)])
    cues = [(index * len(each) / SAMPLE_RATE, (index * len(each) + len(clip)) / SAMPLE_RATE) for index in range(times)]
    srt = "\n".join(f"{i + 1}\n{stamp(a)} --> {stamp(b)}\n{WORDS}\n" for i, (a, b) in enumerate(cues))
    return wav_file(np.tile(each, times)), srt


def stamp(time_s: float) -> str:
    return f"00:{int(time_s // 60):02}:{time_s % 60:06.3f}".replace(".", ",")


def noisy() -> Any:
    """The clip in noise that is as loud."""
    with wave.open(str(CLIP)) as file:
        clip = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    noise = np.random.default_rng(1).normal(0, clip.std() / 2, len(clip))
    return np.clip(clip + noise, -32_768, 32_767).astype(np.int16)


def wav_file(samples: Any) -> bytes:
    output = io.BytesIO()
    with wave.open(output, "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return output.getvalue()


def drop(page: Any, target: str, files: dict[str, bytes]) -> None:
    """Drop files on an element."""
    transfer = page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const [name, base64] of Object.entries(files)) {
                const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
                transfer.items.add(new File([bytes], name));
            }
            return transfer;
        }""",
        {name: base64.b64encode(data).decode() for name, data in files.items()},
    )
    page.dispatch_event(target, "drop", {"dataTransfer": transfer})
