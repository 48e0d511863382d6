"""The check that flash-attn computes correct results on this GPU, run by verify.py as a program in a child process.

An import alone does not detect "no kernel image is available" (flash-attention #1638), or a mislabelled build
whose symbols happen to resolve. Prints one line `{"ok": ..., "stage": ..., "error": ...}` at the end.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from typing import Any

HEADS, HEAD_DIM = 16, 64  # of F5TTS_v1_Base
DENSE = ((2, 128), (1, 333))  # (b, n); the second is not a multiple of the tile size
RAGGED = (256, 77, 1, 130)  # frames of four sequences in one batch
# Measured against SDPA in fp32 on the same rounded input; of the order of one unit in the last place at 1.0.
TOLERANCE = {"float16": 2e-3, "bfloat16": 1.6e-2}


class Failed(Exception):
    """The check failed at `stage`; the message is one line."""

    def __init__(self, stage: str, error: str) -> None:
        super().__init__(error)
        self.stage = stage


def load() -> Any:
    """Import the functions that the worker calls, and those that F5-TTS calls where that is installed.

    `unpad_input` has to return the 5 values that F5-TTS unpacks. It needs einops, which comes with F5-TTS.

    Raises:
        Failed: the import fails, or the version is too old.
    """
    padding: Any = (None, None)
    try:
        import flash_attn  # type: ignore[import-not-found, unused-ignore]
        from flash_attn import flash_attn_func, flash_attn_varlen_func

        if importlib.util.find_spec("einops") is not None:
            from flash_attn.bert_padding import (  # type: ignore[import-not-found, unused-ignore]
                pad_input,
                unpad_input,
            )

            padding = pad_input, unpad_input
    except Exception as error:
        raise Failed("import", one_line(error)) from error
    version = str(getattr(flash_attn, "__version__", "0"))
    if release(version) < (2, 7):
        raise Failed("version", f"flash-attn {version} is older than 2.7.0, where unpad_input returns 4 values")
    return *(below_operator() or (flash_attn_func, flash_attn_varlen_func)), *padding, version


def below_operator() -> tuple[Any, Any] | None:
    """Return attention of equal and of ragged lengths by the function that the worker calls, if it is there.

    (models/f5/attention.py) The first call of a public function imports torch's compiler: 4 s.
    """
    operator = getattr(sys.modules.get("flash_attn.flash_attn_interface"), "_flash_attn_varlen_forward", None)
    forward = getattr(operator, "_init_fn", None)
    if forward is None:
        return None
    import torch

    def ragged(q: Any, k: Any, v: Any, *boundaries: Any) -> Any:
        return forward(q, k, v, *boundaries, 0.0, HEAD_DIM**-0.5, False)[0]

    def equal(q: Any, k: Any, v: Any, **_: Any) -> Any:
        b, n = q.shape[:2]
        boundaries = torch.arange(0, (b + 1) * n, n, dtype=torch.int32, device=q.device)
        out = ragged(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), boundaries, boundaries, n, n)
        return out.view(q.shape)

    return equal, ragged


def release(version: str) -> tuple[int, ...]:
    """Return the major and minor number of a version."""
    parts = version.split(".")[:2]
    return tuple(int(part) if part.isdigit() else 0 for part in parts)


def reference(torch: Any, q: Any, k: Any, v: Any) -> Any:
    """Return softmax(q k^T / sqrt(d)) v in fp32, `[b, n, h, d]`; not by SDPA, which may itself use a flash kernel."""
    q, k, v = (x.float().transpose(1, 2) for x in (q, k, v))
    weights = torch.softmax(q @ k.transpose(-1, -2) / HEAD_DIM**0.5, dim=-1)
    return (weights @ v).transpose(1, 2)


def random_qkv(torch: Any, b: int, n: int, dtype: Any, device: str) -> tuple[Any, ...]:
    """Return q, k and v, each `[b, n, HEADS, HEAD_DIM]`, with the same values on every device."""
    generator = torch.Generator().manual_seed(b * 1000 + n)  # on the CPU: the same numbers everywhere
    shape = (b, n, HEADS, HEAD_DIM)
    return tuple(torch.randn(shape, generator=generator).to(device, dtype) for _ in range(3))


def dense(torch: Any, functions: Any, dtype: Any, device: str) -> float:
    """Return the largest error of attention over sequences of equal length."""
    worst = 0.0
    for b, n in DENSE:
        q, k, v = random_qkv(torch, b, n, dtype, device)
        out = functions[0](q, k, v, dropout_p=0.0, causal=False)
        worst = max(worst, difference(torch, out, reference(torch, q, k, v)))
    return worst


def varlen(torch: Any, functions: Any, dtype: Any, device: str) -> float:
    """Return the largest error of attention with a mask as in F5-TTS's AttnProcessor: unpad, attend, pad."""
    _, attend, pad_input, unpad_input, _ = functions
    b, n = len(RAGGED), max(RAGGED)
    q, k, v = random_qkv(torch, b, n, dtype, device)
    mask = torch.arange(n, device=device)[None, :] < torch.tensor(RAGGED, device=device)[:, None]
    if unpad_input is None:
        lengths = torch.tensor((0, *RAGGED), device=device).cumsum(0, dtype=torch.int32)
        out = torch.zeros_like(q)
        out[mask] = attend(q[mask], k[mask], v[mask], lengths, lengths, n, n)
    else:
        flat_q, indices, cu_q, max_q, _ = unpad_input(q, mask)
        flat_k, _, cu_k, max_k, _ = unpad_input(k, mask)
        flat_v, *_ = unpad_input(v, mask)
        out = pad_input(attend(flat_q, flat_k, flat_v, cu_q, cu_k, max_q, max_k), indices, b, n)
    worst = 0.0
    for row, length in enumerate(RAGGED):
        part = slice(row, row + 1), slice(0, length)
        worst = max(worst, difference(torch, out[part], reference(torch, q[part], k[part], v[part])))
    return worst


