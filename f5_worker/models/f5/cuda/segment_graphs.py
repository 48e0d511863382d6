"""What is computed once a segment, at its begin and at its end, as CUDA graphs of some lengths.

It consists of hundreds of small operations, each computed faster than it is launched. A graph has a fixed length, so a
segment is padded to one that is a little longer, and `padding_mask` keeps the padding out of its results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from f5_worker.models.cuda.capture import CaptureGraph, Replay
from f5_worker.models.f5.config import MAX_SEGMENT_FRAMES, MEL_BANDS
from f5_worker.models.f5.cuda.step_graphs import eighth_steps
from f5_worker.models.f5.network import DiT
from f5_worker.models.f5.vocoder import Vocos, n_samples


def graph_lengths() -> Iterator[int]:
    """Yield the most likely lengths first; from 128 frames on at most an eighth is padding."""
    most_likely = 1_024  # 11 s, reference included
    lengths = (*eighth_steps(16, 32, 64, 128, 256), MAX_SEGMENT_FRAMES)
    yield from sorted(lengths, key=lambda n: abs(n - most_likely))


class SegmentGraphs:
    """`DiT.condition` of one model, and its vocoder, by CUDA graphs."""

    def __init__(self, model: DiT, vocoder: Vocos, capture_graph: CaptureGraph) -> None:
        self._model, self._vocoder, self._capture_graph = model, vocoder, capture_graph
        self._condition_graphs: dict[int, tuple[Replay, Tensor]] = {}
        self._vocoder_graphs: dict[int, tuple[Replay, Tensor]] = {}
        n, device = MAX_SEGMENT_FRAMES, model.device
        self._tokens = torch.zeros(n, dtype=torch.int64, device=device)
        self._reference = torch.zeros(n, MEL_BANDS, dtype=model.dtype, device=device)
        self._mel = torch.zeros(n, MEL_BANDS, device=device)
        self._padding_mask = torch.zeros(n, 1, dtype=torch.bool, device=device)

    def capture(self, n: int) -> None:
        """Capture the graphs for segments of up to `n` frames."""
        model, vocoder = self._model, self._vocoder
        tokens, reference, mel, mask = self._tokens[:n], self._reference[:n], self._mel[:n], self._padding_mask[:n]
        self._vocoder_graphs[n] = self._capture_graph(lambda: vocoder.decode_padded(mel, mask))
        if not model.text_embed.upsample:  # if it upsamples, the computation depends on the number of tokens
            self._condition_graphs[n] = self._capture_graph(
                lambda: model.condition_padded(reference, tokens, mask, None, guided=True)
            )

    def condition(self, reference: Tensor, tokens: Tensor, n: int, *, guided: bool) -> Tensor:
        """Return the result of `DiT.condition`, which itself computes segments that fit no captured length."""
        length = _smallest_fitting(self._condition_graphs, n) if guided else None
        if length is None:
            condition: Tensor = self._model.condition(reference, tokens, n, guided=guided)
            return condition
        nr, nt = len(reference), min(len(tokens), n)
        self._reference[:nr] = reference
        self._reference[nr:length] = 0
        self._tokens[:nt] = tokens[:nt] + 1
        self._tokens[nt:length] = 0
        self._mask_padding(n, length)
        replay, condition = self._condition_graphs[length]
        replay()
        return condition[:, :n].clone()

    def decode(self, mels: Sequence[Tensor]) -> list[Tensor]:
        """Return the result of the vocoder, which itself decodes mels that fit no captured length."""
        return [self._decode(mel) for mel in mels]

    def _decode(self, mel: Tensor) -> Tensor:
        n = len(mel)
        length = _smallest_fitting(self._vocoder_graphs, n)
        if length is None:
            decoded: list[Tensor] = self._vocoder([mel])
            return decoded[0]
        self._mel[:n] = mel
        self._mask_padding(n, length)
        replay, samples = self._vocoder_graphs[length]
        replay()
        return samples[: n_samples(n)].clone()

    def _mask_padding(self, n: int, length: int) -> None:
        self._padding_mask[:n] = False
        self._padding_mask[n:length] = True


def _smallest_fitting(graphs: dict[int, tuple[Replay, Tensor]], n: int) -> int | None:
    return min((length for length in graphs if length >= n), default=None)
