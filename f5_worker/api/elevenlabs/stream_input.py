"""Text that comes while it is written: the messages of ElevenLabs' WebSockets, and when what came is spoken."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AliasChoices, Field

from f5_worker.api.elevenlabs.speech import Character, OutputFormat
from f5_worker.api.native import Json
from f5_worker.api.other_services import without_nulls
from f5_worker.audio.encode import from_pcm16
from f5_worker.audio.encoders import EncoderPool
from f5_worker.errors import InvalidInput
from f5_worker.schema.actions import check
from f5_worker.schema.requests import MAX_TEXT_CHARS, Input
from f5_worker.text.sentences import clause_ends, sentence_ends

DEFAULT_SCHEDULE = (120, 160, 250, 290)  # characters
MIN_CHARS = 50  # of a part that is cut before its text is complete; a shorter one has no good melody
MAX_SCHEDULE_CHARS = 500
PATIENCE = 2  # times the scheduled length, after which a part may end between any two words
MAX_INACTIVE_S, INACTIVE_S = 180.0, 20.0
MAX_CONTEXT_CHARS = 128  # of a context's id


class GenerationConfig(Input, extra="ignore"):
    """`generation_config`: how much text is awaited for the first part, the second, ..., and all later ones."""

    chunk_length_schedule: tuple[Annotated[float, Field(ge=1, le=MAX_SCHEDULE_CHARS)], ...] = Field(
        DEFAULT_SCHEDULE, min_length=1, max_length=100, strict=False
    )


class InputMessage(Input, extra="ignore"):
    """One message of a client, of either protocol."""

    text: str | None = Field(None, max_length=MAX_TEXT_CHARS)
    context_id: str | None = Field(
        None, max_length=MAX_CONTEXT_CHARS, validation_alias=AliasChoices("context_id", "contextId")
    )
    flush: bool = False
    try_trigger_generation: bool = False
    close_context: bool = False
    close_socket: bool = False
    voice_settings: dict[str, Any] | None = None
    generation_config: GenerationConfig = Field(default_factory=GenerationConfig)
    xi_api_key: str = Field("", validation_alias=AliasChoices("xi_api_key", "xi-api-key"))
    authorization: str = ""

    @property
    def key(self) -> str:
        """Return the key that came with the message, empty for none."""
        return self.xi_api_key or self.authorization.removeprefix("Bearer ").strip()


class InputQuery(Input, extra="ignore", strict=False):
    """The query of a connection; fields of the speech call that are text are taken as they are."""

    seed: int | None = None
    auto_mode: bool = False
    sync_alignment: bool = False
    inactivity_timeout: float = INACTIVE_S


def read_message(text: str) -> InputMessage:
    """Parse a message.

    Raises:
        InvalidInput: it is not one.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # the message of it quotes the text
        value = None
    if not isinstance(value, dict):
        raise InvalidInput('a message is not a JSON object; send {"text": "... "}')
    return check(InputMessage, without_nulls(value))


class TextBuffer:
    """The text of a context that is not spoken yet.

    It is spoken when as much came as the schedule says, up to the last end of a sentence, or else of a clause.

    Args:
        immediate: each text is spoken as it comes; clients then send whole sentences.
    """

    def __init__(self, schedule: Sequence[float], *, immediate: bool) -> None:
        self._schedule, self._immediate = schedule, immediate
        self._text = ""
        self._n_parts = 0

    def __len__(self) -> int:
        return len(self._text)

    def add(self, text: str, *, trigger: bool = False) -> str:
        """Append a text and return what is to be spoken now; empty for nothing yet.

        Args:
            trigger: do not wait for more than MIN_CHARS.
        """
        self._text = (self._text + text).lstrip()
        if self._immediate:
            return self.take()
        wanted = self._schedule[min(self._n_parts, len(self._schedule) - 1)]
        n_chars = len(self._text)
        if n_chars < (min(wanted, MIN_CHARS) if trigger else wanted):
            return ""
        end = _last_end(self._text, anywhere=n_chars >= PATIENCE * wanted)
        part, self._text = self._text[:end], self._text[end:]
        self._n_parts += bool(end)
        return part

    def take(self) -> str:
        """Return all text, and forget it."""
        text, self._text = self._text, ""
        return text


class ContextEncoder:
    """One file out of the audio of a text's parts, which comes as `pcm_s16le` at 24 kHz.

    Files one after the other would not do: players stop at the header of the second, and each has its own delay.
    All methods block: on the encoder's process, and on one another where several threads call them.
    """

    def __init__(self, encoders: EncoderPool, output: OutputFormat) -> None:
        self._encoder = encoders.open(output.format, output.sample_rate, streaming=True)
        self._turn = threading.Lock()

    def write(self, pcm: bytes) -> bytes:
        """Encode more audio; return the bytes that are ready. Codecs hold back what does not fill their last frame."""
        with self._turn:
            return self._encoder.write(from_pcm16(pcm))

    def close(self) -> bytes:
        """End the file; return the rest of its bytes."""
        with self._turn, self._encoder:
            return self._encoder.close()

    def end(self) -> None:
        """Remove the file from the encoder, finished or not."""
        with self._turn:
            self._encoder.end()


class AlignmentClock:
    """Puts the times of characters, which the parts of a text give, into the form of the messages of its audio.

    A message's times are in milliseconds from the end of those of the message before it, and reach to the end of its
    audio: clients add up these lengths.

    Args:
        is_absolute: times are from the beginning of the text, as clients read them that ask for `sync_alignment`.
    """

    def __init__(self, *, is_absolute: bool) -> None:
        self._is_absolute = is_absolute
        self._part_s = 0.0  # where the part that is spoken now begins
        self._reached_ms = 0

    def alignment(self, characters: Sequence[Character], end_s: float, *, is_last: bool) -> Json | None:
        """Return the alignment of a message whose audio ends at `end_s` of its part; None for no characters.

        Args:
            is_last: the part has no more characters. Clients know by a space that a word has ended.
        """
        if not characters:
            return None
        chars = [" " if each.character.isspace() else each.character for each in characters]
        starts_ms = [self._ms(each.start_s) for each in characters]
        if is_last and chars[-1] != " ":
            chars.append(" ")
            starts_ms.append(self._ms(characters[-1].end_s))
        ends_ms = [*starts_ms[1:], max(self._ms(end_s), starts_ms[-1])]
        origin_ms = 0 if self._is_absolute else self._reached_ms
        self._reached_ms = ends_ms[-1]
        return {
            "chars": chars,
            "charStartTimesMs": [start_ms - origin_ms for start_ms in starts_ms],
            "charDurationsMs": [end_ms - start_ms for start_ms, end_ms in zip(starts_ms, ends_ms, strict=True)],
        }

    def end_part(self, end_s: float) -> None:
        """Let the next part begin where this one ends."""
        self._part_s += end_s

    def _ms(self, at_s: float) -> int:
        return round(1_000 * (self._part_s + at_s))


def _last_end(text: str, *, anywhere: bool) -> int:
    """Return where a part of the text may end, at MIN_CHARS or later; 0 for nowhere."""
    for ends in (sentence_ends(text), clause_ends(text)):
        if last := max((end for end in ends if end >= MIN_CHARS), default=0):
            return last
    return (text.rfind(" ") + 1 or len(text)) if anywhere else 0
