"""The conversion with the real libraries, and the hub client against a server on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from f5_worker.boot.weights import recipes, weights_child
from f5_worker.boot.weights.recipes import SourceFiles, SourceProblem
from f5_worker.boot.weights.weights import WeightRoots, find_model
from f5_worker.models.published import published
from f5_worker.settings import REPOSITORY

TINY = REPOSITORY / "models" / "f5-tiny"
PREFIX = "ema_model.transformer."


class Trap:
    """Unpickling this would run a program."""

    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("raise SystemExit('the pickle was run')",))


@pytest.fixture
def parts(tmp_path: Path) -> SourceFiles:
    state = {
        PREFIX + "a.weight": torch.randn(4, 4),
        PREFIX + "huge": torch.full((2,), 1e6),  # beyond fp16
        "step": torch.tensor(1_250_000),
    }
    vocoder = {
        "backbone.embed.weight": torch.randn(2, 2),
        "head.out.bias": torch.ones(2),
        "feature_extractor.mel_spec.window": torch.ones(3),
    }
    save_file(state, tmp_path / "model_1.safetensors")
    torch.save(vocoder, tmp_path / "pytorch_model.bin")
    (tmp_path / "vocab.txt").write_bytes(b" \r\na\r\n\xe2\x80\xa8\r\n")
    (tmp_path / "out").mkdir()
    return SourceFiles(tmp_path / "model_1.safetensors", tmp_path / "vocab.txt", tmp_path / "pytorch_model.bin")


def convert(parts: SourceFiles, into: Path, precision: str = "fp16") -> None:
    weights_child.convert(str(parts.model), str(parts.vocab), str(parts.vocoder), str(into), precision)


def test_the_copy_is_half_precision_where_that_loses_only_digits(parts: SourceFiles, tmp_path: Path) -> None:
    convert(parts, tmp_path / "out")
    made = load_file(tmp_path / "out" / "model.safetensors")
    original = load_file(parts.model)
    assert {name: tensor.dtype for name, tensor in made.items()} == {
        PREFIX + "a.weight": torch.float16,
        PREFIX + "huge": torch.float32,
        "step": torch.int64,
    }
    torch.testing.assert_close(made[PREFIX + "a.weight"].float(), original[PREFIX + "a.weight"], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(made[PREFIX + "huge"], original[PREFIX + "huge"])
    assert set(load_file(tmp_path / "out" / "vocoder.safetensors")) == {"backbone.embed.weight", "head.out.bias"}
    assert (tmp_path / "out" / "vocab.txt").read_bytes() == b" \na\n\xe2\x80\xa8\n"


def test_fp32_is_kept_on_request(parts: SourceFiles, tmp_path: Path) -> None:
    convert(parts, tmp_path / "out", "fp32")
    made = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(made[PREFIX + "a.weight"], load_file(parts.model)[PREFIX + "a.weight"])


def test_tensors_that_share_memory_are_written_each(parts: SourceFiles, tmp_path: Path) -> None:
    base = torch.randn(4, 4)
    torch.save(
        {PREFIX + "a": base, PREFIX + "b": base, PREFIX + "c": base.T, PREFIX + "d": base[1:]}, tmp_path / "m.pt"
    )
    convert(SourceFiles(tmp_path / "m.pt", parts.vocab, parts.vocoder), tmp_path / "out", "fp32")
    made = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(made[PREFIX + "b"], base)
    assert torch.equal(made[PREFIX + "c"], base.T)
    assert torch.equal(made[PREFIX + "d"], base[1:])


def test_a_training_checkpoint_gives_its_averaged_weights(parts: SourceFiles, tmp_path: Path) -> None:
    nested = {"ema_model_state_dict": load_file(parts.model), "optimizer_state_dict": {}, "update": 3}
    torch.save(nested, tmp_path / "model_1.pt")
    convert(SourceFiles(tmp_path / "model_1.pt", parts.vocab, parts.vocoder), tmp_path / "out")
    assert PREFIX + "a.weight" in load_file(tmp_path / "out" / "model.safetensors")


def test_all_tensors_of_bigvgan_are_kept(parts: SourceFiles, tmp_path: Path) -> None:
    generator = {"conv_pre.weight_v": torch.randn(4, 2), "ups.0.0.bias": torch.ones(2)}
    torch.save({"generator": generator}, tmp_path / "bigvgan_generator.pt")
    convert(SourceFiles(parts.model, parts.vocab, tmp_path / "bigvgan_generator.pt"), tmp_path / "out")
    made = load_file(tmp_path / "out" / "vocoder.safetensors")
    assert made.keys() == generator.keys()
    assert torch.equal(made["conv_pre.weight_v"], generator["conv_pre.weight_v"])


@pytest.mark.parametrize("which", ["model", "vocoder"])
def test_a_pickle_with_code_is_refused_and_not_run(parts: SourceFiles, tmp_path: Path, which: str) -> None:
    trap = tmp_path / "trap.bin"
    torch.save(Trap(), trap)
    files = {"model": parts.model, "vocab": parts.vocab, "vocoder": parts.vocoder, which: trap}
    with pytest.raises(weights_child.Unusable, match=r"holds more than weights.*safetensors"):
        convert(SourceFiles(**files), tmp_path / "out")


@pytest.mark.parametrize("data", [b"", b"no weights", b"PK\x03\x04broken"])
def test_a_file_that_is_not_a_checkpoint_is_named(parts: SourceFiles, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model_2.pt").write_bytes(data)
    with pytest.raises(weights_child.Unusable, match=r"model_2\.pt"):
        convert(SourceFiles(tmp_path / "model_2.pt", parts.vocab, parts.vocoder), tmp_path / "out")


def test_other_models_are_refused(parts: SourceFiles, tmp_path: Path) -> None:
    with pytest.raises(weights_child.Unusable, match=r"no tensor named transformer"):
        convert(SourceFiles(parts.vocoder, parts.vocab, parts.vocoder), tmp_path / "out")
    with pytest.raises(weights_child.Unusable, match=r"is not a Vocos"):
        convert(SourceFiles(parts.model, parts.vocab, parts.model), tmp_path / "out")


@pytest.mark.model
def test_the_conversion_in_a_child_process(parts: SourceFiles, tmp_path: Path) -> None:
    """From a fine-tune's directory to one that the engine loads; only the child imports torch."""
    mine = tmp_path / "baked" / "mine"
    mine.mkdir(parents=True)
    state = {name: tensor.float() for name, tensor in load_file(TINY / "model.safetensors").items()}
    torch.save({"ema_model_state_dict": state}, mine / "model_500.pt")
    torch.save(load_file(TINY / "vocoder.safetensors"), mine / "pytorch_model.bin")
    for name in ("vocab.txt", "arch.json"):
        (mine / name).write_bytes((TINY / name).read_bytes())
    roots = WeightRoots(shipped=tmp_path, baked=tmp_path / "baked", caches=(tmp_path / "volume",))
    located = find_model("mine", roots=roots, offline=True)
    for name in ("model.safetensors", "vocoder.safetensors"):
        made, original = load_file(located.directory / name), load_file(TINY / name)
        assert made.keys() <= original.keys()
        assert all(torch.equal(made[key], original[key]) for key in made)
    assert (located.directory / "voices" / "joe.wav").is_file()


