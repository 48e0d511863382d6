"""Keep all mel frames on the GPU: every utterance at several playing speeds, and tables to pick from.

Played faster or slower by resampling, a voice changes pitch, formants and pace together: this gives cheap
"speakers" for the model to copy from the reference. Entries (utterance x factor) are sorted by pool
(speaker and pace) and length, so that a look-up table finds one of a wanted length in one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchaudio
from torch import Tensor

from scripts.train_tiny.prose import FRENCH
from scripts.train_tiny.synth import TimedUtterance, load

HOP, RATE_HZ, FLOOR = 256, 24_000, -11.512925
MAIN_VOICES = ("joe", "ff_siwis")  # the one with the most speech, of each language
MAIN_FACTORS = (0.78, 0.84, 0.90, 0.95, 1.0, 1.06, 1.12, 1.19, 1.27)
EXTRA_FACTORS = (0.91, 1.0, 1.1)
MAIN_PACES, EXTRA_PACES = (0.85, 1.0, 1.2, 1.45), (1.0,)  # borders between the pools of one speaker
SHARES = (0.4, 0.4, 0.2)  # of the items: the main voice, further ones, mixtures of voices
MAX_FRAMES = 1200
CHUNK = 300  # utterances transformed at a time


@dataclass
class Corpus:
    """Flat tensors; `entry_*` has a row for each entry, `pool_*` for each pool."""

    mel: Tensor  # [frames 100] float16
    char: Tensor  # [frames] int16, index of the character spoken
    phone: Tensor  # [frames] uint8
    tokens: Tensor  # [characters] int64
    entry_frame: Tensor  # first frame
    entry_frames: Tensor
    entry_text: Tensor  # first character in `tokens`
    entry_chars: Tensor
    pool_start: Tensor  # first entry
    pool_upto: Tensor  # [pools MAX_FRAMES + 1] end of the entries at most that long
    pool_near: Tensor  # [pools 2] neighbours in pace
    pool_weight: Tensor

    @property
    def hours(self) -> float:
        """Length of all mel frames in hours."""
        return self.mel.shape[0] * HOP / RATE_HZ / 3600


def load_spoken(folders: list[Path], limit: int | None = None) -> list[TimedUtterance]:
    """Read the utterances of all files in some folders, at most `limit`."""
    spoken = [s for folder in folders for path in sorted(folder.glob("*.npz")) for s in load(path)]
    return spoken[:limit]


def build(spoken: list[TimedUtterance], device: torch.device) -> Corpus:
    """Build the mel frames and tables of all utterances, on `device`."""
    builder = _Builder(device)
    for voice in sorted({s.voice for s in spoken}):
        own = [s for s in spoken if s.voice == voice]
        for factor in MAIN_FACTORS if voice in MAIN_VOICES else EXTRA_FACTORS:
            for first in range(0, len(own), CHUNK):
                builder.add(own[first : first + CHUNK], f"{voice}-{factor}", factor)
    return builder.finish()


def log_mel(device: torch.device) -> torchaudio.transforms.MelSpectrogram:
    """Return upstream's mel transform, before the logarithm."""
    return torchaudio.transforms.MelSpectrogram(
        RATE_HZ, n_fft=1024, win_length=1024, hop_length=HOP, n_mels=100, power=1, center=True
    ).to(device)


