"""What the weight cache needs heavy libraries for, as a program: `fetch` from the hub, `convert` to a copy's files.

Run by path in a process of its own, so that the boot process imports neither torch nor huggingface_hub and
can stop it. The request is one JSON argument; the exit code and the last line printed say what went wrong.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import sys
from pathlib import Path
from typing import Any

DISK_FAULT = 74  # EX_IOERR: the disk written to, not the source
SOURCE_FAULT = 65  # EX_DATAERR: what was read cannot be used
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE}


class Unusable(Exception):
    """The source cannot be used; the message is for the operator."""


def fetch(repo: str, revision: str, path: str, into: str, endpoint: str | None = None) -> None:
    """Download one file at a fixed revision into the directory `into`, under the path it has in the repository."""
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise Unusable(f"huggingface_hub cannot be imported ({error}); install it or provide the weights") from None
    try:
        hf_hub_download(repo, path, revision=revision, local_dir=into, endpoint=endpoint)
    except LocalEntryNotFoundError as error:  # no connection after all retries, or forbidden by HF_HUB_OFFLINE
        raise Unusable(f"{repo}/{path} cannot be had: {_first_line(error.__cause__ or error)}") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        raise Unusable(f"the hub answers {status} for {repo}/{path}; is a token (HF_TOKEN) needed?") from None


def convert(model: str, vocab: str, vocoder: str, into: str, precision: str) -> None:
    """Write model.safetensors, vocab.txt and vocoder.safetensors into the directory `into`."""
    target = Path(into)
    weights = _ema(_load(Path(model)))
    if precision == "fp16":
        weights = {name: _half(tensor) for name, tensor in weights.items()}
    _save(weights, target / "model.safetensors")
    del weights
    kept = {name: t for name, t in _load(Path(vocoder)).items() if name.startswith(("backbone.", "head.out."))}
    if not kept:
        raise Unusable(f"{Path(vocoder).name} is no Vocos: it has no tensor named backbone.* or head.out.*")
    _save(kept, target / "vocoder.safetensors")
    # The hub's file has CRLF line ends, the one in the f5-tts wheel LF; a token must not end with a CR.
    (target / "vocab.txt").write_bytes(Path(vocab).read_bytes().replace(b"\r\n", b"\n"))


def _load(path: Path) -> dict[str, Any]:
    """Tensors by name. A pickle is read with `weights_only`, which builds tensors and plain containers alone."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        value = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise Unusable(
            f"{path.name} holds more than weights, loading it could run its author's code; "
            "ask for a safetensors file, or convert it on a machine where that may happen"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise Unusable(f"{path.name} cannot be read: {_first_line(error)}") from None
    if not isinstance(value, dict):
        raise Unusable(f"{path.name} holds a {type(value).__name__} instead of named tensors")
    return value


def _ema(state: dict[str, Any]) -> dict[str, Any]:
    """The averaged weights, or the only ones: a training checkpoint nests them.

    (f5_tts/infer/utils_infer.py, `load_checkpoint`, with and without `use_ema`)
    """
    import torch

    inner = state.get("ema_model_state_dict", state.get("model_state_dict", state))
    tensors = {name: value for name, value in inner.items() if isinstance(value, torch.Tensor)}
    named = any("transformer." in name for name in tensors)
    if not named:
        raise Unusable("the checkpoint has no tensor named transformer.*; it is no F5-TTS model")
    return tensors


def _half(tensor: Any) -> Any:
    """Half precision where nothing is lost but digits: what would overflow and what counts is kept as it is."""
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    return half if bool(half.isfinite().all()) or not bool(tensor.isfinite().all()) else tensor


def _save(tensors: dict[str, Any], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(_apart(tensors), path)
    except SafetensorError as error:
        if code := re.search(r"os error (\d+)", str(error)):  # the Rust side wraps what the disk says, such as ENOSPC
            raise OSError(int(code[1]), os.strerror(int(code[1]))) from None
        raise


def _apart(tensors: dict[str, Any]) -> dict[str, Any]:
    """Each tensor in memory of its own, as save_file demands; those that are already are not copied."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
        alone = tensor.untyped_storage().data_ptr() not in seen
        result[name] = tensor if whole and alone else tensor.contiguous().clone()
        seen.add(result[name].untyped_storage().data_ptr())
    return result


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def main(task: str, request: str) -> int:
    arguments = json.loads(request)
    try:
        (fetch if task == "fetch" else convert)(**arguments)
    except Unusable as error:
        print(error)
        return SOURCE_FAULT
    except OSError as error:  # requests' and httpx' own are among them for the hub
        print(error.strerror or _first_line(error))
        return DISK_FAULT if error.errno in DISK_ERRORS else SOURCE_FAULT
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
