"""Compose training items on the GPU: reference and target of one speaker, exactly n frames long.

An item is a row of utterances with pauses between; the part before the border is the reference (its mel
is shown), the part after it must be spoken. Nothing is padded: the last utterance is picked to fit, and the rest
becomes silence. So there are no masks, and every shape is static.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.train_tiny.corpus import FLOOR, Corpus
from scripts.train_tiny.model import even_upsampling

SLOTS = 6  # ordinary utterances; a further slot holds the short one
LONG_PATIENCE = 70  # frames of silence that an item with one long utterance may have more


@dataclass
class Batch:
    """b items of n frames."""

    mel: Tensor  # [b n 100] float32
    shown: Tensor  # [b n] bool, reference frames
    upsample: Tensor  # [b n] token of each frame
    phone: Tensor  # [b n]
    tokens: Tensor  # [b nt]
    lengths: Tensor  # [b]


def random_batch(b: int, n: int, rows: int, device: torch.device) -> Batch:
    """Return random values in the right shapes, for compiling before the speech is available."""
    half = torch.arange(n, device=device) < n // 2
    return Batch(
        torch.randn(b, n, 100, device=device), half.expand(b, n).clone(),
        (torch.arange(n, device=device) // 4).expand(b, n).clone().clamp(max=rows - 8),
        torch.ones(b, n, dtype=torch.long, device=device), torch.ones(b, rows, dtype=torch.long, device=device),
        torch.full((b,), rows - 6, device=device),
    )  # fmt: skip


@dataclass
class _Plan:
    """Slots of the chosen items, [b SLOTS + 1]."""

    entry: Tensor
    frames: Tensor
    start: Tensor
    gap: Tensor
    valid: Tensor
    target: Tensor  # [b] first slot of the target; -1 = any frame may be the border


class Composer:
    """Draws random items from a corpus."""

    def __init__(self, corpus: Corpus, seed: int) -> None:
        self.c = corpus
        self.device = corpus.mel.device
        self.rng = torch.Generator(self.device).manual_seed(seed)
        # Made once: a tensor built from a list would make the CPU wait for the GPU at every batch.
        self.share = corpus.pool_weight.cumsum(0) / corpus.pool_weight.sum()
        self.tilts = torch.tensor([0.45, 0.3, 0.2, 0.15], device=self.device)

    def batch(self, b: int, n: int, rows: int, alpha: float) -> Batch:
        """Return b items of n frames.

        Args:
            rows: tokens an item, padded.
            alpha: 0 for text at its true times; 1 for text spread evenly, as at inference.
        """
        plan = self._plan(b, n, rows)
        c = self.c
        frames = torch.arange(n, device=self.device)
        slot = (frames[None, :, None] >= plan.start[:, None, :]).sum(-1).sub_(1).clamp_min_(0)
        offset = frames - plan.start.gather(1, slot)
        inside = (offset >= 0) & (offset < plan.frames.gather(1, slot)) & plan.valid.gather(1, slot)
        source = torch.where(inside, c.entry_frame[plan.entry].gather(1, slot) + offset, 0)
        chars = c.entry_chars[plan.entry] * plan.valid
        text_at = (chars + plan.valid).cumsum(1) - (chars + plan.valid)
        lengths = (chars + plan.valid).sum(1) - 1
        local = torch.where(inside, c.char[source].long(), torch.where(offset < 0, 0, chars.gather(1, slot)))
        spoken = torch.minimum(text_at.gather(1, slot) + local, lengths[:, None] - 1)
        even = even_upsampling(frames, lengths, n)
        mix = (alpha + (0.5 * self._uniform(b) - 0.25) * (0 < alpha < 1)).clamp(0, 1)[:, None]
        upsample = ((1 - mix) * spoken + mix * even + 0.5).long()
        mel = torch.where(inside[..., None], c.mel[source].float(), FLOOR)
        phone = torch.where(inside, c.phone[source].long(), 0)
        border = self._border(plan, n)
        return Batch(
            self._coloured(mel), frames < border[:, None], upsample, phone, self._tokens(plan, text_at, lengths, rows),
            lengths,
        )  # fmt: skip

    def _uniform(self, *size: int) -> Tensor:
        return torch.rand(size, generator=self.rng, device=self.device)

    def _between(self, low: float, high: float, *size: int) -> Tensor:
        return (low + (high - low) * self._uniform(*size)).long()

    def _pick(self, pool: Tensor, longest: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Pick an entry of the pool among the `spread` longest that are at most `longest`; frames 0 for none."""
        low = self.c.pool_start[pool]
        high = self.c.pool_upto[pool, longest.clamp(0, self.c.pool_upto.shape[1] - 1)]
        back = (self._uniform(len(pool)) * torch.minimum(spread, high - low)).long()
        entry = (high - 1 - back).clamp_min(0)
        return entry, torch.where(high > low, self.c.entry_frames[entry], 0)

    def _plan(self, b: int, n: int, rows: int) -> _Plan:
        """Draw three times as many candidates, and keep those that need the least extra silence."""
        m = 3 * b
        pool = torch.searchsorted(self.share, self._uniform(m)).clamp_(max=len(self.share) - 1)
        gaps = (5 + 65 * self._uniform(m, SLOTS + 1).square()).long()  # mostly short, up to 0.7 s
        gaps[:, 0] = self._between(0, 8, m)
        entry, frames = torch.zeros_like(gaps), torch.zeros_like(gaps)
        left = n - gaps[:, 0] - self._between(0, 22, m)
        short = self._uniform(m) < 0.35
        wide = torch.full((m,), 24, device=self.device)
        e, f = self._pick(pool, self._between(24, 110, m), wide)
        idle = torch.where(self._uniform(m) < 0.6, self._uniform(m) * (2.3 * f + 10), self._uniform(m) * 20).long()
        f = torch.where(short & (f + idle < n // 2), f, 0)
        idle = torch.where(f > 0, idle, 0)
        entry[:, -1], frames[:, -1] = e, f
        left -= f + torch.where(f > 0, gaps[:, -1] + idle, 0)
        one_long = self._uniform(m) < 0.5
        most = torch.where(one_long, self._between(1, 2 + n / 1000, m), SLOTS)
        self._fill(pool, left, gaps, entry, frames, most)
        flip = (self._uniform(m) < 0.5) & ~one_long
        for tensor in (entry, frames, gaps[:, 1:]):
            tensor[:, :SLOTS] = torch.where(flip[:, None], tensor[:, :SLOTS].flip(1), tensor[:, :SLOTS])
        lead = self._short_first(entry, frames)
        valid = frames > 0
        chars = (self.c.entry_chars[entry] + 1).mul(valid).sum(1)
        first = valid & (valid.cumsum(1) == 1)
        left = n - idle - (torch.where(first, gaps[:, :1], gaps) * valid + frames).sum(1)  # in the order it now has
        bad = (chars > rows - 4) | (chars < 2) | (valid[:, :SLOTS].sum(1) < 1) | (left < 0)
        # A long utterance seldom fits as well as several; without some patience the short ones alone would be kept.
        keep = ((left - LONG_PATIENCE * one_long).clamp_min(14) + 10_000 * bad).argsort()[:b]
        entry, frames, valid, gaps = entry[keep], frames[keep], valid[keep], gaps[keep]
        early = torch.where(
            self._uniform(b) < 0.25, left[keep].clamp_min(0) + idle[keep], 0
        )  # silence before the target
        return self._placed(entry, frames, valid, gaps, (early * self._uniform(b)).long(), lead[keep])

    def _short_first(self, entry: Tensor, frames: Tensor) -> Tensor:
        """Move the short utterance before the last ordinary one, in place, in half of the items; return which."""
        ordinary = frames[:, :SLOTS] > 0
        lead = (frames[:, -1] > 0) & (ordinary.sum(1) > 1) & (self._uniform(len(frames)) < 0.5)
        slots = torch.arange(SLOTS, device=self.device)
        last = torch.where(lead, (ordinary * slots).amax(1), SLOTS)[:, None]
        for tensor in (entry, frames):
            moved = tensor.gather(1, last)
            tensor.scatter_(1, last, tensor[:, -1:].clone())
            tensor[:, -1:] = moved
        return lead

    def _fill(self, pool: Tensor, left: Tensor, gaps: Tensor, entry: Tensor, frames: Tensor, most: Tensor) -> None:
        """Fill the ordinary slots, in place: some of a wanted length, at most `most`, then one to fit.

        A sentence to be spoken is often longer than the reference, so a small `most` leaves room for a long one.
        """
        m = len(pool)
        done = torch.zeros(m, dtype=torch.bool, device=self.device)
        for index in range(SLOTS):
            fit = (left < self._between(230, 420, m)) | (index == SLOTS - 1) | (most <= index)
            free = 80 + self._uniform(m) * ((left - 100).clamp(max=420) - 80)
            near = self.c.pool_near[pool].gather(1, self._between(0, 2, m)[:, None])[:, 0]
            other = torch.where(self._uniform(m) < 0.3, near, pool)
            e, f = self._pick(other, torch.where(fit, left, free.long()), torch.where(fit, 4, 12))
            use = ~done & (f > 0) & (f <= left)
            entry[:, index], frames[:, index] = e, torch.where(use, f, 0)
            left -= torch.where(use, f + torch.where(fit, 0, gaps[:, index + 1]), 0)
            done |= fit

    def _placed(self, entry: Tensor, frames: Tensor, valid: Tensor, gaps: Tensor, early: Tensor, lead: Tensor) -> _Plan:
        rank = valid.cumsum(1)
        count = rank[:, -1]
        wanted = torch.where(
            self._uniform(len(entry)) < 0.4, count, (2 + self._uniform(len(entry)) * (count - 1)).long()
        )
        wanted = torch.where(valid[:, -1], count - lead.long(), wanted)
        target = (rank < wanted[:, None]).sum(1).clamp(max=SLOTS)
        any_frame = (count < 2) | (self._uniform(len(entry)) < 0.07)
        before = torch.cat((gaps[:, :1] * 0, gaps[:, 1:]), 1)
        first = valid & (rank == 1)
        before = torch.where(first, gaps[:, :1], before) * valid
        slots = torch.arange(SLOTS + 1, device=self.device)
        before = before + early[:, None] * (slots == target[:, None])
        start = (before + frames).cumsum(1) - frames
        return _Plan(entry, frames, start, before, valid, torch.where(any_frame, -1, target))

    def _border(self, plan: _Plan, n: int) -> Tensor:
        """Return the first frame to be spoken: in the pause before the target, rarely anywhere, rarely none shown."""
        b = len(plan.target)
        at = plan.target.clamp_min(0)[:, None]
        pause = plan.gap.gather(1, at)[:, 0]
        border = plan.start.gather(1, at)[:, 0] - (self._uniform(b) * pause.clamp(max=30)).long()
        border = torch.where(plan.target < 0, self._between(0.15 * n, 0.6 * n, b), border)
        return torch.where(self._uniform(b) < 0.04, 0, border.clamp(max=n - 16))

    def _tokens(self, plan: _Plan, text_at: Tensor, lengths: Tensor, rows: int) -> Tensor:
        at = torch.arange(rows, device=self.device)
        begins = torch.where(plan.valid, text_at, 1 << 20)
        order = begins.argsort(1)
        slot = order.gather(1, (at[None, :, None] >= begins.gather(1, order)[:, None, :]).sum(-1).sub_(1).clamp_min_(0))
        local = at - text_at.gather(1, slot)
        size = self.c.entry_chars[plan.entry].gather(1, slot)
        source = self.c.entry_text[plan.entry].gather(1, slot) + local
        real = (local < size) & (at < lengths[:, None])
        return torch.where(real, self.c.tokens[torch.where(real, source, 0)], 0)  # 0: the space between

    def _coloured(self, mel: Tensor) -> Tensor:
        """Simulate a recording for each item: level, a smooth tilt over the bands, reverberation, background noise."""
        b = len(mel)
        bands = torch.linspace(0, math.pi, mel.shape[-1], device=self.device)
        waves = torch.stack([(k * bands).cos() for k in range(1, 5)])
        tilt = torch.randn(b, 4, generator=self.rng, device=self.device) * self.tilts
        strong = (self._uniform(b, 1) < 0.8).float()
        mel = mel + (strong * (tilt @ waves))[:, None] + (self._uniform(b, 1, 1) * 1.2 - 0.8)
        wet = 0.25 * self._uniform(b, 1, 1).square()
        decay = (-1 / (2 + 5 * self._uniform(b, 1, 1))).exp()  # by 60 dB in 0.15 to 0.5 s
        mel = _reverberated(mel, wet, decay)
        level = torch.where(self._uniform(b) < 0.55, self._uniform(b) * 4.5 - 11.0, -14.0)
        slope = torch.randn(b, generator=self.rng, device=self.device)[:, None] * bands.cos() * 0.7
        grain = torch.randn(mel.shape, generator=self.rng, device=self.device) * 0.35
        return torch.logaddexp(mel, (level[:, None] + slope)[:, None] + grain).clamp_min(FLOOR)


def _reverberated(mel: Tensor, wet: Tensor, decay: Tensor) -> Tensor:
    """Add 32 echoes a frame apart, the first `wet` as loud as the sound, each `decay` as loud as the one before."""
    sound = mel.exp()
    tail = F.pad(sound, (0, 0, 1, 0))[:, :-1]
    for step in (1, 2, 4, 8, 16):  # each doubles the number of echoes
        tail = tail + decay**step * F.pad(tail, (0, 0, step, 0))[:, :-step]
    return (sound + wet * tail).log()
