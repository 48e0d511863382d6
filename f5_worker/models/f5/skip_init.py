"""Construction of modules without initial weights, for those whose weights are loaded next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode


class SkipInit(TorchFunctionMode):
    """A context that skips `torch.nn.init`: `with SkipInit(): model = Model()`.

    F5TTS_v1_Base is constructed in 0.2 s this way, against 2.6 s with random weights and 6.1 s on the meta device,
    which imports 886 modules (torch 2.11 on two CPU cores).
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if getattr(func, "__module__", None) == "torch.nn.init":
            return named["tensor"] if "tensor" in named else args[0]
        return func(*args, **named)
