"""The data that jobs exchange with the engine, and the interface of the models that it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from f5_worker.audio.levels import Samples

State = TypeVar("State")
WaitForSamples = Callable[[], Samples]
"""Waits for the device, and returns the audio of a segment, `[nw]` at 24 kHz. Any thread may call it."""


@dataclass(frozen=True)
class Segment:
    """A piece of text that a model speaks in one pass.

    Attributes:
        reference: the reference clip, `[nw]` at 24 kHz.
        tokens: vocabulary indices of the reference's transcript and the text to speak.
        frames: mel frames of reference and target together.
        nfe: number of function evaluations, which is the number of Euler steps.
        guidance_scale: strength of classifier-free guidance.
        sway_coefficient: coefficient of sway sampling; None for steps of equal length.
        seed: seed of the segment's noise.
        forward_frames: mel frames of the segment in a forward, its unconditional row included.
    """

    reference: Samples
    tokens: tuple[int, ...]
    frames: int
    nfe: int
    guidance_scale: float
    sway_coefficient: float | None
    seed: int
    forward_frames: int

    @property
    def work(self) -> int:
        """Return the frames that go through the model over all its steps."""
        return self.nfe * self.forward_frames


@dataclass(frozen=True)
class SegmentAudio:
    """The audio of one segment, `[nw]` at 24 kHz, and the time it took.

    Attributes:
        waited_s: how long no segment of its job was on the device before this one began.
        worked_s: its share of the device's time: the time of each step, in proportion to the segment's frames in it.
            Over all segments of all jobs the shares add up to the time that the device was busy.
    """

    samples: Samples
    waited_s: float
    worked_s: float


class FinishedSegment(NamedTuple):
    """A segment whose audio the device is computing, or has; the times are those of `SegmentAudio`."""

    wait_for_samples: WaitForSamples
    waited_s: float
    worked_s: float

    def wait(self) -> SegmentAudio:
        """Return the segment's audio once it is there.

        Raises:
            GpuLost: the device failed meanwhile.
        """
        return SegmentAudio(self.wait_for_samples(), self.waited_s, self.worked_s)


class ModelRunner(Protocol[State]):
    """A loaded model, as the engine drives it. A method that raises leaves the states that it was given unchanged."""

    @property
    def whole_segments(self) -> bool:
        """Return whether `step` takes one state, and all its steps at once."""

    @property
    def replicas(self) -> Sequence[ModelRunner[State]]:
        """Return the same model on the second device and each further one, in their order."""

    def begin(self, segment: Segment) -> State:
        """Return the state of a segment before its first step."""

    def step(self, states: Sequence[State]) -> None:
        """Advance each state by one step, all in one forward."""

    def finish(self, states: Sequence[State]) -> list[WaitForSamples]:
        """Begin to compute the audio of each state whose steps are all done, and return what waits for it."""
