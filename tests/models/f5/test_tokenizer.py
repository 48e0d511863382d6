"""Tokens and vocabularies; against upstream's own functions where the package is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.models.f5.tokenizer import Vocabulary, tokenize
from f5_worker.text.seed import segment_seed

EXAMPLES = [
    "Hello, world; it's a 'test' of \"quotes\".",
    "one,two three.four don't stop-and-go",
    "Prices: $3.50, 100% sure? (yes) [no] a/b c_d e+f #1 @home",
    "今天天气很好，我们去公园玩吧！",
    "一个不行，你好吗 and some English words。",
    "Mixed中文and英文text 3个apples",
    "Привет, мир! Как дела?",
    "Zoë naïve façade œuvre – fin…",
    "“curly” ‘quotes’ 日本語のテスト 한국어",
    "emoji 🙂 inside",
    "a",
    "",
    "  leading and trailing  ",
]


@pytest.fixture(scope="module")
def upstream() -> Callable[[str], list[str]]:
    """Return `convert_char_to_pinyin`, from its file: the package's __init__ would load the whole trainer."""
    origin = importlib.util.find_spec("f5_tts")
    assert origin is not None
    assert origin.submodule_search_locations is not None
    path = Path(origin.submodule_search_locations[0]) / "model" / "utils.py"
    spec = importlib.util.spec_from_file_location("upstream_utils", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda text: list(module.convert_char_to_pinyin([text])[0])


@pytest.mark.model
@pytest.mark.parametrize("text", EXAMPLES)
def test_tokens_equal_upstreams(text: str, upstream: Callable[[str], list[str]]) -> None:
    assert tokenize(text) == upstream(text)


@pytest.mark.model
def test_tokens_equal_upstreams_for_any_text(upstream: Callable[[str], list[str]]) -> None:
    alphabet = st.sampled_from("abc ,.'\"-;:!?0123今天不一你好ёжé“”‘’のㄅ㊀🙂\t")

    @given(st.text(alphabet, max_size=60) | st.text(max_size=40))
    def check(text: str) -> None:
        assert tokenize(text) == upstream(text)

    check()


@pytest.mark.slow
def test_tokens_of_latin_and_chinese() -> None:
    assert "".join(tokenize("Hello; world")) == "Hello, world"
    assert tokenize("你好") == [" ", "ni2", " ", "hao3"]


@pytest.fixture
def vocabulary(tmp_path: Path) -> Vocabulary:
    path = tmp_path / "vocab.txt"
    path.write_text(" \na\nb\nni2\n", encoding="utf-8")
    return Vocabulary.load(path)


def test_unknown_tokens_are_encoded_as_spaces_and_returned_once(vocabulary: Vocabulary) -> None:
    assert vocabulary.encode(["a", "x", "ni2", "x", "y"]) == ([1, 0, 3, 0, 0], ("x", "y"))


def test_an_unknown_latin_letter_is_encoded_without_its_accent(vocabulary: Vocabulary) -> None:
    assert vocabulary.encode("áþǎ한ệ") == ([1, 0, 0, 1, 0, 0], ("á", "þ", "ǎ", "한", "ệ"))
    french = Vocabulary({char: index for index, char in enumerate(" aeosnELOAé")})
    said, unknown = french.encode("éñœßÉŁÅ")
    assert "".join(list(french.index)[index] for index in said) == "énoessELA"
    assert unknown == tuple("ñœßÉŁÅ")


def test_the_tokens_of_a_model_of_characters_are_those_that_are_written() -> None:
    text = "Ils ont préparé l’été ; « où ? »"
    assert "".join(Vocabulary({}, characters=True).tokens(text)) == text.replace("’", "'")
    assert "pré paré" in "".join(Vocabulary({}).tokens(text)), "as f5-tts has it"


@pytest.mark.parametrize("lines", [" \na\nb", " \n\n\na", " \na\na\n", " \r\na\r\n", " \na\n\n", ""])
def test_a_vocabulary_equals_upstreams(lines: str, tmp_path: Path) -> None:
    """`vocab_char_map[line[:-1]] = number`: a last line without a newline loses its last character."""
    (tmp_path / "vocab.txt").write_bytes(lines.encode())
    parts = lines.replace("\r\n", "\n").splitlines(keepends=True)
    expected = {part[:-1]: number for number, part in enumerate(parts)}
    vocabulary = Vocabulary.load(tmp_path / "vocab.txt")
    assert (vocabulary.index, len(vocabulary)) == (expected, len(expected))


def test_the_last_of_equal_lines_counts(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text(" \na\na\n", encoding="utf-8")
    assert Vocabulary.load(tmp_path / "vocab.txt").index == {" ": 0, "a": 2}


def test_seeds_of_segments_are_distinct_and_repeatable() -> None:
    seeds = {segment_seed(job, index) for job in range(20) for index in range(50)}
    assert len(seeds) == 1_000
    assert segment_seed(7, 3) == segment_seed(7, 3)
    assert all(0 <= seed < 2**63 for seed in seeds)
