"""From a written text to what is spoken: passages, pauses, languages, and the places of every word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.text.markup.pronunciations import Pronunciation
from f5_worker.text.markup.script import ScriptOptions, read_script
from f5_worker.text.normalize import normalize
from f5_worker.text.reading import Reading, ReadingOptions, SpokenPassage, read, read_line, read_passages
from f5_worker.text.traits import TextTraits


def spoken(text: str, **options: object) -> str:
    return " | ".join(part.text.text for part in read(text, None, ReadingOptions(**options)).passages)  # type: ignore[arg-type]


def pauses(reading: Reading) -> list[float | None]:
    return [reading.lead_s, *(part.pause_s for part in reading.passages)]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Two to the power of ten: 2^10 is 1024.", "two to the power of ten is one thousand and twenty four."),
        ("6.02 × 10^23", "times ten to the power of twenty three"),
        ("You&#39;ve just won the game, Tom &amp; Jerry.", "You've just won the game, Tom and Jerry."),
        ("The ﬁrst ﬂoor oﬃce is on ﬁre.", "The first floor office is on fire."),
        ("𝗕𝗿𝗲𝗮𝗸𝗶𝗻𝗴 𝗻𝗲𝘄𝘀 from the north today.", "Breaking news from the north today."),
        ("We meet you ❤️ tonight in the garden ☀️, see you.", "We meet you tonight in the garden, see you."),
        ("5🍎3", "five three"),
        ("### The weather today\nIt is cold.", "The weather today\nIt is cold."),
        ("Hello. <sub alias='World Wide Web'>WWW</sub>!", "Hello. World Wide Web!"),
        ("Hello there. [pause:1.5s] My friend.", "Hello there. | My friend."),
    ],
)
def test_what_people_paste(written: str, said: str) -> None:
    assert said in spoken(written)


def test_plain_prose_is_read_as_before() -> None:
    text = "The old keeper, who's 40, said: “No.”\n\nHe meant it! On 3/4/2021 it cost $5."
    assert spoken(text) == normalize(text).text
    assert read_line(text, ReadingOptions()).text == normalize(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[pause:1s]One.[pause:2s][pause:0.5s]Two.[pause:3s]", [1.0, 2.5, 3.0]),
        ("One. [pause:1s] ❤️ ... [pause:2s]", [0.0, 3.0]),
        ("[pause:1s] ! [pause:1s] [voice:a] One.", [2.0, None]),
        ("One.", [0.0, None]),
    ],
)
def test_pauses_around_what_is_not_spoken_add_up(text: str, expected: list[float | None]) -> None:
    assert pauses(read(text)) == expected


def test_a_passage_ends_as_its_text_does() -> None:
    reading = read("One, [voice:a]two[/voice] three.\n[voice:b]Four. [/voice]Five")
    assert [part.end_rank for part in reading.passages] == [2, 3, 0, 1, 0]  # clause, space, line, sentence, the end


def test_each_voice_has_its_own_options() -> None:
    script = read_script("It costs 5. [voice:otto]Es kostet 5! Xiaomi")
    german = ReadingOptions(language="de", pronunciations=(Pronunciation("Xiaomi", "schaumi"),))
    reading = read_passages(script, lambda voice: german if voice == "otto" else ReadingOptions())
    assert [(part.text.text, part.language) for part in reading.passages] == [
        ("It costs five.", "en"),
        ("Es kostet fünf! schaumi", "de"),
    ]


def test_a_models_traits_change_what_it_reads() -> None:
    text = "THE MORNING LIGHT CAME AT 5 PM. The BBC said so."
    traits = TextTraits(lower_capitals=True, spell_letters=True)
    assert spoken(text, traits=traits) == "The morning light came at five pee em. The bee bee see said so."
    assert spoken("DAS IST DAS ZDF. Das ZDF.", traits=traits, language="de") == "Das ist das ZDF. Das ZDF."
    assert spoken(text).startswith("THE MORNING LIGHT CAME AT five PM.")


PIECES = st.sampled_from(
    [
        *(
            "word",
            "Mr. Smith",
            "THE BBC",
            "P M",
            " ",
            " ",
            "\n",
            ". ",
            "! ",
            "5",
            "$5",
            "3.5 km",
            "2^10",
            "½",
            "10:30",
            "①",
            "Ⅳ",
        ),
        *(
            "ﬁre",
            "𝗕𝗼𝗹𝗱",
            "❤️",
            "5️⃣",
            "\ufeff",
            "e\u0301",
            "**bold**",
            "*smiles* ",
            "[laughs]",
            "# ",
            "- ",
            "`x`",
            "[a](http://b.c)",
        ),
        *(
            "[pause:1s]",
            "[voice:a]",
            "[/voice]",
            "<b>x</b>",
            "<sub alias='in 5 words'>W</sub>",
            "&amp;",
            "&#39;",
            "|",
            "好",
            "Xiaomi",
        ),
    ]
)
ALL_CHANGES = ReadingOptions(
    pronunciations=(Pronunciation("Xiaomi", "shao mee"), Pronunciation("word", "")),
    traits=TextTraits(lower_capitals=True, spell_letters=True),
)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_every_spoken_character_is_from_its_passage_and_in_order(text: str) -> None:
    script = read_script(text)
    reading = read_passages(script, lambda voice: ALL_CHANGES)
    last = 0
    for part in reading.passages:
        assert len(part.text.text) == len(part.text.origin)
        begins = [begin for begin, _ in part.text.origin]
        assert begins == sorted(begins)
        assert begins[0] >= last
        ends = [end for _, end in part.text.origin]
        last = max(ends)
        assert last <= len(script.text.text)
        begin, end = script.written(part.text.origin)
        assert 0 <= begin <= end <= len(text)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_letters_that_are_written_are_spoken_once(text: str) -> None:
    """Every letter of the shown text is in the origin of some spoken character, unless it is no word's."""
    script = read_script(text, ScriptOptions(directions="speak"))
    reading = read_passages(script, lambda voice: ReadingOptions(expand=False))
    covered = {at for part in reading.passages for begin, end in part.text.origin for at in range(begin, end)}
    unread = {at for at, char in enumerate(script.text.text) if char.isalpha() and at not in covered}
    said = {at for part in script.passages for begin, end, _ in part.said for at in range(begin, end)}
    assert unread <= said


def test_a_line_without_markup_is_one_passage() -> None:
    line = read_line("[pause:x] *Hello* 5", ReadingOptions())
    assert isinstance(line, SpokenPassage)
    assert line.text.text == "[pause:x] *Hello* five"
    assert line.pause_s is None
