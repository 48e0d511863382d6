"""Properties of the model by itself: no reference package, no stored weights, milliseconds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from f5_worker.errors import ModelUnavailable
from f5_worker.models.f5.checkpoint import load_model, load_vocoder
from f5_worker.models.f5.config import PUBLISHED, Arch, read_arch
from f5_worker.models.f5.network import DiT
from f5_worker.models.f5.sampler import draw_noise, sample, time_points
from tests.models.f5.conftest import SMALL, VOCABULARY, upstream_weights

MakeModel = Callable[[Arch], DiT]


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def sample_mel(model: DiT, *, frames: int = 90, seed: int = 1, guidance_scale: float = 2.0) -> torch.Tensor:
    reference = torch.randn(40, 100, generator=torch.Generator().manual_seed(0))
    tokens = torch.arange(30) % VOCABULARY
    return sample(model, reference, tokens, draw_noise(seed, frames), time_points(5, -1.0), guidance_scale)


def test_the_reference_comes_back_untouched(make_model: MakeModel) -> None:
    reference = torch.randn(40, 100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sample_mel(make_model(SMALL))[:40], reference)


def test_the_result_depends_only_on_the_seed(make_model: MakeModel) -> None:
    model = make_model(SMALL)
    torch.manual_seed(1)
    first = sample_mel(model)
    torch.manual_seed(2)
    assert torch.equal(sample_mel(model), first)
    assert not torch.allclose(sample_mel(model, seed=2)[40:], first[40:], atol=0.1)


def test_guidance_has_an_effect_and_without_it_there_is_one_row(make_model: MakeModel) -> None:
    model = make_model(SMALL)
    assert not torch.allclose(
        sample_mel(model, guidance_scale=0.0)[40:], sample_mel(model, guidance_scale=2.0)[40:], atol=1e-3
    )
    unguided = model.condition(torch.zeros(40, 100), torch.arange(30), 90, guided=False)
    assert unguided.shape == (1, 90, SMALL.dim)


def test_upsampling_gives_the_last_tokens_the_remaining_frames(make_model: MakeModel) -> None:
    model = make_model(dataclasses.replace(SMALL, text_embedding_average_upsampling=True))
    assert model.text_embed.upsample_indices(3, 8).tolist() == [0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_full(make_model: MakeModel, dtype: torch.dtype) -> None:
    full = sample_mel(make_model(SMALL))
    half = sample_mel(make_model(SMALL).to(dtype))
    assert half.dtype == torch.float32
    assert float((half - full).norm() / full.norm()) < 5e-2


def test_time_points_go_from_zero_to_one() -> None:
    for nfe in range(4, 65):
        times = time_points(nfe, -1.0)
        assert len(times) == nfe + 1
        assert times[0] == 0
        assert times[-1] == pytest.approx(1)
        assert (times.diff() > 0).all()


def test_published_architectures_are_known_by_name(tmp_path: Path) -> None:
    for name, arch in PUBLISHED.items():
        (tmp_path / name).mkdir()
        assert read_arch(tmp_path / name) == arch


def test_arch_json_may_be_the_name_of_a_published_one(tmp_path: Path) -> None:
    """As boot writes it for a checkpoint that it converts."""
    (tmp_path / "arch.json").write_text('"F5TTS_v1_Small"\n')
    assert read_arch(tmp_path) == PUBLISHED["F5TTS_v1_Small"]


def test_arch_json_may_have_names_that_do_not_change_results(tmp_path: Path) -> None:
    values = {"dim": 8, "depth": 1, "heads": 1, "ff_mult": 2, "text_dim": 8, "conv_layers": 0}
    (tmp_path / "arch.json").write_text(
        json.dumps(values | {"attn_backend": "flash_attn", "checkpoint_activations": True})
    )
    assert read_arch(tmp_path).dim == 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "arch.json of model"),
        ('{"dim": 8}', "arch.json of model"),
        ("[8]", "holds neither arguments of its backbone nor one of F5TTS_v1_Base"),
        ('"F5TTS_v9"', "holds neither arguments of its backbone nor one of F5TTS_v1_Base"),
        ('{"backbone": "LSTM"}', "backbone 'LSTM' is unknown; expected DiT, UNetT, MMDiT"),
        ('{"mel_spec_type": 3}', "mel_spec_type 3 is unknown; expected vocos, bigvgan"),
        ('{"dim": 8, "backbone": "UNetT"}', "has the backbone UNetT; .* set F5_ENGINE=auto"),
        ('{"dim": 8, "mel_spec_type": "bigvgan"}', "has the vocoder bigvgan; .* set F5_ENGINE=auto"),
        ('"E2TTS_Base"', "has the backbone UNetT"),
        ('{"dim": 8, "skip_connect_type": "concat"}', "unknown names skip_connect_type"),
        ('{"dim":8,"depth":1,"heads":1,"ff_mult":2,"text_dim":8,"conv_layers":0,"qk_norm":"l2"}', "qk_norm 'l2'"),
        (None, "has no arch.json"),
    ],
)
def test_an_unusable_arch_is_named(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "arch.json").write_text(text)
    with pytest.raises(ModelUnavailable, match=words):
        read_arch(tmp_path)


@pytest.fixture
def checkpoint(tmp_path: Path, make_model: MakeModel) -> Path:
    """A complete small checkpoint as upstream would save it, EMA prefix and derived tensors included."""
    arch = {key: value for key, value in dataclasses.asdict(SMALL).items() if key not in ("mel_dim", "dim_head")}
    (tmp_path / "arch.json").write_text(json.dumps(arch))
    weights = {f"ema_model.transformer.{key}": value for key, value in upstream_weights(make_model(SMALL)).items()}
    derived = {
        "ema_model.transformer.rotary_embed.inv_freq": torch.zeros(32),
        "ema_model.mel_spec.mel_stft.spectrogram.window": torch.zeros(1024),
        "initted": torch.tensor(True),
        "step": torch.tensor(1),
    }
    save_file({key: value.contiguous() for key, value in (weights | derived).items()}, tmp_path / "model.safetensors")
    return tmp_path


def test_an_upstream_checkpoint_loads_key_by_key(checkpoint: Path, make_model: MakeModel) -> None:
    loaded = load_model(checkpoint, VOCABULARY)
    assert torch.equal(sample_mel(loaded), sample_mel(make_model(SMALL)))


def test_a_vocabulary_of_another_model_is_rejected(checkpoint: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"vocab.txt has 51 entries, the checkpoint was made with 50"):
        load_model(checkpoint, VOCABULARY + 1)


def test_weights_of_another_program_are_rejected(checkpoint: Path) -> None:
    save_file({"unet.weight": torch.zeros(2)}, checkpoint / "model.safetensors")
    with pytest.raises(ModelUnavailable, match=r"model.safetensors is not of f5-tts: it embeds no text"):
        load_model(checkpoint, VOCABULARY)


def test_weights_of_another_architecture_are_rejected(checkpoint: Path) -> None:
    arch = json.loads((checkpoint / "arch.json").read_text())
    (checkpoint / "arch.json").write_text(json.dumps(arch | {"depth": 4}))
    with pytest.raises(ModelUnavailable, match="weights and architecture differ"):
        load_model(checkpoint, VOCABULARY)


@pytest.mark.parametrize("damage", [b"", b"garbage", b"\xff" * 64])
def test_a_damaged_file_is_rejected(checkpoint: Path, damage: bytes) -> None:
    (checkpoint / "model.safetensors").write_bytes(damage)
    with pytest.raises(ModelUnavailable, match=r"model.safetensors of model .* cannot be read"):
        load_model(checkpoint, VOCABULARY)


def test_a_truncated_file_is_rejected(checkpoint: Path) -> None:
    whole = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        load_model(checkpoint, VOCABULARY)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"has no model.safetensors"):
        load_model(tmp_path, VOCABULARY)
    with pytest.raises(ModelUnavailable, match=r"has no vocoder.safetensors"):
        load_vocoder(tmp_path)
