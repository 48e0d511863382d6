"""Compare the words of a text with the words that were heard: which are wrong, missing or added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from f5_worker.verification.thresholds import VERIFICATION

Alike: TypeAlias = Callable[[str, str], bool]

_MAX_JOINED_LETTERS = 1  # that they differ in length: "alright"; more is a short word that is missing
_MAX_JOINED = 3  # words that may be written as one, or one that may be written as these: "all right", "forget me not"


class Difference(NamedTuple):
    """Written words `begin` to `end` and those that are heard instead; one of the two may be none.

    distance: how much they differ in sound, 0..1.
    """

    begin: int
    end: int
    heard_begin: int
    heard_end: int
    distance: float

    @property
    def n_written(self) -> int:
        """Return how many words of the text differ."""
        return self.end - self.begin

    @property
    def n_heard(self) -> int:
        """Return how many words are heard instead."""
        return self.heard_end - self.heard_begin

    @property
    def run(self) -> int:
        """Return how many words are wrong, missing or added; none where they sound similar."""
        return max(self.n_written, self.n_heard) if self.distance > VERIFICATION.max_sound_distance else 0

    @property
    def errors(self) -> float:
        """Return the same, and for words that sound similar a part of the share of the sounds that differ."""
        return self.run or VERIFICATION.similar_weight * self.distance * max(self.n_written, self.n_heard)


@dataclass(frozen=True)
class WordSounds:
    """How words of one language are compared: whether two are the same, and the share of sounds in which they differ.

    Both are asked of several words joined together, too.
    """

    alike: Alike
    distance: Callable[[str, str], float]


def compare(written: Sequence[str], heard: Sequence[str], sounds: WordSounds) -> list[Difference]:
    """Align two lists of words with the fewest errors, and return where they differ, in order."""
    if written == heard:
        return []
    differences: list[Difference] = []
    at = heard_at = 0
    for n_written, n_heard, is_right in _cheapest_steps(written, heard, sounds.alike):
        begin, heard_begin = at, heard_at
        at, heard_at = at + n_written, heard_at + n_heard
        if is_right:
            continue
        if differences and differences[-1].end == begin and differences[-1].heard_end == heard_begin:
            begin, _, heard_begin, _, _ = differences.pop()
        one, other = "".join(written[begin:at]), "".join(heard[heard_begin:heard_at])
        distance = sounds.distance(one, other) if one and other else 1.0
        differences.append(Difference(begin, at, heard_begin, heard_at, distance))
    return differences


class _Step(NamedTuple):
    n_written: int
    n_heard: int
    is_right: bool


_EDITS = (_Step(1, 1, False), _Step(1, 0, False), _Step(0, 1, False))
_SAME = _Step(1, 1, True)
_JOINS = tuple(step for n in range(2, _MAX_JOINED + 1) for step in (_Step(1, n, True), _Step(n, 1, True)))


def _cheapest_steps(written: Sequence[str], heard: Sequence[str], alike: Alike) -> list[_Step]:
    """Return the steps through both lists with the fewest errors; among those, with the most equal words."""
    costs = {(0, 0): (0, 0)}
    chosen: dict[tuple[int, int], _Step] = {}
    for at in range(len(written) + 1):
        for heard_at in range(len(heard) + 1):
            if not at and not heard_at:
                continue
            best: tuple[int, int] | None = None
            for step in (_SAME, *_EDITS, *_JOINS):
                n, m, is_right = step
                if n > at or m > heard_at:
                    continue
                errors, unequal = costs[at - n, heard_at - m]
                cost = (errors + (not is_right), unequal - is_right)
                if best is not None and cost >= best:
                    continue
                if is_right and not _matches(written[at - n : at], heard[heard_at - m : heard_at], alike):
                    continue
                best, chosen[at, heard_at] = cost, step
            assert best is not None  # noqa: S101 - edits lead everywhere
            costs[at, heard_at] = best
    path, at, heard_at = [], len(written), len(heard)
    while at or heard_at:
        step = chosen[at, heard_at]
        path.append(step)
        at, heard_at = at - step.n_written, heard_at - step.n_heard
    return path[::-1]


def _matches(written: Sequence[str], heard: Sequence[str], alike: Alike) -> bool:
    one, other = "".join(written), "".join(heard)
    is_joined = len(written) != len(heard)
    return not (is_joined and abs(len(one) - len(other)) > _MAX_JOINED_LETTERS) and alike(one, other)
