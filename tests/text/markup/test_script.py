"""A text as a script: markup, tags, directives, dialogue; what captions show and who speaks it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.errors import InvalidInput
from f5_worker.text.markup.script import Passage, Script, ScriptOptions, read_script


def shown(text: str, **options: object) -> str:
    return read_script(text, ScriptOptions(**options)).text.text  # type: ignore[arg-type]


def passages(script: Script) -> list[tuple[str, str | None, float | None]]:
    """Return words, voice and pause of each passage that has any."""
    found = [(script.text.text[part.begin : part.end].strip(), part.voice, part.pause_s) for part in script.passages]
    return [part for part in found if part[0] or part[2] is not None]


# -- Markdown ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("### The weather today\nIt is cold.", "The weather today\nIt is cold."),
        ("# Title #\nsmall letters", "Title\n\nsmall letters"),
        ("Title\n=====\nText", "Title\n\nText"),
        ("One\n\n---\n\nTwo\n* * *\n___", "One\n\n\n\nTwo\n\n"),
        ("> quoted\n> > twice", "quoted\ntwice"),
        ("- apples\n- pears", "apples\n\npears"),
        ("Buy:\n* apples\n* pears\n\n1. One\n2. Two", "Buy:\n\napples\n\npears\n\n1. One\n2. Two"),
        ("• one\n- [x] done\n- [ ] open", "one\n\ndone\n\nopen"),
        ('[a link](https://x.org/a_(b) "title") and ![a picture](x.png)', "a link and a picture"),
        ("[text][1] and [more][]\n\n[1]: https://x.org\n[more]: http://y.org", "text and more\n\n\n"),
        ("Noted[^1].\n\n[^1]: The note.", "Noted.\n\nThe note."),
        ("<https://x.org/a_b> <me@x.org>", "https://x.org/a_b me@x.org"),
        ("**Bold**, *it*, ***both***, __b__, _i_, ~~old~~, ==new==", "Bold, it, both, b, i, old, new"),
        ("**bold *it*** and un**believ**able", "bold it and unbelievable"),
        ("`code` and ``more code``", "code and more code"),
        (r"\*not\* \# \_this\_", "*not* # _this_"),
        ("| Name | Age |\n|---|:-:|\n| Ann | 5 |\n| Bob | |\n\nAfter.", "Name, Age.\n\nAnn, 5.\nBob.\n\nAfter."),
        ("Name | Age\n--- | ---\nAnn | 5", "Name, Age.\n\nAnn, 5."),
    ],
)
def test_markdown(written: str, read: str) -> None:
    assert shown(written) == read


@pytest.mark.parametrize(
    "text",
    [
        "1986. A great year.",
        "    An indented paragraph of a novel.",
        "2*3*4, 5 * 6, 2**10 and snake_case_name",
        "x==5, y==6 and a = b == c",
        "5* hotel, f*ck, footnote*",
        "- 5 degrees outside",
        "+ 3 points",
        "#hashtag and C# or issue #5",
        "a | b, x || y",
        "[1] and [the king] said [sic] so",
        "https://x.org/a_b_c?d=*e* is *",
        "He said: 5 < 6 and 7 > 3. a<b and c>d",
        "Ann: no voices are named.",
        "AT&T [a](b c) ~5 = 6",
        "He walked -- slowly -- home.",
        "100% (sure), \"quoted\" 'so'...",
    ],
)
def test_plain_prose_stays_as_it_is(text: str) -> None:
    script = read_script(text)
    assert script.text.text == text
    assert script.passages == (Passage(0, len(text)),)
    assert script.warnings == ()
    assert script.text.origin == tuple((at, at + 1) for at in range(len(text)))


def test_code_is_left_out_with_a_warning() -> None:
    script = read_script("Run this:\n```python\nprint('x')\n```\nDone.\n~~~\nmore\n~~~")
    assert script.text.text.split() == ["Run", "this:", "Done."]
    assert script.warnings == ("2 code blocks were not spoken",)
    assert shown("```text\nHello there.\n```").strip() == "Hello there."


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("<think>Let me *see*. <b>x</b></think>Answer.", "Answer."),
        ("First <think>a<think>b</think>c</think> then", "First \n\n then"),
        ("my thoughts\n</think>\nAnswer.", "\nAnswer."),
        ("Answer. <think>cut off", "Answer. \n\n"),
        ("<|im_start|>Hi<|im_end|>", " Hi "),
        ("a<!-- comment -->b<script>x()</script>c", "a b\n\nc"),
    ],
)
def test_thoughts_are_never_spoken(written: str, read: str) -> None:
    script = read_script(written)
    assert script.text.text == read
    assert script.warnings == ()


def test_plain_markup_is_read_as_it_is_written() -> None:
    text = "# *smiles* [pause:1s] <b>x</b> &amp;"
    script = read_script(text, ScriptOptions(markup="plain"))
    assert script.text.text == "# *smiles* [pause:1s] <b>x</b> &"
    assert len(script.passages) == 1


# -- tags -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("<speak>Hello <b>there</b>.</speak>", "Hello there."),
        ("<s>One.</s><s>Two.</s>", "One. Two. "),
        ("&lt;b&gt;Hi&lt;/b&gt; 1 &lt; 2", "Hi 1 < 2"),
        ("<p>One</p><p>Two<br/>three</p>", "\n\nOne\n\n\n\nTwo\nthree\n\n"),
        ("<td>a</td><td>b</td>", "a, b, "),
        ("H<sub>2</sub>O, x<sup>2</sup>, 5<sup>th</sup>", "H2O, x^2, 5th"),
        ("Dear <name>, hello", "Dear name, hello"),
        ("<?xml version='1.0'?><speak version=\"1.1\" xmlns='x'>Hi</speak>", " Hi"),
    ],
)
def test_tags(written: str, read: str) -> None:
    assert shown(written) == read


def test_tags_without_effect_are_named() -> None:
    script = read_script(
        "<prosody rate='slow'>Slow</prosody> <foo bar='1'>text</foo> <amazon:effect name='x'>y</amazon:effect>"
    )
    assert script.text.text == "Slow text y"
    assert script.warnings == ("tags without effect: <prosody>, <foo>, <amazon:effect>; the words in them are spoken",)


@pytest.mark.parametrize(
    ("tag", "seconds"),
    [
        ('<break time="2s"/>', 2.0),
        ("<break time='500ms'>", 0.5),
        ("<BREAK time=+1.25s />", 1.25),
        ("<break/>", 0.75),
        ('<break strength="x-strong"/>', 1.25),
        ('<break strength="none"/>', 0.0),
        ("[pause:1.5s]", 1.5),
        ("[Pause: 250 ms]", 0.25),
        ("[pause:2]", 2.0),
        ("[break=0,5s]", 0.5),
        ("[pause:0s]", 0.0),
        ("[pause:60s]", 60.0),
    ],
)
def test_pauses(tag: str, seconds: float) -> None:
    assert passages(read_script(f"Hello. {tag} There.")) == [("Hello.", None, seconds), ("There.", None, None)]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("[pause:60.1s]", "a [pause:...] in the text has 60.1 s; write [pause:1.5s], with 0..60 s"),
        ("[pause:soon]", "has no number of seconds"),
        ("[pause:-1s]", "has no number of seconds"),
        ('<break time="61s"/>', "a <break> in the text has 61 s"),
        ('<break time="long"/>', "has no time"),
        ('<break strength="huge"/>', "none of none, x-weak, weak"),
        ("[voice: ]", "[voice:] has no name"),
        ('<phoneme alphabet="ipa" ph="x">y</phoneme>', '<phoneme> cannot be spoken: .* {"written": "word", "spoken"'),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_hint(written: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_script(f"Hello {written} there")
    pattern, _, rest = words.partition(".*")
    assert pattern in str(caught.value)
    assert rest.strip() in str(caught.value)


def test_an_alias_is_said_instead_of_its_word() -> None:
    script = read_script('The <sub alias="World &quot;Wide&quot; Web">WWW</sub> and H<sub>2</sub>.')
    assert script.text.text == "The WWW and H2."
    assert script.passages[0].said == ((4, 7, 'World "Wide" Web'),)
    nested = read_script('<sub alias="outer">a<sub alias="inner">b</sub>c</sub>d</sub>')
    assert nested.text.text == "abcd"
    assert nested.passages[0].said == ((0, 3, "outer"),)


# -- voices -----------------------------------------------------------------------------------------------------------


def test_voices_are_named_in_the_text() -> None:
    script = read_script(
        "Hi. [voice:ann]Hello [voice: bob ]there[/voice] again[/voice], <voice name='eve'>you</voice>."
    )
    assert passages(script) == [
        ("Hi.", None, None),
        ("Hello", "ann", None),
        ("there", "bob", None),
        ("again", "ann", None),
        (",", None, None),
        ("you", "eve", None),
        (".", None, None),
    ]
    assert script.voices == [None, "ann", "bob", "eve"]


def test_a_dialogue_has_a_voice_for_each_speaker() -> None:
    text = "**Ann:** Hello Bob.\n**bob**: Hi! [pause:1s] How\nare you?\n\nThey laughed.\nAnn： Bye."
    script = read_script(text, ScriptOptions(voices={"Ann": "a", "Bob": "b"}))
    assert script.text.text == "Hello Bob.\nHi!  How\nare you?\n\nThey laughed.\nBye."
    assert passages(script) == [
        ("Hello Bob.", "a", None),
        ("Hi!", "b", 1.0),
        ("How\nare you?", "b", None),
        ("They laughed.", None, None),
        ("Bye.", "a", None),
    ]
    assert [part.speaker for part in script.passages if part.voice] == ["Ann", "Bob", "Bob", "Ann"]


def test_a_named_voice_speaks_until_the_next_turn() -> None:
    script = read_script("Ann: One [voice:Bob]two\nAnn: three", ScriptOptions(voices={"Ann": "a", "Bob": "b"}))
    assert passages(script) == [("One", "a", None), ("two", "b", None), ("three", "a", None)]


def test_a_speaker_without_a_line_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="voices names the speaker 'Carl', who has no line"):
        read_script("Ann: Hello.", ScriptOptions(voices={"Ann": "a", "Carl": "c"}))


# -- stage directions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("*smiles* Hello there.", "Hello there."),
        ("*coughs* *sneezes* Hello.", "Hello."),
        ("Hello. [laughs] There.", "Hello. There."),
        ("Oh [laughs], well.", "Oh, well."),
        ("*looks around nervously* Who is there?", "Who is there?"),
        ("“No.” *walks over to the window* “It is late.”", "“No.” “It is late.”"),
        ("(sighs) Yes.", "Yes."),
        ("[whispering softly] Come here. [door slams]", "Come here."),
        ("Hello <laugh> you <sob>", "Hello you"),
        ("*lacht* Ja. [rires] Oui. *sonríe* Sí.", "Ja. Oui. Sí."),
        ("**sighs** Fine.", "Fine."),
        ("*He smiles.* Hello. *She laughs out loud* Well.", "Hello. Well."),
        ("Well, *laughs*, yes. *smiles* hello", "Well,, yes. hello"),
    ],
)
def test_stage_directions_are_skipped(written: str, read: str) -> None:
    script = read_script(written)
    assert script.text.text == read
    assert 'not spoken; directions: "speak" speaks them' in script.warnings[0]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("I *really* mean it. *Never* do that. *This* is it.", "I really mean it. Never do that. This is it."),
        ("*Perhaps* not. *perhaps* so. *always*", "Perhaps not. perhaps so. always"),
        ("He *laughs* at him. *Silence* is golden, *cats* too. They *beat* him.", ""),
        ("Dogs, *cats*, birds and (laughs included) all [1].", ""),
        ("He [the king] said: [he] comes [in 1990].", "He [the king] said: [he] comes [in 1990]."),
        ("The man (my uncle) left. (He smiled.)", "The man (my uncle) left. (He smiled.)"),
    ],
)
def test_emphasis_and_additions_are_no_directions(written: str, read: str) -> None:
    script = read_script(written)
    assert script.text.text == (read or written.replace("*", ""))
    assert script.warnings == ()


def test_stage_directions_are_spoken_when_asked_for() -> None:
    assert shown("*smiles* Hello. [laughs] (sighs) <laugh> Yes.", directions="speak") == (
        "smiles Hello. laughs (sighs) laugh Yes."
    )


# -- everything -------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *("word", "Two", "x", " ", " ", "\n", "\n\n", ". ", "! ", "- ", "* ", "*", "**", "_", "~~", "`", "```\n", "# "),
        *(
            "[",
            "]",
            "(",
            ")",
            "](http://x.y)",
            "[laughs]",
            "*smiles*",
            "[pause:1s]",
            "[voice:a]",
            "[/voice]",
            "|",
            "\n|-|-|\n",
        ),
        *(
            "<b>",
            "</b>",
            "<p>",
            "<sub alias='q'>",
            "</sub>",
            "<think>",
            "</think>",
            "<break/>",
            "<x y='1'>",
            "<",
            ">",
            "&amp;",
        ),
        *("Ann: ", "\nAnn: ", "\\", "> ", "❤️", "好", "\U000f0000", "\U000f0001"),
    ]
)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_passages_cover_the_text_once_and_in_order(text: str) -> None:
    script = read_script(text)
    assert script.passages[0].begin == 0
    assert script.passages[-1].end == len(script.text.text)
    for left, right in zip(script.passages, script.passages[1:], strict=False):
        assert left.begin <= left.end == right.begin
    for part in script.passages:
        assert all(part.begin <= begin <= end <= part.end for begin, end, _ in part.said)
    begins = [begin for begin, _ in script.text.origin]
    assert begins == sorted(begins)
    for char, (begin, end) in zip(script.text.text, script.text.origin, strict=True):
        assert 0 <= begin <= end <= len(text)
        assert not char.isalnum() or char in text[begin:end]
        assert not "\U000f0000" <= char <= "\U000ffffd"


HOSTILE = {
    "brackets": "[" * 10_000 + "]" * 10_000,
    "nested tags": "<p><b>" * 1_600 + "</b></p>" * 1_400,
    "open tags": '<a b="' * 3_300,
    "attributes": "<a " + "b=c " * 4_990 + ">",
    "thoughts": "<think>" * 2_800,
    "comments": "<!--" * 5_000,
    "links": "[a](" * 5_000,
    "stars": "*a_b" * 5_000,
    "rules": "- " * 9_999 + "x",
    "table": "|a|b|\n|---|---|\n" + "|a|b|\n" * 3_000,
    "rows": "|-" * 10_000,
    "fences": "```\n" * 5_000,
    "ticks": "`a" * 10_000,
    "quotes": ">" * 20_000,
    "pauses": "[pause:1s]" * 2_000,
    "aliases": "<sub alias='a'>" * 1_300,
    "directions": "*laughs* " * 2_200,
    "turns": "Ann: hi\n" * 2_500,
    "spaces": "Ann" + " " * 19_990,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_takes_linear_time(name: str) -> None:
    """A bound that only quadratic time exceeds, on any machine: the slowest of them takes 0.1 s."""
    voices = {"Ann": "a"} if name == "turns" else {}
    started = time.process_time()
    read_script(HOSTILE[name], ScriptOptions(voices=voices))
    assert time.process_time() - started < 2
