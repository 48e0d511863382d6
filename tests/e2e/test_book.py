"""An EPUB with what real ones have to an audiobook: scripts/book.py, the SDK's loop, two workers, the small model."""

from __future__ import annotations

import re
from pathlib import Path

import av
import pytest
from mutagen.mp4 import MP4

from scripts.audiobook.command import main
from scripts.audiobook.sound import decode
from tests.audiobook.epubs import jpeg, nav, page, write_epub
from tests.e2e.fake_api import FakeApi
from tests.e2e.worker_process import WorkerProcess
from tests.listen import transcribe, word_error_rate, words

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RATE = 24_000
MAX_ERROR_RATE = 0.08  # of the small model at 7 steps, which had 0.02

# Title, mark-up of the text below the heading, and the words that are to be heard.
CHAPTERS = (
    ("The Morning Train", "<p>The train to the city leaves early in the morning.</p>",
     "The train to the city leaves early in the morning."),
    ("The Blue Cup", '<p><span class="dropcap">P</span><small>LEASE PUT</small> the blue cup on the kitchen table'
     '<a epub:type="noteref" href="notes.xhtml#n1"><sup>1</sup></a>.</p>',
     "Please put the blue cup on the kitchen table."),
    ("A Walk Along the River", '<p>She walked a&shy;long the river<sup><a href="#n2">2</a></sup> until the sun went '
     'down.</p><aside epub:type="footnote" id="n2"><p>A note that is never read.</p></aside>',
     "She walked along the river until the sun went down."),
    ("Waiting for the Rain", '<figure><img src="rain.jpg" alt="Rain on a window"/></figure>'
     '<p>We have been <em>waiting</em> for the rain<span class="pagenum">[Pg 4]</span> since early spring.</p>',
     "We have been waiting for the rain since early spring."),
    ("My Brother and His Shop", "<p>My brother works in a&nbsp;small shop &#110;ear the station.<br/></p><p>* * *</p>",
     "My brother works in a small shop near the station."),
    ("A Warm Bed in Winter", "<div>There is nothing better than a <b>warm</b> bed in winter.</div>",
     "There is nothing better than a warm bed in winter."),
    ("The Garden of My Mother", '<p hidden="">Hidden words.</p><p>The garden was full of flowers and the birds were '
     "singing.</p>", "The garden was full of flowers and the birds were singing."),
    ("A Letter from the Sea", '<div class="verse"><p>The ship came home at night,</p><p>and the wind was cold.'
     "</p></div>", "The ship came home at night, and the wind was cold."),
    ("The Old House", "<ul><li>The door was made of wood.</li><li>The roof was made of stone.</li></ul>",
     "The door was made of wood. The roof was made of stone."),
    ("The Long Road Home", "<table role='presentation'><tr><td><p>They took the long road home and sang a song."
     "</p></td></tr></table><style>p { color: red }</style>", "They took the long road home and sang a song."),
    ("Bread and Butter", "<blockquote><p>He bought some bread and butter at the market.</p></blockquote><hr/>",
     "He bought some bread and butter at the market."),
    ("The End of the Summer", "<p>The children went back to school at the end of the summer.</p>",
     "The children went back to school at the end of the summer."),
)  # fmt: skip


def write_book(path: Path, cover: bytes) -> Path:
    """Twelve chapters on eleven pages in two parts, and what is not to be heard around them."""
    pages = {
        "cover.xhtml": page('<img src="cover.jpg" alt="Cover"/><p>Cover words</p>', 'epub:type="cover"'),
        "title.xhtml": page("<h1>TWELVE DAYS</h1><p>A. N. Author</p>"),
        "copyright.xhtml": page("<p>© 1899. All rights reserved.</p>"),
        "nav.xhtml": "",
    }
    headings = [f'<h2 id="c{number}">{title.upper()}</h2>' for number, (title, _, _) in enumerate(CHAPTERS, 1)]
    for number, (_, body, _) in enumerate(CHAPTERS, 1):
        if number == 4:  # on the page of the one before
            pages["text/c3.xhtml"] = pages["text/c3.xhtml"].replace("</body>", f"{headings[3]}{body}</body>")
        else:
            pages[f"text/c{number}.xhtml"] = page(f"{headings[number - 1]}{body}")
    pages["text/c6.xhtml"] = pages["text/c6.xhtml"].replace("</body></html>", "<p>")  # a page that is not well-formed
    pages["notes.xhtml"] = page('<section epub:type="endnotes"><p id="n1">1. A note.</p></section>')
    pages["index.xhtml"] = page("<h1>Index</h1><p>bread, 11; cup, 2</p>")
    links = [
        f'<li><a href="text/c{3 if number == 4 else number}.xhtml#c{number}">{title}</a></li>'
        for number, (title, _, _) in enumerate(CHAPTERS, 1)
    ]
    pages["nav.xhtml"] = nav("".join([*links, '<li><a href="index.xhtml">Index</a></li>']))
    return write_epub(
        path, pages, extra={"cover.jpg": cover}, properties={"nav.xhtml": "nav", "cover.jpg": "cover-image"},
        metadata="<dc:title>Twelve Days</dc:title><dc:creator>A. N. Author</dc:creator><dc:language>en</dc:language>",
    )  # fmt: skip


@pytest.mark.timeout(1_200)
def test_a_book_of_twelve_chapters_by_two_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cover, out = jpeg(), tmp_path / "book.m4b"
    book = write_book(tmp_path / "book.epub", cover)
    with FakeApi() as api:
        pods = [{"RUNPOD_POD_ID": f"worker-{number}"} for number in (1, 2)]
        with (
            WorkerProcess(tmp_path, api, overrides=pods[0]) as one,
            WorkerProcess(tmp_path, api, overrides=pods[1]) as two,
        ):
            one.ready()
            two.ready()
            monkeypatch.setenv("RUNPOD_ENDPOINT_BASE_URL", api.url.removesuffix("/ep"))
            monkeypatch.setenv("RUNPOD_API_KEY", "key")
            command = [
                str(book),
                "--endpoint",
                "ep",
                "--voice",
                "joe",
                "--quality",
                "fast",
                "--jobs",
                "4",
                "--captions",
            ]
            assert main([*command, "--out", str(out), "--yes"]) == 0
            assert all("Finished" in worker.log for worker in (one, two)), "each spoke a part"

    with av.open(str(out)) as container:
        marks = container.chapters()
    assert [mark["metadata"]["title"] for mark in marks] == [title for title, _, _ in CHAPTERS]
    audiobook = MP4(out)
    assert [mark.start for mark in audiobook.chapters] == pytest.approx([mark["start"] / 1_000 for mark in marks])
    assert (audiobook["\xa9nam"], audiobook["\xa9ART"]) == (["Twelve Days"], ["A. N. Author"])
    assert bytes(audiobook["covr"][0]) == cover
    assert audiobook.info.length == pytest.approx(marks[-1]["end"] / 1_000, abs=0.05)

    samples = decode(out.read_bytes())
    heard = [transcribe(samples[mark["start"] * 24 : mark["end"] * 24], RATE) for mark in marks]
    written = [f"{title}. {text}" for title, _, text in CHAPTERS]
    error_rate = word_error_rate(written, heard)
    print(f"word error rate {error_rate:.3f}", *zip(written, heard, strict=True), sep="\n")
    assert error_rate <= MAX_ERROR_RATE, heard
    captions = out.with_suffix(".srt").read_text()
    assert words(re.sub(r"(?m)^\d+$|^.*-->.*$", "", captions)) == words(" ".join(written))
