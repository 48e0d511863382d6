"""When each line is spoken and how fast: pure functions of the cues' times and of how long the lines naturally are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from f5_worker.errors import LinesTooLong
from f5_worker.schema.dub import FitInput

if TYPE_CHECKING:
    from f5_worker.transcripts.cues import Cue

BREATH_S = 0.15  # left before the next line
TOGETHER_SHARE = 0.5  # of the shorter of two cues, in which both are shown: they are meant to be spoken together
MAX_NAMED = 10  # lines in a message

FitStep: TypeAlias = Literal["slot", "gap", "speed", "overrun"]


@dataclass(frozen=True)
class FittedLine:
    """When a line is spoken, and how fast.

    Attributes:
        room_s: from its start until the next line starts that is not spoken together with it; None for the last one.
        step: what its length took; None where no policy was asked for.
    """

    start_s: float
    duration_s: float
    speed: float
    room_s: float | None
    step: FitStep | None = None

    @property
    def end_s(self) -> float:
        """Return when it has been spoken."""
        return self.start_s + self.duration_s

    @property
    def overlap_s(self) -> float:
        """Return for how long it overlaps the next line."""
        return 0.0 if self.room_s is None else max(0.0, self.duration_s - self.room_s)


def fill_slots(cues: Sequence[Cue], natural_s: Sequence[float], min_speed: float, max_speed: float) -> list[FittedLine]:
    """Return each line at its time and at the speed that fills its cue, within the speeds.

    Args:
        cues: in order of their start.
        natural_s: how long each takes at its voice's own pace.
    """
    lines = []
    for index, (cue, length_s) in enumerate(zip(cues, natural_s, strict=True)):
        slot_s, speed = cue.end_s - cue.start_s, max_speed
        if slot_s > 0:
            speed = min(max(length_s / slot_s, min_speed), max_speed)
        room_s = cues[index + 1].start_s - cue.start_s if index + 1 < len(cues) else None
        lines.append(FittedLine(cue.start_s, length_s / speed, speed, room_s))
    return lines


def fit_lines(
    cues: Sequence[Cue],
    natural_s: Sequence[float],
    policy: FitInput,
    *,
    min_speed: float = 0.8,
    track_s: float | None = None,
) -> list[FittedLine]:
    """Return when and how fast each line is spoken, by a policy.

    1. `slot`: at the speed that fills its cue, if that is at most `accept`; never below `min_speed`.
    2. `gap`: at `accept`, if with `use_gaps` it then ends BREATH_S before the next line begins, or earlier.
    3. `speed`: at the speed with which it ends there, or at its cue's end without `use_gaps`, up to `max_speed`. At
       that speed the breath may be shorter.
    4. `overrun`: at `max_speed`, with what `on_overrun` says.

    Lines that are meant to be spoken together - their cues are shown together for half of the shorter one - do not
    wait for each other. No line starts more than `max_delay_s` late.

    Args:
        cues: in order of their start.
        natural_s: how long each takes at its voice's own pace.
        track_s: length of the track, for the last line.

    Raises:
        LinesTooLong: a line does not fit, and `on_overrun` is `fail`.
    """
    track_end_s = math.inf if track_s is None else track_s
    max_delay_s = math.inf if policy.max_delay_s is None else policy.max_delay_s
    shown = np.array([(cue.start_s, cue.end_s) for cue in cues])
    follows = [_next_apart(shown, index) for index in range(len(cues))]
    lines: list[FittedLine] = []
    ends_s = np.zeros(len(cues))
    for index, (cue, length_s) in enumerate(zip(cues, natural_s, strict=True)):
        start_s, next_index = cue.start_s, follows[index]
        if policy.on_overrun == "shorten_pause":
            before_s = ends_s[:index][_are_apart(shown[index], shown[:index])]
            start_s = min(float(before_s.max(initial=start_s)), start_s + max_delay_s)
        next_s = track_end_s if next_index is None else cues[next_index].start_s
        lines.append(_fit(start_s, cue.end_s, next_s, length_s, policy, min_speed))
        ends_s[index] = lines[index].end_s
    if policy.on_overrun == "fail":
        _check_fit(cues, lines, policy)
    return [
        line if follower is None else replace(line, room_s=lines[follower].start_s - line.start_s)
        for line, follower in zip(lines, follows, strict=True)
    ]


def _fit(
    start_s: float, cue_end_s: float, next_s: float, natural_s: float, policy: FitInput, min_speed: float
) -> FittedLine:
    slot_s = min(cue_end_s, next_s) - start_s
    room_s = max(slot_s, next_s - start_s) if policy.use_gaps else slot_s
    quiet_room_s = max(slot_s, room_s - BREATH_S) if policy.use_gaps else slot_s
    step: FitStep
    if natural_s <= policy.accept * slot_s:
        step, speed = "slot", max(natural_s / slot_s, min_speed)
    elif policy.use_gaps and natural_s <= policy.accept * quiet_room_s:
        step, speed = "gap", policy.accept
    elif natural_s <= policy.max_speed * quiet_room_s:
        step, speed = "speed", natural_s / quiet_room_s
    else:
        step, speed = "speed" if natural_s <= policy.max_speed * room_s else "overrun", policy.max_speed
    return FittedLine(start_s, natural_s / speed, speed, None, step)


def _next_apart(shown: NDArray[np.float64], index: int) -> int | None:
    """Return the next line that is not spoken together with a line; None if there is none."""
    apart = _are_apart(shown[index], shown[index + 1 :])
    return index + 1 + int(apart.argmax()) if apart.any() else None


def _are_apart(one: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which of other cues, starts and ends `[n, 2]`, are not spoken together with one, `[2]`."""
    shared_s = np.minimum(one[1], others[:, 1]) - np.maximum(one[0], others[:, 0])
    apart: NDArray[np.bool_] = shared_s <= TOGETHER_SHARE * np.minimum(one[1] - one[0], others[:, 1] - others[:, 0])
    return apart


def _check_fit(cues: Sequence[Cue], lines: Sequence[FittedLine], policy: FitInput) -> None:
    late = [cue.number for cue, line in zip(cues, lines, strict=True) if line.step == "overrun"]
    if late:
        shown = ", ".join(map(str, late[:MAX_NAMED])) + (" ..." if len(late) > MAX_NAMED else "")
        raise LinesTooLong(
            f"{len(late)} of {len(cues)} lines do not fit their times at speed {policy.max_speed:g}: cues {shown}; "
            'shorten them, raise fit.max_speed, or send fit.on_overrun: "shorten_pause"'
        )
