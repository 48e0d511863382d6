"""scripts/audiobook/pages.py: what is read of a page, and what is not."""

from __future__ import annotations

import pytest

from scripts.audiobook.markup import parse_document
from scripts.audiobook.model import Block, ReadOptions
from scripts.audiobook.pages import read_page
from tests.audiobook.epubs import page


def blocks(body: str, options: ReadOptions = ReadOptions()) -> list[Block]:  # noqa: B008 - frozen
    root = parse_document(page(body).encode())
    assert root is not None
    return read_page(root, options, "en").blocks


def texts(body: str, options: ReadOptions = ReadOptions()) -> list[str]:  # noqa: B008 - frozen
    return [block.text if block.kind != "break" else "***" for block in blocks(body, options)]


@pytest.mark.parametrize(
    ("body", "read"),
    [
        # Text.
        ("<p>One\n two&nbsp;three.</p> <p>&amp; &#8220;p&rdquo; &mdash; x.</p>", ["One two three.", "& “p” — x."]),
        ("<p>ex&shy;tra\u00ador\u200bdinary</p>", ["extraordinary"]),
        ("<p>A line,<br/>and another.</p>", ["A line,\nand another."]),
        ("<div>Loose <p>Inside.</p> behind</div>", ["Loose", "Inside.", "behind"]),
        ("<pre>Roses are red,\n  violets blue.</pre>", ["Roses are red,\nviolets blue."]),
        ("<p>He <q>said</q> so.</p>", ["He “said” so."]),
        ("<blockquote><p>Quoted.</p></blockquote>", ["Quoted."]),
        # Initials and small capitals.
        ('<p><span class="dropcap">O</span>nce upon a time</p>', ["Once upon a time"]),
        ('<p><span class="drop">O</span><span class="smcap">NCE UPON</span> a time</p>', ["Once upon a time"]),
        ('<p>T<small>HE END</small> came</p>', ["The end came"]),
        ('<p><img class="initial" src="o.jpg" alt="O"/>nce upon a time</p>', ["Once upon a time"]),
        ('<p>At <span class="small-caps">NASA</span> they met</p>', ["At NASA they met"]),
        # Lists and tables.
        ("<ol start='3'><li>Salt</li><li><p>Pepper</p></li></ol>", ["3. Salt", "4. Pepper"]),
        ('<ol><li value="7">A</li><li>B</li><li value=" 2x"><p>C</p></li></ol>', ["7. A", "8. B", "2. C"]),
        ("<ol start='-1'><li>Salt</li><li>Pepper</li></ol>", ["-1. Salt", "0. Pepper"]),
        ("<ol start='²'><li value='²'>Salt</li></ol>", ["1. Salt"]),
        (f"<ol start='{'9' * 5_000}'><li value='{'9' * 5_000}'>Salt</li></ol>", ["1. Salt"]),
        ("<ul><li>Salt<ul><li>coarse</li></ul></li></ul>", ["Salt", "coarse"]),
        ("<dl><dt>Salt</dt><dd>White.</dd></dl>", ["Salt", "White."]),
        (
            "<table><caption>Ages</caption><tr><th>Name</th><th>Age</th></tr><tr><td>Ann</td><td>5</td></tr></table>",
            ["Ages", "Name, Age.", "Ann, 5."],
        ),
        ("<table><tr><td><p>Only</p><p>layout.</p></td></tr></table>", ["Only", "layout."]),
        # Breaks between scenes.
        ("<p>One.</p><hr/><p>Two.</p>", ["One.", "***", "Two."]),
        ("<p>One.</p><p>* * *</p><hr/><p>Two.</p>", ["One.", "***", "Two."]),
        # Notes and what refers to them.
        ('<p>Word<a epub:type="noteref" href="#n1">1</a>.</p>', ["Word."]),
        ('<p>Word<sup><a href="notes.xhtml#n1">12</a></sup>.</p>', ["Word."]),
        ('<p>Word<a href="#n1"><sup>*</sup></a>.</p>', ["Word."]),
        ('<p>Word<a href="#fn1" id="fnref1">[1]</a>.</p>', ["Word."]),
        ("<p>Word<sup>3</sup>.</p>", ["Word."]),
        ('<p>See <a href="#c2">chapter 2</a> and <a href="#x">5</a>.</p>', ["See chapter 2 and 5."]),
        ('<aside epub:type="footnote" id="n1"><p>A note.</p></aside><p>Text.</p>', ["Text."]),
        ('<section role="doc-endnotes"><p>Notes.</p></section><p>Text.</p>', ["Text."]),
        ('<div class="footnote"><p>Note.</p></div><p id="fn2">Note.</p><p>Text.</p>', ["Text."]),
        # Numbers above and below the line.
        ("<p>x<sup>2</sup> and 10<sup>3</sup> on the 5<sup>th</sup></p>", ["x² and 10³ on the 5th"]),
        ("<p>H<sub>2</sub>O</p>", ["H2O"]),
        # What is not visible, and what is not text.
        ('<p hidden="">No.</p><p style="display: none">No.</p><p aria-hidden="true">No.</p><p>Yes.</p>', ["Yes."]),
        ('<p>One<span class="pagenum">[Pg 12]</span> two<span epub:type="pagebreak">13</span>.</p>', ["One two."]),
        ("<script>var a = 1;</script><style>p {}</style><svg><text>x</text></svg><p>Yes.</p>", ["Yes."]),
        ("<p><ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby>字</p>", ["漢字"]),
        ("<figure><img src='a.jpg' alt='A cat'/><figcaption>My cat.</figcaption></figure>", ["My cat."]),
        ('<p>Let <math alttext="a equals b"><mi>a</mi></math> hold.</p>', ["Let a equals b hold."]),
        # A part of the page that is no part of the text.
        ('<section epub:type="toc"><p>List</p></section><section epub:type="titlepage"/><p>Text.</p>', ["Text."]),
    ],
)  # fmt: skip
def test_what_is_read(body: str, read: list[str]) -> None:
    assert texts(body) == read


