"""What is computed once a segment, at its begin and at its end, as CUDA graphs, one of each for some lengths.

Hundreds of small operations, each computed faster than it is launched. A graph has a fixed length, so that a segment
lies at the head of one that is a little longer. What would come back from behind its end is kept away: by `padding_mask`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from f5_worker.models.f5.config import MAX_SEGMENT_FRAMES, MEL_BANDS
from f5_worker.models.f5.cuda.step_graphs import Recorder, Replay, eighths
from f5_worker.models.f5.network import DiT
from f5_worker.models.f5.vocoder import Vocos, n_samples


def lengths() -> Iterator[int]:
    """The most likely first; from 128 frames on at most an eighth is filler."""
    usual = 1_024  # 11 s, reference included
    yield from sorted((*eighths(16, 32, 64, 128, 256), MAX_SEGMENT_FRAMES), key=lambda n: abs(n - usual))


class SegmentGraphs:
    """`DiT.condition` of one model, and its vocoder."""

    def __init__(self, model: DiT, vocoder: Vocos, record: Recorder) -> None:
        self._model, self._vocoder, self._record = model, vocoder, record
        self._conditions: dict[int, tuple[Replay, Tensor]] = {}
        self._sounds: dict[int, tuple[Replay, Tensor]] = {}
        n, device = MAX_SEGMENT_FRAMES, model.device
        self._tokens = torch.zeros(n, dtype=torch.int64, device=device)
        self._known = torch.zeros(n, MEL_BANDS, dtype=model.dtype, device=device)
        self._mel = torch.zeros(n, MEL_BANDS, device=device)
        self._gone = torch.zeros(n, 1, dtype=torch.bool, device=device)

    def record(self, n: int) -> None:
        """Make ready for segments of up to `n` frames."""
        model, vocoder = self._model, self._vocoder
        tokens, known, mel, padding_mask = self._tokens[:n], self._known[:n], self._mel[:n], self._gone[:n]
        self._sounds[n] = self._record(lambda: vocoder.padded(mel, padding_mask))
        if not model.text_embed.spread:  # there the number of tokens decides what is computed
            self._conditions[n] = self._record(lambda: model.condition_padded(known, tokens, padding_mask, None, guided=True))

    def condition(self, reference: Tensor, tokens: Tensor, n: int, *, guided: bool) -> Tensor:
        """As `DiT.condition`, which also does what is not recorded."""
        size = _fitting(self._conditions, n) if guided else None
        if size is None:
            plain: Tensor = self._model.condition(reference, tokens, n, guided=guided)
            return plain
        nr, nt = len(reference), min(len(tokens), n)
        self._known[:nr] = reference
        self._known[nr:size] = 0
        self._tokens[:nt] = tokens[:nt] + 1
        self._tokens[nt:size] = 0
        self._end_at(n, size)
        replay, condition = self._conditions[size]
        replay()
        return condition[:, :n].clone()

    def sounds(self, mels: Sequence[Tensor]) -> list[Tensor]:
        """As the vocoder, which also does what is not recorded."""
        return [self._sound(mel) for mel in mels]

    def _sound(self, mel: Tensor) -> Tensor:
        n = len(mel)
        size = _fitting(self._sounds, n)
        if size is None:
            sounds: list[Tensor] = self._vocoder([mel])
            return sounds[0]
        self._mel[:n] = mel
        self._end_at(n, size)
        replay, sound = self._sounds[size]
        replay()
        return sound[: n_samples(n)].clone()

    def _end_at(self, n: int, size: int) -> None:
        self._gone[:n] = False
        self._gone[n:size] = True


def _fitting(recorded: dict[int, tuple[Replay, Tensor]], n: int) -> int | None:
    return min((size for size in recorded if size >= n), default=None)
