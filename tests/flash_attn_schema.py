"""The operator of flash-attn 2.7 and 2.8 that computes attention of rows of several lengths, for torch.library."""

from __future__ import annotations

# Written out, because torch 2.4 cannot read it from a function in a module with postponed annotations.
FORWARD_SCHEMA = (
    "(Tensor q, Tensor k, Tensor v, Tensor cu_q, Tensor cu_k, int max_q, int max_k, "
    "float dropout_p, float softmax_scale, bool causal, float softcap=0.0) -> (Tensor, Tensor)"
)
