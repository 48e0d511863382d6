"""Characters: what people paste, and what is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.text.markup.characters import is_read, plain_characters, unescape_entities
from f5_worker.text.spans import SourceMappedText


def plain(text: str) -> str:
    return plain_characters(SourceMappedText.of(text)).text


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("The ﬁrst ﬂoor oﬃce", "The first floor office"),
        ("𝗕𝗿𝗲𝗮𝗸𝗶𝗻𝗴 𝓃ℯ𝓌𝓈 ℝ", "Breaking news R"),
        ("Ｆｕｌｌ ＡＢＣ１２", "Full ABC12"),
        ("ⓗⓘ 🅗🅘 🅷🅸 🄷🄸", "hi HI HI HI"),
        ("ᴛʜᴇ ʜᴏᴜsᴇ", "the house"),
        ("h̶e̶l̶l̶o̶ w̲o̲", "hello wo"),
        ("𝟓𝟎 ５ ٥", "50 5 ٥"),  # digits of another script are that script's
        ("5㎏ ㎞", "5kg km"),
        ("ŉ ĳ ſ", "ʼn ij s"),
        ("ｶﾞ ｱ", "ガ ア"),
        ("⽔", "水"),
    ],
)
def test_letters_in_disguise(written: str, read: str) -> None:
    assert plain(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("①First ②③", "1 First 2 3"),
        ("❶ ⓴ ⑴", "1 20 (1)"),
        ("Part Ⅳ, ⅩⅣ and ⅻ", "Part 4, 14 and 12"),
        ("aⅣb", "a 4 b"),
        ("H₂O", "H2O"),
        ("10²³ 10⁻³ x⁴ (a)⁵", "10^23 10^-3 x^4 (a)^5"),
        ("m² m/s² 5³ 1º", "m² m/s² 5^3 1º"),
        ("½ 2½ ¾x ⅔.", "1/2 2 1/2 3/4 x 2/3."),
        ("x²+y²", "x^2+y^2"),
    ],
)
def test_numbers_in_one_sign(written: str, read: str) -> None:
    assert plain(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("１２：３０ ５．５", "12:30 5.5"),
        ("５０％ ＄５", "50% $5"),
        ("好！！（是）。ＡＢ：", "好！！（是）。AB："),
        ("Wow‼ ⁉", "Wow!! !?"),
    ],
)
def test_wide_signs_between_numbers(written: str, read: str) -> None:
    assert plain(written) == read


@pytest.mark.parametrize(
    "written",
    [
        "Thai น้ำ, Lao ນໍ້າ, Tibetan བོད",
        "한국어 ㅋㅋㅋ",
        "می\u200cروم क्\u200dष",
        "20° ™ © № ℃ 5 % & 3 € + 1",
        "A plain sentence, with (signs): it's 1_000!",
        "café Ünïcödé Ελληνικά",
    ],
)
def test_other_writing_stays(written: str) -> None:
    assert plain(written) == written


@pytest.mark.parametrize("emoji", ["❤️", "☀️", "👩‍❤️‍👨", "👍🏽", "🇩🇪", "1️⃣", "#️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "ℹ️", "🅰️", "✓", "♥"])
def test_an_emoji_is_removed_whole(emoji: str) -> None:
    assert plain(f"before {emoji} after").replace("\u200d", "") == "before  after"
    assert plain(f"{emoji}") in ("", "\u200d", "\u200d\u200d")  # joiners on their own go with the rest of `normalize`


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("5🍎3", "5 3"),
        ("2^10", "2^10"),
        ("a^ ^b", "a b"),
        ("Hello👋there", "Hello there"),
        ("我❤你", "我你"),
        ("5️⃣3", "3"),
    ],
)
def test_what_is_removed_joins_nothing(written: str, read: str) -> None:
    assert plain(written) == read


@pytest.mark.parametrize(
    "hidden", ["\ufeff", "\u200b", "\u00ad", "\u202a", "\u202e", "\u2066", "\u2060", "\ufe0f", "\x07"]
)
def test_what_nothing_shows_leaves_no_trace(hidden: str) -> None:
    assert plain(f"mor{hidden}ning") == "morning"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("You&#39;ve Tom &amp; Jerry", "You've Tom & Jerry"),
        ("a&amp;#39;b &amp;amp; &nbsp;&lt;3 &#x41;", "a'b &  <3 A"),
        ("AT&T R&D; &unknown; &", "AT&T R&D; &unknown; &"),
    ],
)
def test_entities(written: str, read: str) -> None:
    assert unescape_entities(SourceMappedText.of(written)).text == read


MIXED = st.lists(
    st.sampled_from(
        [*"aB1 .é好ガ^²①Ⅳﬁ５：", "❤️", "👍🏽", "1️⃣", "🇩🇪", "\u0301", "\u0336", "\ufeff", "𝗕", "²³", "ｶﾞ", "\u200d"]
    )
).map("".join)


@given(MIXED)
def test_places_are_in_order_and_nothing_unread_is_left(text: str) -> None:
    read = plain_characters(SourceMappedText.of(text))
    assert len(read.text) == len(read.origin)
    assert [begin for begin, _ in read.origin] == sorted(begin for begin, _ in read.origin)
    assert all(is_read(char) or char == "^" for char in read.text)
    assert plain(read.text) == read.text
