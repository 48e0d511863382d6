"""What `make image-test` gives to buildah and runc, as far as neither is needed."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest

from f5_worker.boot.bake_flash_attn import why_not
from f5_worker.boot.probe.probe import Environment
from scripts import image_test
from scripts.image.bases import BASES, PACKAGES, SYMBOL, Base, plant_broken_flash_attn, write_wheel
from scripts.image.containers import CAPABILITIES, BuildFailed, Images, Layer, Options, runtime_spec
from scripts.image.worker import CheckFailed, boot_report, check_audio

DEFAULT = {  # as `runc spec` writes it, shortened
    "ociVersion": "1.0.2-dev",
    "process": {"args": ["sh"], "rlimits": []},
    "root": {"path": "rootfs", "readonly": True},
    "mounts": [{"destination": "/proc", "type": "proc"}, {"destination": "/sys/fs/cgroup", "type": "cgroup"}],
    "linux": {
        "resources": {"devices": []},
        "namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
        "maskedPaths": ["/proc/kcore"],
    },
}
CONFIG = {"Cmd": ["python"], "Env": ["PATH=/bin", "MODE=a=b"], "WorkingDir": "/app"}


def spec(**options: Any) -> dict[str, Any]:
    return runtime_spec(Path("/files"), CONFIG, Options(**options), DEFAULT)


def test_a_container_runs_what_the_image_says() -> None:
    process = spec()["process"]
    assert (process["args"], process["cwd"]) == (["python"], "/app")
    assert process["env"] == ["PATH=/bin", "MODE=a=b"]
    assert spec(environment={"MODE": "c"})["process"]["env"] == ["PATH=/bin", "MODE=c"]


def test_root_has_docker_s_capabilities_and_a_user_has_none() -> None:
    assert spec()["process"]["capabilities"]["effective"] == CAPABILITIES
    process = spec(user=1000)["process"]
    assert process["user"] == {"uid": 1000, "gid": 1000}
    assert set(process["capabilities"]) == {"bounding"}
    assert "CAP_SYS_ADMIN" not in CAPABILITIES


def test_it_has_processes_and_mounts_of_its_own_and_the_network_of_the_machine() -> None:
    found = spec(read_only=True, volumes={"/runpod-volume": Path("/v")})
    assert [space["type"] for space in found["linux"]["namespaces"]] == ["pid", "ipc", "uts", "mount"]
    assert found["root"] == {"path": "/files", "readonly": True}
    assert [mount["destination"] for mount in found["mounts"]] == ["/proc", "/runpod-volume"]
    assert found["linux"]["maskedPaths"] == ["/proc/kcore"]


@pytest.fixture
def buildah(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name that logs its arguments and answers `inspect` from a file."""
    program = tmp_path / "buildah"
    program.write_text(
        f'#!{sys.executable}\nimport json, sys\nopen("{tmp_path}/asked", "a").write(json.dumps(sys.argv[5:]) + "\\n")\n'
        f'print(open("{tmp_path}/answer").read())\nsys.exit("bud" in sys.argv)\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_a_failed_build_tells_what_was_printed(buildah: Path) -> None:
    (buildah / "answer").write_text("x.whl is not a supported wheel")
    with pytest.raises(BuildFailed, match="not a supported wheel"):
        Images(buildah).build("image", Path("/context"), {"BASE_IMAGE": "base", "FLASH_ATTN_WHEEL": ""})
    asked = json.loads((buildah / "asked").read_text())
    assert asked[-7:] == [
        "--build-arg",
        "BASE_IMAGE=base",
        "--build-arg",
        "FLASH_ATTN_WHEEL=",
        "-t",
        "image",
        "/context",
    ]
    assert asked[asked.index("--format") + 1] == "docker", "the other format has no HEALTHCHECK"


def test_layers_are_told_by_their_instructions(buildah: Path) -> None:
    history = [{"created_by": "FROM"}, {"created_by": "ENV", "empty_layer": True}, {"created_by": "COPY"}]
    manifest = json.dumps({"layers": [{"size": 5}, {"size": 7}]})
    (buildah / "answer").write_text(json.dumps({"Manifest": manifest, "Docker": {"history": history}}))
    assert Images(buildah).layers("image") == [Layer("FROM", 5), Layer("COPY", 7)]


def response(n_samples: int, stated_s: float, value: bytes | None = None) -> dict[str, Any]:
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(value * n_samples if value else os.urandom(2 * n_samples))
    return {"base64": base64.b64encode(written.getvalue()).decode(), "duration_s": stated_s}


def test_audio_is_checked() -> None:
    check_audio(response(48_000, 2.0))
    with pytest.raises(CheckFailed, match=r"2\.0 s of audio, not 2\.5"):
        check_audio(response(48_000, 2.5))
    with pytest.raises(CheckFailed, match="not speech"):
        check_audio(response(48_000, 2.0, value=b"\0\0"))


def test_the_boot_report_is_found_in_a_log() -> None:
    assert boot_report('before\nBOOT {"version": "1"}\nafter') == {"version": "1"}
    with pytest.raises(CheckFailed, match="no report"):
        boot_report("Traceback")


def test_what_is_missing_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "")
    assert image_test.main([]) == 1
    assert "apt-get install buildah runc debootstrap" in capsys.readouterr().err
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert image_test.main([]) == 1
    assert "root is needed" in capsys.readouterr().err


def test_the_checks_are_those_of_the_class() -> None:
    assert list(image_test.CHECKS)[:2] == ["doctor", "serve"]
    assert all(check.__doc__ for check in image_test.CHECKS.values())


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.name)
def test_wheels_are_named_for_the_base(base: Base, tmp_path: Path) -> None:
    _, cuda, torch, abi = re.split(r"\+cu|torch|cxx11abi", base.flash_attn)
    assert base.torch.startswith(torch + ".")
    here = Environment("3.11.2", base.torch, cuda + ".1", abi == "TRUE", "x86_64", "2.36", None)
    assert why_not(write_wheel(tmp_path, base.flash_attn), here) is None
    other = write_wheel(tmp_path, base.flash_attn, python="310")
    assert why_not(other, here) == f"{other} is for Python 3.10, this base has 3.11"


def test_the_planted_flash_attn_does_not_load(tmp_path: Path) -> None:
    plant_broken_flash_attn(tmp_path)
    program = "import importlib.metadata as m; print(m.version('flash-attn'))\nimport flash_attn"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(tmp_path / PACKAGES)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout == "2.8.3\n"
    assert f"ImportError: undefined symbol: {SYMBOL}" in done.stderr