@pytest.mark.model
def test_the_childs_error_reaches_the_operator(parts: SourceFiles, tmp_path: Path) -> None:
    with pytest.raises(SourceProblem, match="is not a Vocos"):
        recipes.convert(SourceFiles(parts.model, parts.vocab, parts.model), tmp_path / "out", "fp16", lambda: None)


@pytest.mark.parametrize(
    ("code", "status"),
    [(28, weights_child.DISK_FAULT), (30, weights_child.DISK_FAULT), (2, weights_child.SOURCE_FAULT)],
)
def test_a_disk_fault_is_distinguished_from_a_bad_source(  # type: ignore[no-untyped-def]
    parts: SourceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, code: int, status: int
) -> None:
    def fail(*_: object) -> None:  # in the form of safetensors
        raise SafetensorError(f"Error while serializing: I/O error: what (os error {code})")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    request = {"model": str(parts.model), "vocab": str(parts.vocab), "vocoder": str(parts.vocoder)}
    request |= {"into": str(tmp_path / "out"), "precision": "fp16"}
    assert weights_child.main("convert", json.dumps(request)) == status
    assert capsys.readouterr().out == os.strerror(code) + "\n"


class HubServer(BaseHTTPRequestHandler):
    """As much of the hub as `hf_hub_download` needs: `/<repo>/resolve/<revision>/<file>`."""

    files: ClassVar[dict[str, bytes]]
    branches: ClassVar[dict[str, str]] = {"main": "a" * 40, "odd": "../../elsewhere"}
    status = 200
    cut = False

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        data = self.files.get(self.path)
        status = self.status if data is not None else 404
        self.send_response(status)
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
        data = data if status == 200 and data is not None else b""
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        revision = self.path.split("/resolve/")[-1].split("/")[0]
        self.send_header("X-Repo-Commit", self.branches.get(revision, revision))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data[: len(data) // 2] if self.cut else data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[HubServer]]:
    pytest.importorskip("huggingface_hub")

    class Server(HubServer):
        files: ClassVar[dict[str, bytes]] = {}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield Server
    server.shutdown()
    server.server_close()


VOCAB = published()["F5TTS_v1_Base"].vocab
URL = f"/{VOCAB.repo}/resolve/{VOCAB.revision}/{VOCAB.path}"


def test_a_file_is_downloaded_at_its_revision(hub: type[HubServer], tmp_path: Path) -> None:
    hub.files[URL] = b" \r\na\r\n"
    assert recipes.fetch(VOCAB, tmp_path, lambda: None).read_bytes() == b" \r\na\r\n"


def test_the_commit_of_a_branch_is_the_hubs_answer(hub: type[HubServer]) -> None:
    for branch in ("main", "odd"):
        hub.files[f"/{VOCAB.repo}/resolve/{branch}/{VOCAB.path}"] = b"x"
    assert recipes.resolve(replace(VOCAB, revision="main"), lambda: None) == "a" * 40
    with pytest.raises(SourceProblem, match="the hub names no commit"):
        recipes.resolve(replace(VOCAB, revision="odd"), lambda: None)


@pytest.mark.parametrize("status", [401, 404])
def test_a_refusal_is_one_line(hub: type[HubServer], tmp_path: Path, status: int) -> None:
    hub.files[URL] = b"x"
    hub.status = status
    with pytest.raises(SourceProblem, match=f"the hub answers {status} for {VOCAB.path}|{status}") as raised:
        recipes.fetch(VOCAB, tmp_path, lambda: None)
    assert "\n" not in str(raised.value)


def test_without_a_connection_the_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # the same error as no connection, without its retries
    with pytest.raises(SourceProblem, match=f"{VOCAB.repo}/{VOCAB.path} cannot be downloaded: ") as raised:
        recipes.fetch(VOCAB, tmp_path, lambda: None)
    assert "\n" not in str(raised.value)
