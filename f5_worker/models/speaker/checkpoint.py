"""The weights of the speaker encoder: where they are, and whether a file has them. Nothing here needs torch.

The encoder is GE2E's as Resemblyzer has it (Wan et al. 2018, arXiv 1710.10467): its `pretrained.pt`, or the tensors of
the same names as `model.safetensors`.
"""

from __future__ import annotations

from pathlib import Path

from f5_worker.errors import ModelUnavailable
from f5_worker.settings import REPOSITORY, Settings

OFF = "off"
SAFETENSORS, PICKLED = FILE_NAMES = ("model.safetensors", "pretrained.pt")
NESTED_AS = ("model_state",)  # beside the optimizer's state
HELP = "docs/voices.md says where to get it; F5_SPEAKER_MODEL=off leaves it out"

MELS = 40
WIDTH = 256
LAYERS = 3
_GATES = 4 * WIDTH

SHAPES: dict[str, tuple[int, ...]] = {"linear.weight": (WIDTH, WIDTH), "linear.bias": (WIDTH,)}
for _layer in range(LAYERS):
    SHAPES |= {
        f"lstm.weight_ih_l{_layer}": (_GATES, WIDTH if _layer else MELS),
        f"lstm.weight_hh_l{_layer}": (_GATES, WIDTH),
        f"lstm.bias_ih_l{_layer}": (_GATES,),
        f"lstm.bias_hh_l{_layer}": (_GATES,),
    }


def find_speaker_weights(settings: Settings) -> Path | None:
    """Return the file of the speaker encoder that the settings name, checked; None if it is off.

    Raises:
        ModelUnavailable: there is none, or it holds something else.
    """
    if settings.speaker_model == OFF:
        return None
    places = [REPOSITORY / "models", settings.models_dir]  # an absolute path is the directory itself in both
    paths = [place / settings.speaker_model / name for place in places for name in FILE_NAMES]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        shown = " nor in ".join(str(directory) for directory in dict.fromkeys(path.parent for path in paths))
        raise ModelUnavailable(f"neither {SAFETENSORS} nor {PICKLED} is in {shown}; {HELP}")
    shapes = _stored_shapes(path)
    for name, shape in SHAPES.items():
        if shapes.get(name) != shape:
            found = f"has shape {shapes[name]} instead of {shape}" if name in shapes else "is missing"
            raise ModelUnavailable(f"{path} is not the speaker encoder: {name} {found}; {HELP}")
    return path


def _stored_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    from f5_worker.models.pickled.torch_file import TorchFile
    from f5_worker.models.pickled.torch_pickle import CheckpointRefused

    try:
        if path.suffix == ".pt":
            with TorchFile(path) as file:
                return {name: tensor.shape for name, tensor in file.tensors(NESTED_AS).items()}
        with safe_open(path, framework="numpy") as stored:
            return {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
    except CheckpointRefused as error:
        raise ModelUnavailable(f"{path} {error}; {HELP}") from None
    except (SafetensorError, OSError) as error:
        raise ModelUnavailable(f"{path} cannot be read ({error}); {HELP}") from None