def test_headings_have_their_level() -> None:
    found = blocks('<h1>Part <br/>One</h1><h3><span>A</span>b</h3><div role="heading" aria-level="4">C</div><p>T</p>')
    assert [(block.kind, block.text, block.level) for block in found] == [
        ("heading", "Part\nOne", 1), ("heading", "Ab", 3), ("heading", "C", 4), ("text", "T", 0)
    ]  # fmt: skip


@pytest.mark.parametrize(("level", "read"), [("3", 3), ("0", 2), ("-1", 2), ("x", 2), ("²", 2), ("9" * 5_000, 2)])
def test_the_level_of_a_heading_by_its_role(level: str, read: int) -> None:
    [heading] = blocks(f'<div role="heading" aria-level="{level}">C</div>')
    assert heading.level == read


def test_a_group_is_one_heading() -> None:
    found = blocks('<hgroup><h3 epub:type="ordinal">IV</h3><p epub:type="title">The Sign</p></hgroup><p>T</p>')
    assert [(block.kind, block.text, block.level) for block in found] == [
        ("heading", "IV", 3), ("heading", "The Sign", 3), ("text", "T", 0)
    ]  # fmt: skip


def test_another_language_is_noted() -> None:
    found = blocks('<p lang="de">Guten Tag.</p><p xml:lang="en-US">Good day.</p><div lang="fr"><p>Bonjour.</p></div>')
    assert [block.language for block in found] == ["de", None, "fr"]


def test_options() -> None:
    table = "<table><tr><td>A</td><td>B</td></tr></table>"
    body = f'<img src="a.jpg" alt="A cat"/>{table}<section epub:type="toc">List</section>'
    assert texts(body) == ["A, B."]
    assert texts(body, ReadOptions(images=True, tables=False, matter=True)) == ["A cat.", "List"]


def test_links_and_what_is_left_out_are_counted() -> None:
    root = parse_document(page('<p><a href="#a">One</a> and <a href="#b">two</a></p><math><mi>x</mi></math>').encode())
    assert root is not None
    found = read_page(root, ReadOptions())
    assert (found.links, found.linked_chars, found.n_formulas_left_out) == (2, 6, 1)


def test_anchors_lead_to_the_block_that_they_are_in() -> None:
    root = parse_document(
        page('<p id="a">One</p><a id="b"/><p>Two <a name="c"/>more</p><div id="d"><h2>Three</h2></div>').encode()
    )
    assert root is not None
    assert read_page(root, ReadOptions()).anchors == {"a": 0, "b": 1, "c": 1, "d": 2}