def difference(torch: Any, out: Any, expected: Any) -> float:
    """Return the largest absolute difference; infinite if `out` has values that are not finite."""
    if out.shape != expected.shape:
        raise Failed("compare", f"the result has shape {tuple(out.shape)}, not {tuple(expected.shape)}")
    if not torch.isfinite(out).all():
        return float("inf")
    return float((out.float() - expected).abs().max())


def check(device: str) -> dict[str, Any]:
    """Run flash-attn and compare its results with the reference; return its version and the errors.

    Raises:
        Failed: an import, a call or a comparison failed.
    """
    try:
        import torch

        torch.zeros(1, device=device)
    except Exception as error:
        raise Failed("torch", one_line(error)) from error
    functions = load()
    errors: dict[str, float] = {}
    for path in (dense, varlen):
        for name, tolerance in TOLERANCE.items():
            try:
                worst = path(torch, functions, getattr(torch, name), device)
                if device == "cuda":
                    torch.cuda.synchronize()
            except Failed:
                raise
            except Exception as error:
                raise Failed("forward", f"{path.__name__} {name}: {one_line(error)}") from error
            if not worst <= tolerance:
                raise Failed("compare", f"{path.__name__} {name} is off by {worst:.3g}, allowed is {tolerance:g}")
            errors[f"{path.__name__}_{name}"] = round(worst, 6)
    return {"version": functions[-1], "max_error": errors}


def one_line(error: BaseException) -> str:
    """Return the type and the first line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:500]


def main(device: str = "cuda") -> None:
    """Run the check and print its result."""
    # A program started by its path searches its own directory first, whose modules could hide installed packages.
    sys.path[:] = [entry for entry in sys.path if entry != os.path.dirname(__file__)]
    started = time.monotonic()
    try:
        answer = {"ok": True, "stage": "done", "error": None, **check(device)}
    except Failed as failed:
        answer = {"ok": False, "stage": failed.stage, "error": str(failed)}
    print("\n" + json.dumps(answer | {"seconds": round(time.monotonic() - started, 3)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
