"""Two long recordings with true times: a voice that speaks known sentences, and the subtitles to them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from f5_worker.audio.levels import SAMPLE_RATE, Samples
from tests.speak import Utterance, speak

PAUSES_S = (0.35, 0.6, 0.45, 0.8, 0.3)

GARDEN = (
    "My grandmother kept a small garden behind the house, and she worked in it every morning.",
    "She planted tomatoes along the wall, where the sun was warm from early spring.",
    "Nobody was allowed to touch them before she said so.",
    "When the rain came, we sat in the kitchen and listened to the water on the roof.",
    "She told us stories about the village, about the river, and about people we had never met.",
    "Some of them were true.",
    "In autumn the whole family came together to pick the apples.",
    "My uncle climbed the tallest tree, although everyone told him to come down.",
    "He fell only once, and he laughed about it for years.",
    "We carried the baskets to the cellar and put the fruit on long wooden shelves.",
    "The smell of that cellar is something I will never forget.",
    "In winter she opened the door, and the summer came back for a moment.",
    "After dinner my grandfather played the violin, badly but with great joy.",
    "The dog hid under the table whenever he began.",
    "Later, when I lived in the city, I tried to grow tomatoes on the balcony.",
    "They stayed green until the first frost.",
    "I called her on the telephone and asked what I had done wrong.",
    "She was quiet for a while, and then she said that plants know who is watching.",
    "I still think about that answer.",
    "Last year the house was sold to a young couple from the north.",
)
HARBOUR = (
    "The harbour is busiest before sunrise, when the boats come back from the open sea.",
    "Men in yellow coats shout across the water and throw heavy ropes to the pier.",
    "Every crate of fish is weighed, marked and moved within minutes.",
    "A buyer from the capital walks slowly between the rows, and says almost nothing.",
    "He lifts one finger, and the price is settled.",
    "By seven the trucks are gone, and the gulls have the place to themselves.",
    "My father was a pilot here for thirty years.",
    "He knew each rock below the surface, and he never trusted a map.",
    "Maps are drawn in dry rooms, he used to say.",
    "Once he brought a tanker through the channel in thick fog, guided by the sound of a bell.",
    "The captain wanted to give him a watch, but he asked for a photograph of the ship instead.",
    "It hung above our stove until the paper turned brown.",
    "Today the pilots use screens, and the bell has been moved to a museum.",
    "Visitors ring it when they think that nobody is looking.",
    "The sound still carries all the way down to the water.",
    "There is talk of a new bridge, which would end the ferry for good.",
    "Half of the town is in favour, and the other half will not discuss it.",
    "I take the ferry on Sundays, without any reason.",
    "It takes eleven minutes, and you can see the lighthouse from the upper deck.",
    "Nothing else in my week is as quiet as that.",
)


@dataclass(frozen=True, eq=False)
class Line:
    """A sentence and when it is spoken."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, eq=False)
class Talk:
    """`samples` float32 `[nw]` at 24 kHz and its lines in order."""

    samples: Samples
    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        return " ".join(line.text for line in self.lines)

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    def srt(self, jitter_s: float = 0.0) -> str:
        """Subtitles; `jitter_s` moves every time by up to so much to either side."""
        generator = np.random.default_rng(1)
        blocks = []
        for index, line in enumerate(self.lines):
            start_s, end_s = (
                max(0.0, at + generator.uniform(-jitter_s, jitter_s)) for at in (line.start_s, line.end_s)
            )
            blocks.append(f"{index + 1}\n{clock(start_s)} --> {clock(end_s)}\n{line.text}\n")
        return "\n".join(blocks)


def clock(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"


@lru_cache(maxsize=64)
def _spoken(sentence: str) -> Utterance:
    return speak(sentence)


@lru_cache(maxsize=4)
def talk(sentences: tuple[str, ...] = GARDEN + HARBOUR, length_s: float | None = None) -> Talk:
    """The sentences spoken one after another with pauses; `length_s` stretches the pauses to fill so much."""
    spoken = [_spoken(sentence) for sentence in sentences]
    pauses_s = [PAUSES_S[index % len(PAUSES_S)] for index in range(len(spoken))]
    spoken_s = sum(len(utterance.samples) for utterance in spoken) / SAMPLE_RATE
    stretch = 1.0 if length_s is None else (length_s - spoken_s) / sum(pauses_s)
    sounds: list[Samples] = []
    lines: list[Line] = []
    begin_s = 0.0
    for sentence, utterance, pause_s in zip(sentences, spoken, pauses_s, strict=True):
        first, last = utterance.words[0], utterance.words[-1]
        lines.append(Line(begin_s + first.start_s, begin_s + last.end_s, sentence))
        sounds += [utterance.samples, np.zeros(round(stretch * pause_s * SAMPLE_RATE), np.float32)]
        begin_s = sum(map(len, sounds)) / SAMPLE_RATE
    return Talk(np.concatenate(sounds), tuple(lines))