class _Builder:
    def __init__(self, device: torch.device) -> None:
        self.device, self.melspec = device, log_mel(device)
        self.mel: list[Tensor] = []
        self.char: list[Tensor] = []
        self.phone: list[Tensor] = []
        self.rows: list[tuple[str, int, int, int, int, int]] = []  # speaker, pace, frame, frames, text, chars
        self.tokens: list[int] = []
        self.text_at: dict[str, int] = {}
        self.frames = 0

    def add(self, group: list[TimedUtterance], speaker: str, factor: float) -> None:
        """Add utterances of one voice, played at `factor` times their speed."""
        rate = 150 * round(group[0].rate_hz * factor / 150)
        gap = int(0.06 * rate)
        starts = np.cumsum([gap] + [len(s.wav) + gap for s in group])[:-1]
        wav = np.zeros(int(starts[-1]) + len(group[-1].wav) + gap, np.int16)
        for start, s in zip(starts, group, strict=True):
            wav[start : start + len(s.wav)] = s.wav
        samples = torch.from_numpy(wav).to(self.device).float() / 32767
        samples = torchaudio.functional.resample(samples, rate, RATE_HZ)
        mel = self.melspec(samples).clamp_min(1e-5).log().T.half()
        seconds = np.arange(len(mel)) * HOP / RATE_HZ * rate / group[0].rate_hz
        self.mel.append(mel)
        self.char.append(self._at(group, starts, seconds, "char_t").to(torch.int16))
        self.phone.append(self._phones(group, starts, seconds))
        for start, s in zip(starts, group, strict=True):
            first = int(np.ceil(start / rate * RATE_HZ / HOP))
            count = int((start + len(s.wav)) / rate * RATE_HZ / HOP) - first
            if 12 <= count <= MAX_FRAMES and len(s.text) * 3 < count:
                pace = int(np.searchsorted(MAIN_PACES if s.voice in MAIN_VOICES else EXTRA_PACES, s.slowness))
                self.rows.append((speaker, pace, self.frames + first, count, self._text(s.text), len(s.text)))
        self.frames += len(mel)

    def _text(self, text: str) -> int:
        if text not in self.text_at:
            self.text_at[text] = len(self.tokens)
            self.tokens += [FRENCH.index(char) for char in text]
        return self.text_at[text]

    def _at(self, group: list[TimedUtterance], starts: np.ndarray, seconds: np.ndarray, name: str) -> Tensor:
        """Return the index, within its utterance, of the mark that each frame belongs to."""
        rate_hz = group[0].rate_hz
        marks = np.concatenate([a / rate_hz + getattr(s, name) for a, s in zip(starts, group, strict=True)])
        sizes = np.array([len(getattr(s, name)) for s in group])
        ends = np.cumsum(sizes)
        owner = np.clip(np.searchsorted(starts / rate_hz, seconds, "right") - 1, 0, len(group) - 1)
        index = np.searchsorted(np.maximum.accumulate(marks), seconds, "right") - 1 - (ends - sizes)[owner]
        return torch.from_numpy(np.clip(index, 0, sizes[owner] - 1)).to(self.device)

    def _phones(self, group: list[TimedUtterance], starts: np.ndarray, seconds: np.ndarray) -> Tensor:
        local = self._at(group, starts, seconds, "phone_t")
        sizes = np.array([len(s.phone_id) for s in group])
        owner = np.clip(np.searchsorted(starts / group[0].rate_hz, seconds, "right") - 1, 0, len(group) - 1)
        first = torch.from_numpy((np.cumsum(sizes) - sizes)[owner]).to(self.device)
        ids = torch.from_numpy(np.concatenate([s.phone_id for s in group])).to(self.device)
        return ids[first + local].to(torch.uint8)

    def finish(self) -> Corpus:
        """Return the corpus of all that was added."""
        self.rows.sort()
        pools = sorted({row[:2] for row in self.rows})
        number = {pool: index for index, pool in enumerate(pools)}
        rows = sorted((number[row[:2]], row[3], row[2], row[4], row[5]) for row in self.rows)
        table = torch.tensor(rows, device=self.device).T
        pool = table[0]
        counts = torch.zeros(len(pools), MAX_FRAMES + 1, dtype=torch.long, device=self.device)
        counts.index_put_((pool, table[1]), torch.ones_like(pool), accumulate=True)
        sizes = counts.sum(1)
        start = sizes.cumsum(0) - sizes
        near = [[number.get((s, p + d), number[s, p]) for d in (-1, 1)] for s, p in pools]
        kind = torch.tensor([_kind(speaker.rpartition("-")[0]) for speaker, _ in pools], device=self.device)
        spoken = torch.zeros(len(SHARES), device=self.device).index_add_(0, kind, sizes.float())
        share = torch.tensor(SHARES, device=self.device)[kind] * sizes / spoken[kind]
        mel, char, phone = (torch.cat(part) for part in (self.mel, self.char, self.phone))
        self.mel.clear()
        return Corpus(
            mel, char, phone, torch.tensor(self.tokens, device=self.device), table[2], table[1], table[3], table[4],
            start, start[:, None] + counts.cumsum(1), torch.tensor(near, device=self.device), share,
        )  # fmt: skip


def _kind(voice: str) -> int:
    return 0 if voice in MAIN_VOICES else 2 if "+" in voice else 1
