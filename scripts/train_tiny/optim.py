"""Muon for the inner matrices, AdamW for the rest, on flat buffers, and the moving average of the weights.

All parameters live in one float32 buffer, matrices of one shape side by side, so that a step is a dozen
kernels, one all-reduce and no copying, and can be captured in a CUDA graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

MUON_MOMENTUM, ADAM_BETAS, ADAM_EPS = 0.95, (0.9, 0.98), 1e-8


def is_inner(name: str, parameter: Tensor) -> bool:
    """Return True for weight matrices between hidden states; not embeddings, outer layers and time modulation."""
    return (
        parameter.ndim == 2
        and ("transformer_blocks" in name or "pwconv" in name)
        and "attn_norm" not in name
        and "embed.text_embed.weight" not in name
    )


@dataclass(frozen=True)
class _Group:
    start: int
    end: int
    shape: tuple[int, int, int]


class FlatOptimizer:
    """Muon and AdamW on flat buffers.

    Scalars that change with the step (`rates`: Muon's, Adam's, EMA weight, 1/bias corrections) are tensors.
    """

    def __init__(self, model: nn.Module, weight_decay: float = 0.1) -> None:
        named = sorted(
            model.named_parameters(), key=lambda kv: (is_inner(*kv), tuple(kv[1].shape) if is_inner(*kv) else (), kv[0])
        )
        device = named[0][1].device
        total = sum(p.numel() for _, p in named)
        self.weight_decay = weight_decay
        self.flat, self.grad = torch.zeros(total, device=device), torch.zeros(total, device=device)
        self.first, self.second = torch.zeros(total, device=device), torch.zeros(0, device=device)
        self.rates = torch.zeros(5, device=device)
        self.usual_norm, self.skipped = torch.zeros((), device=device), torch.zeros((), device=device)
        self.groups: list[_Group] = []
        self.spans: dict[str, tuple[int, torch.Size]] = {}
        self._build_buffers(named)
        self.second = torch.zeros(self.adam_end, device=device)
        self.ema = self.flat.clone()
        self.steps = 0

    def _build_buffers(self, named: list[tuple[str, nn.Parameter]]) -> None:
        at, self.adam_end = 0, 0
        for name, p in named:
            size = p.numel()
            self.flat[at : at + size] = p.data.reshape(-1)
            p.data = self.flat[at : at + size].view_as(p)
            p.grad = self.grad[at : at + size].view_as(p)
            self.spans[name] = (at, p.shape)
            if not is_inner(name, p):
                self.adam_end = at + size
            elif self.groups and self.groups[-1].shape[1:] == tuple(p.shape):
                last = self.groups[-1]
                self.groups[-1] = _Group(last.start, at + size, (last.shape[0] + 1, *p.shape))
            else:
                self.groups.append(_Group(at, at + size, (1, *p.shape)))
            at += size

    def set_rates(self, scale: float, muon: float, adam: float, decay: float) -> None:
        """Set the rates of the next step; call once before `step`. `scale` is the schedule's factor."""
        self.steps += 1
        c1, c2 = (1 - beta**self.steps for beta in ADAM_BETAS)
        keep = min(decay, (1 + self.steps) / (10 + self.steps))
        rates = torch.tensor([scale * muon, scale * adam / c1, 1 - keep, 1 / c2, scale * adam])
        self.rates.copy_(rates.pin_memory() if self.rates.is_cuda else rates, non_blocking=True)

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters and their moving average from the gradient."""
        norm = self.grad.norm()
        # A step on a gradient that is not finite, or far above the usual norm, is skipped.
        usual = torch.where(self.usual_norm > 0, self.usual_norm, norm)
        good = torch.isfinite(norm) & (norm < 10 * usual)
        self.grad.nan_to_num_(0.0, 0.0, 0.0).mul_(good * (2 * usual / norm).nan_to_num(0.0, 0.0, 0.0).clamp(max=1.0))
        finite = torch.where(torch.isfinite(norm), torch.minimum(norm, 3 * usual), usual)
        self.usual_norm.copy_(torch.where(torch.isfinite(usual), usual.lerp(finite, 0.02), self.usual_norm))
        self.skipped.add_(~good)
        lr_muon, lr_adam, fresh, unbias, lr_plain = (self.rates * good).unbind()
        g, p, m, v = (t[: self.adam_end] for t in (self.grad, self.flat, self.first, self.second))
        m.lerp_(g, 1 - ADAM_BETAS[0])
        v.lerp_(g.square(), 1 - ADAM_BETAS[1])
        p.mul_(1 - lr_plain * self.weight_decay).sub_(lr_adam * m / ((v * unbias).sqrt() + ADAM_EPS))
        for group in self.groups:
            g, p, m = (t[group.start : group.end].view(group.shape) for t in (self.grad, self.flat, self.first))
            m.lerp_(g, 1 - MUON_MOMENTUM)
            update = orthogonal(g.lerp(m, MUON_MOMENTUM))
            size = 0.2 * max(group.shape[1:]) ** 0.5
            p.mul_(1 - lr_muon * self.weight_decay).sub_(lr_muon * size * update)
        self.ema.lerp_(self.flat, fresh)

    def state(self) -> list[Tensor]:
        """Return all tensors that a step changes."""
        return [self.flat, self.first, self.second, self.ema, self.usual_norm, self.skipped]

    def named_ema(self) -> dict[str, Tensor]:
        """Return the moving average of each parameter by name."""
        return {k: self.ema[at : at + shape.numel()].view(shape) for k, (at, shape) in self.spans.items()}


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """Orthogonalize matrices [k r c] by the Newton-Schulz iteration of Muon, in bf16 on a GPU."""
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.mT if tall else x).float()
