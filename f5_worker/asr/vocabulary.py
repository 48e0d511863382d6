"""The special tokens of a Whisper checkpoint, by its tokenizer.json."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from f5_worker.errors import ModelUnavailable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ENGLISH = "en"
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")


class WhisperVocabulary:
    """Special tokens by their names, and the languages that have one.

    Args:
        is_multilingual: whether the checkpoint knows them; the tokenizers of the English ones list them too.
    """

    def __init__(self, tokenizer: Tokenizer, *, is_multilingual: bool) -> None:
        self._tokenizer = tokenizer
        self.is_multilingual = is_multilingual
        codes = sorted(match[1] for token in tokenizer.get_vocab() if (match := _LANGUAGE.fullmatch(token)))
        self.languages = codes if is_multilingual else [ENGLISH]
        self.start, self.end = self.token("startoftranscript"), self.token("endoftext")
        self.no_timestamps = self.token("notimestamps")
        has_new_name = tokenizer.token_to_id("<|nospeech|>") is not None
        self.no_speech = self.token("nospeech" if has_new_name else "nocaptions")

    def prompt(self, language: str) -> tuple[int, ...]:
        """Return the tokens that begin a transcript in a language."""
        if not self.is_multilingual:
            return (self.start,)
        return self.start, self.token(language), self.token("transcribe")

    def token(self, name: str) -> int:
        """Return the id of a special token, `<|name|>`.

        Raises:
            ModelUnavailable: there is none.
        """
        token = self._tokenizer.token_to_id(f"<|{name}|>")
        if token is None:
            raise ModelUnavailable(f"the recogniser's tokenizer.json has no <|{name}|>; fetch it again")
        return token
