"""When text that is still written is spoken, and the times of the messages."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from f5_worker.api.elevenlabs.speech import Character, parse_output_format
from f5_worker.api.elevenlabs.stream_input import (
    DEFAULT_SCHEDULE,
    AlignmentClock,
    ContextEncoder,
    TextBuffer,
    read_message,
)
from f5_worker.audio.encode import encode
from f5_worker.audio.encoders import EncoderPool

SENTENCE = "This is a sentence of some length, and it goes on for a while. "  # 63 characters


def parts(buffer: TextBuffer, text: str, *, trigger: bool = False) -> list[str]:
    """What is spoken when the text comes word by word."""
    spoken = [buffer.add(f"{word} ", trigger=trigger) for word in text.split()]
    return [part for part in spoken if part]


def test_parts_have_the_lengths_of_the_schedule_and_end_with_sentences() -> None:
    buffer = TextBuffer(DEFAULT_SCHEDULE, immediate=False)
    spoken = parts(buffer, SENTENCE * 9)
    assert spoken == [SENTENCE * 2, SENTENCE * 2, SENTENCE * 4]
    assert buffer.take() == SENTENCE
    assert buffer.take() == ""


def test_a_part_without_a_sentence_ends_with_a_clause_or_after_twice_its_length_with_a_word() -> None:
    clauses = "and so it goes on and on and on with some more words, " * 4
    assert parts(TextBuffer([60], immediate=False), clauses)[0].endswith("words, ")
    (first, *_) = parts(TextBuffer([60], immediate=False), "word " * 60)
    assert first == "word " * 24
    unspaced = TextBuffer([60], immediate=False)
    assert unspaced.add("字" * 130) == "字" * 130


def test_a_trigger_does_not_wait_for_the_schedule() -> None:
    assert parts(TextBuffer([500], immediate=False), SENTENCE, trigger=True) == [SENTENCE]
    assert parts(TextBuffer([500], immediate=False), "Too short. ", trigger=True) == []


def test_immediate_text_is_spoken_as_it_comes() -> None:
    buffer = TextBuffer(DEFAULT_SCHEDULE, immediate=True)
    assert buffer.add(" ") == ""
    assert buffer.add("Hello. ") == "Hello. "


def test_a_message_is_read_in_all_spellings() -> None:
    message = read_message(
        '{"text": " ", "contextId": "a", "voice_settings": null, "flush": null, "xi-api-key": "k", "other": 1}'
    )
    assert (message.context_id, message.key, message.voice_settings, message.flush) == ("a", "k", None, False)
    assert read_message('{"authorization": "Bearer k"}').key == "k"


def test_times_reach_to_the_end_of_the_audio_and_begin_where_the_last_ones_ended() -> None:
    relative, absolute = AlignmentClock(is_absolute=False), AlignmentClock(is_absolute=True)
    characters = [Character("H", 0.1, 0.2), Character("i", 0.2, 0.3)]
    for clock in (relative, absolute):
        assert clock.alignment(characters, 0.5, is_last=True) == {
            "chars": ["H", "i", " "], "charStartTimesMs": [100, 200, 300], "charDurationsMs": [100, 100, 200],
        }  # fmt: skip
        assert clock.alignment([], 0.6, is_last=True) is None
        clock.end_part(0.6)
    following = [Character("\n", 0.0, 0.0), Character("A", 0.1, 0.2)]
    told = relative.alignment(following, 0.4, is_last=False)
    assert told == {"chars": [" ", "A"], "charStartTimesMs": [100, 200], "charDurationsMs": [100, 300]}
    told = absolute.alignment(following, 0.4, is_last=False)
    assert told == {"chars": [" ", "A"], "charStartTimesMs": [600, 700], "charDurationsMs": [100, 300]}


@pytest.mark.parametrize("name", ["pcm_24000", "pcm_8000", "opus_48000_64"])
def test_the_parts_of_a_text_are_encoded_as_one_file(name: str) -> None:
    output = parse_output_format(name)
    samples = np.sin(np.arange(60_000) / 20).astype(np.float32) / 2
    pcm = encode(samples, "pcm_s16le", 24_000)
    encoder = ContextEncoder(EncoderPool(), output)
    joined = encoder.write(pcm[:40_000]) + encoder.write(pcm[40_000:]) + encoder.close()
    rounded = np.rint(samples * 32_767) / np.float32(32_767)
    assert joined == encode(rounded.astype(np.float32), output.format, output.sample_rate)


@pytest.mark.parametrize(
    ("name", "held_s"),
    [("pcm_24000", 1e-9), ("pcm_8000", 0.08), ("mp3_22050_32", 0.2), ("mp3_44100_128", 0.2), ("opus_48000_64", 0.5)],
)
def test_what_is_held_back(name: str, held_s: float) -> None:
    codec, rate = name.split("_")[0], int(name.split("_")[1])
    for n_samples in range(24_000, 26_000, 500):
        sent = ContextEncoder(EncoderPool(), parse_output_format(name)).write(bytes(2 * n_samples))
        if codec == "pcm":
            sent_s = len(sent) / 2 / rate
        else:
            with av.open(io.BytesIO(sent)) as file:
                decoded_s = sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))
            sent_s = decoded_s - (1_105 / rate if codec == "mp3" else 0.0)  # the delay of mp3
        assert 0 <= n_samples / 24_000 - sent_s < held_s
