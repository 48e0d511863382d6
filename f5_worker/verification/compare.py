"""Compare the words of a text with the words that were heard: which are wrong, missing or added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Alike: TypeAlias = Callable[[str, str], bool]

_MAX_JOINED = 3  # words that may be written as one, or one that may be written as these: "all right", "forget me not"


class Difference(NamedTuple):
    """Written words `begin` to `end` in place of which others are heard; empty for added ones, or where none is."""

    begin: int
    end: int
    heard_begin: int
    heard_end: int

    @property
    def n_words(self) -> int:
        """Return how many words are wrong, missing or added."""
        return max(self.end - self.begin, self.heard_end - self.heard_begin)


@dataclass(frozen=True)
class Comparison:
    """Words of a text and those that were heard. differences: stretches in order, with equal words between them."""

    written: Sequence[str]
    heard: Sequence[str]
    differences: tuple[Difference, ...]

    @property
    def errors(self) -> int:
        """Return how many words are wrong, missing or added."""
        return sum(difference.n_words for difference in self.differences)

    @property
    def wer(self) -> float:
        """Return the errors over the words of the text."""
        return self.errors / max(1, len(self.written))

    @property
    def run(self) -> int:
        """Return the length of the longest stretch of errors."""
        return max((difference.n_words for difference in self.differences), default=0)


def compare(written: Sequence[str], heard: Sequence[str], alike: Alike) -> Comparison:
    """Align two lists of words with the fewest errors.

    Args:
        alike: whether two words sound alike; also asked of words joined together.
    """
    steps = _cheapest_steps(written, heard, alike)
    differences: list[Difference] = []
    at = heard_at = 0
    for n_written, n_heard, is_right in steps:
        begin, heard_begin = at, heard_at
        at, heard_at = at + n_written, heard_at + n_heard
        if is_right:
            continue
        if differences and differences[-1].end == begin and differences[-1].heard_end == heard_begin:
            begin, _, heard_begin, _ = differences.pop()
        differences.append(Difference(begin, at, heard_begin, heard_at))
    return Comparison(written, heard, tuple(differences))


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
    return written == heard or alike("".join(written), "".join(heard))
