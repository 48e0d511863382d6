"""Chunks lose nothing, stay within the budget, and end at the best place, never inside a word."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.text.chunk import MIN_BUDGET_BYTES, PAUSES_S, byte_budget, chunk, chunk_sentences, origins
from f5_worker.text.normalize import has_speech, normalize
from f5_worker.text.spans import SourceMappedText


def texts(text: str, max_bytes: int) -> list[str]:
    return [part.text for part in chunk(normalize(text, expand=False).text, max_bytes)]


def test_a_short_text_is_one_chunk() -> None:
    assert texts("Hello there. How are you?", 100) == ["Hello there. How are you?"]


def test_sentences_are_packed_up_to_the_budget() -> None:
    assert texts("One two three. Four five six. Seven eight nine. Ten.", 32) == [
        "One two three. Four five six.",
        "Seven eight nine. Ten.",
    ]


def test_a_long_sentence_is_cut_at_clauses_then_at_spaces() -> None:
    assert texts("He came in, sat down at the table, and said nothing at all.", 30) == [
        "He came in,",
        "sat down at the table,",
        "and said nothing at all.",
    ]
    assert texts("one two three four five six seven", 14) == ["one two three", "four five six", "seven"]


@pytest.mark.parametrize(
    "text",
    [
        "Mr. Smith met Dr. Jones. They spoke.",
        "It costs 3.5 dollars. Really.",
        "The U.S. Army came. It left.",
        "J. R. R. Tolkien wrote. He did.",
        "Use e.g. this one. Or that.",
    ],
)
def test_full_stops_that_end_nothing(text: str) -> None:
    first, second = text.rsplit(". ", 1)
    assert texts(text, len(first) + 1) == [first + ".", second]


def test_closing_quotes_and_brackets_stay_with_their_sentence() -> None:
    assert texts('"Come here!" She (my aunt.) came. Then "why?" he said.', 34) == [
        '"Come here!" She (my aunt.) came.',
        'Then "why?" he said.',
    ]


def test_chinese_is_cut_at_its_own_signs_and_between_characters() -> None:
    assert texts("今天天气很好。我们去公园玩吧！", 24) == ["今天天气很好。", "我们去公园玩吧！"]
    chunks = texts("今天天气很好我们去公园玩吧明天再来", 24)
    assert "".join(chunks) == "今天天气很好我们去公园玩吧明天再来"
    assert all(len(part.encode()) <= 24 for part in chunks)


def test_only_a_word_longer_than_the_budget_is_cut() -> None:
    assert texts("a " + "x" * 90 + " b", 40) == ["a " + "x" * 38, "x" * 40, "x" * 12 + " b"]


def test_combining_marks_stay_with_their_letter() -> None:
    chunks = texts("q\u0303" * 40, 40)
    assert all(part.startswith("q") and part.endswith("\u0303") for part in chunks)


def test_the_last_chunk_is_not_tiny() -> None:
    chunks = texts("One two three four. Five six seven eight. Nine ten. Yes.", 52)
    assert chunks == ["One two three four.", "Five six seven eight. Nine ten. Yes."]


def test_lone_punctuation_is_not_a_chunk() -> None:
    for text in ("Hello. - - - ... World.", "! Hello. World. ?", "... one, two, three"):
        for budget in (8, 12, 100):
            assert all(has_speech(part) for part in texts(text, budget))


def test_the_pause_depends_on_what_ends_the_chunk() -> None:
    chunks = chunk(
        normalize("The first line.\nThe second, with a clause that goes on. A third one.", expand=False).text, 26
    )
    assert [(part.text, part.pause_s) for part in chunks] == [
        ("The first line.", PAUSES_S[0]),
        ("The second, with a clause", PAUSES_S[3]),
        ("that goes on. A third one.", PAUSES_S[0]),
    ]


def test_a_sentence_does_not_begin_at_the_end_of_a_chunk() -> None:
    text = "This is the first of the sentences. And here is a second one, which is far too long for what is left."
    assert texts(text, 66)[0] == "This is the first of the sentences."


def test_a_title_is_read_with_a_full_stop() -> None:
    assert texts("The Title\n\nThe text goes on.", 100) == ["The Title. The text goes on."]


def test_the_budget_is_upstreams() -> None:
    assert byte_budget(80, 5.0, 1.0) == int(80 / 5 * 17)
    assert byte_budget(80, 5.0, 0.5) == int(80 / 5 * 17 * 0.5)
    assert byte_budget(10, 21.9, 1.0) == MIN_BUDGET_BYTES
    assert byte_budget(10, 30.0, 1.0) == MIN_BUDGET_BYTES


prose = st.text(alphabet="ab cd.e,f! ?\n;今天。é'\"-", max_size=300)


@given(prose.map(lambda text: normalize(text, expand=False).text).filter(has_speech), st.integers(8, 80))
def test_all_words_in_order_within_the_budget(text: str, max_bytes: int) -> None:
    chunks = chunk(text, max_bytes)
    letters = [c for c in text if c.isalnum()]
    assert [c for part in chunks for c in part.text if c.isalnum()] == letters
    assert all(len(part.text.encode()) <= max_bytes for part in chunks)
    assert all(has_speech(part.text) for part in chunks)


@given(st.lists(st.text("abcdefg", min_size=1, max_size=8), min_size=1, max_size=40), st.integers(10, 60))
def test_no_word_is_ever_cut(words: list[str], max_bytes: int) -> None:
    chunks = texts(" ".join(words), max_bytes)
    assert [word for part in chunks for word in part.split()] == words


@pytest.mark.slow
def test_hostile_text_takes_linear_time() -> None:
    for text in ("." * 20_000 + "a", "a" * 20_000, "a. " * 6_000, "(" * 20_000 + "a", "a,,,, " * 3_000, "Mr. " * 5_000):
        assert chunk(normalize(text, expand=False).text, 120)


@pytest.mark.parametrize(
    ("text", "max_bytes"),
    [
        ("we sell salt & pepper & oil at 5 € each and 3 % off + tax for all", 30),
        ("It costs $ 5 and £ 6 or ¥ 7 today", 12),
        ("one two three - - - four five six", 14),
        ("क्षत्रिय" * 10, 40),
        ("ที่นี่" * 12, 40),
    ],
)
def test_signs_and_vowel_marks_are_kept_when_a_sentence_is_cut(text: str, max_bytes: int) -> None:
    assert "".join("".join(texts(text, max_bytes)).split()) == "".join(text.split())


@given(prose, st.integers(40, 120), st.none() | st.integers(20, 60))
def test_every_character_of_a_chunk_has_its_position(text: str, max_bytes: int, first_bytes: int | None) -> None:
    read = normalize(text, expand=False)
    if not has_speech(read.text):
        return
    chunks = chunk(read.text, max_bytes, first_bytes)
    positions = [position for part in chunks for position in part.positions]
    assert positions == sorted(positions)
    said = [(char, position) for part in chunks for char, position in zip(part.text, part.positions, strict=True)]
    letters = [(char, position) for char, position in said if char.isalnum()]
    assert letters == [(char, at) for at, char in enumerate(read.text) if char.isalnum()]
    for part in chunks:
        assert len(origins(part, read)) == len(part.text)


STORY = "When the rain stopped, we went out to see the garden. It was full of birds, and of light. " * 4


def test_a_short_first_chunk_ends_at_a_clause() -> None:
    chunks = chunk(STORY.strip(), 200, 30)
    assert chunks[0].text == "When the rain stopped,"
    assert chunks[0].pause_s == PAUSES_S[2]
    assert " ".join(part.text for part in chunks) == STORY.strip()
    assert len(chunks[1].text) > 60


def test_a_first_chunk_is_never_cut_inside_a_clause() -> None:
    assert chunk(STORY.strip(), 200, 20)[0].text == "When the rain stopped,"
    one = "A sentence that goes on and on without any comma until it is over."
    assert [part.text for part in chunk(one, 200, 20)] == [one]


def test_a_short_text_is_left_whole() -> None:
    assert [part.text for part in chunk("Yes, of course.", 200, 20)] == ["Yes, of course."]


@pytest.mark.slow
def test_mixed_marks_take_linear_time() -> None:
    for marks in (".!" * 10_000, ",;" * 10_000, '."' * 10_000):
        chunk("a " + marks + " b", 120)


@given(
    st.lists(
        st.sampled_from(["One. ", "Two and three, four! ", "5 % ", "A line\n", "…", "word " * 12 + ". "]), max_size=40
    ),
    st.sampled_from([None, 30]),
    st.booleans(),
)
def test_chunks_of_sentences_that_come_one_by_one_are_those_of_the_whole(
    sentences: list[str], first_bytes: int | None, one_sentence: bool
) -> None:
    whole = SourceMappedText.of("".join(sentences))
    if not has_speech(whole.text):
        return
    ends = list(accumulate(map(len, sentences)))
    parts = [whole.part(begin, end) for begin, end in pairwise([0, *ends])]
    wanted = chunk(whole.text, 60, first_bytes, one_sentence=one_sentence)
    found = list(chunk_sentences(parts, 60, first_bytes, one_sentence=one_sentence))
    assert [(piece.text, piece.pause_s, places) for piece, places in found] == [
        (piece.text, piece.pause_s, origins(piece, whole)) for piece in wanted
    ]
