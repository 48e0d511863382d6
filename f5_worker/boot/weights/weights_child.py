"""The part of the weight cache that needs heavy libraries: the hub's client, and the conversion to a copy's files.

A program, run by path in a child process, so that the boot process imports neither torch nor huggingface_hub and
can stop it. The request is one JSON argument; the exit code and the last line printed tell what went wrong.

Pickles are never given to torch: reading them with `weights_only` was no protection before torch 2.6
(CVE-2025-32434), nor a complete one before 2.10 (CVE-2026-24747).
"""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DISK_FAULT = 74  # EX_IOERR: the disk that is written to failed, not the source
SOURCE_FAULT = 65  # EX_DATAERR: the files that were read cannot be used
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE}


# Where a training checkpoint has its weights, the averaged ones first: f5_tts/infer/utils_infer.py, `load_checkpoint`.
NESTED_AS = ("ema_model_state_dict", "model_state_dict")
BIGVGAN_NESTED_AS = ("generator",)


class Unusable(Exception):
    """The source cannot be used; the message is for the operator."""


def fetch(repo: str, revision: str, path: str, into: str, endpoint: str | None = None) -> None:
    """Download one file at a fixed revision into the directory `into`, under the path it has in the repository."""
    with _hub(f"{repo}/{path}") as hub:
        hub.hf_hub_download(repo, path, revision=revision, local_dir=into, endpoint=endpoint)


def resolve(repo: str, revision: str, path: str) -> None:
    """Print the commit at which a branch of a repository is, as the hub answers for one file in it."""
    with _hub(f"{repo}/{path}") as hub:
        print(hub.get_hf_file_metadata(hub.hf_hub_url(repo, path, revision=revision)).commit_hash)


@contextmanager
def _hub(name: str) -> Iterator[Any]:
    """Yield the hub's client, whose errors about the file of that name become messages for the operator."""
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise Unusable(f"huggingface_hub cannot be imported ({error}); install it or provide the weights") from None
    try:
        yield huggingface_hub
    except LocalEntryNotFoundError as error:  # no connection after all retries, or forbidden by HF_HUB_OFFLINE
        raise Unusable(f"{name} cannot be downloaded: {_first_line(error.__cause__ or error)}") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        raise Unusable(f"the hub answers {status} for {name}; is a token (HF_TOKEN) needed?") from None


def convert(model: str, vocab: str, vocoder: str, into: str, precision: str) -> None:
    """Write model.safetensors, vocab.txt and vocoder.safetensors into the directory `into`."""
    target = Path(into)
    weights = _load(Path(model), NESTED_AS)
    if not any("transformer." in name for name in weights):
        raise Unusable(f"{Path(model).name} has no tensor named transformer.*; it is not an F5-TTS model")
    if precision == "fp16":
        weights = {name: _half(tensor) for name, tensor in weights.items()}
    _save(weights, target / "model.safetensors")
    del weights
    weights = _load(Path(vocoder), BIGVGAN_NESTED_AS)
    if not any(name.startswith("conv_pre.") for name in weights):  # BigVGAN has that, and needs all tensors
        weights = {name: tensor for name, tensor in weights.items() if name.startswith(("backbone.", "head.out."))}
    if not weights:
        raise Unusable(f"{Path(vocoder).name} is not a Vocos model: it has no tensor named backbone.* or head.out.*")
    _save(weights, target / "vocoder.safetensors")
    # The hub's file has CRLF line ends, the one in the f5-tts wheel LF; a token must not end with CR.
    (target / "vocab.txt").write_bytes(Path(vocab).read_bytes().replace(b"\r\n", b"\n"))


def _load(path: Path, nested_as: Sequence[str] = ()) -> dict[str, Any]:
    """Load tensors by name; of a training checkpoint, those under the first of `nested_as` that it has."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix != ".safetensors":
        return _load_pickled(path, nested_as)
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise Unusable(f"{path.name} cannot be read: {_first_line(error)}") from None


def _load_pickled(path: Path, nested_as: Sequence[str]) -> dict[str, Any]:
    """Load the tensors of a PyTorch checkpoint; see `load_tensors`."""
    from f5_worker.models.pickled.torch_file import load_tensors
    from f5_worker.models.pickled.torch_pickle import CheckpointRefused

    try:
        return load_tensors(path, nested_as)
    except CheckpointRefused as error:
        raise Unusable(
            f"{path.name} {error}; save its weights alone, with torch 1.6 or later or as safetensors"
        ) from None


def _half(tensor: Any) -> Any:
    """Return the tensor in half precision, or unchanged if it would overflow or does not hold floats (counters)."""
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    return half if bool(half.isfinite().all()) or not bool(tensor.isfinite().all()) else tensor


def _save(tensors: dict[str, Any], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(_unshare(tensors), path)
    except SafetensorError as error:
        if code := re.search(r"os error (\d+)", str(error)):  # the Rust side wraps the disk's error, such as ENOSPC
            raise OSError(int(code[1]), os.strerror(int(code[1]))) from None
        raise


def _unshare(tensors: dict[str, Any]) -> dict[str, Any]:
    """Give each tensor its own memory, as save_file requires; tensors that already have it are not copied."""
    seen_ptrs: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        owns_storage = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
        is_first = tensor.untyped_storage().data_ptr() not in seen_ptrs
        result[name] = tensor if owns_storage and is_first else tensor.contiguous().clone()
        seen_ptrs.add(result[name].untyped_storage().data_ptr())
    return result


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


TASKS: dict[str, Callable[..., None]] = {"fetch": fetch, "resolve": resolve, "convert": convert}


def main(task: str, request: str) -> int:
    """Run `fetch`, `resolve` or `convert` with the arguments in `request` (JSON) and return the exit code."""
    arguments = json.loads(request)
    try:
        TASKS[task](**arguments)
    except Unusable as error:
        print(error)
        return SOURCE_FAULT
    except OSError as error:  # includes errors of requests and httpx while downloading
        print(error.strerror or _first_line(error))
        return DISK_FAULT if error.errno in DISK_ERRORS else SOURCE_FAULT
    return 0


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[3]))  # isolated mode leaves the code's directory out
    sys.exit(main(*sys.argv[1:]))
