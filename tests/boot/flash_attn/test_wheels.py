"""The flash-attn resolver: one committed table, the rules that hold for every row, and named cases."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from f5_worker.boot.flash_attn.wheels import (
    MATRICES,
    PREFERENCE,
    Resolution,
    build_arch,
    estimate_build,
    fingerprint,
    load_manifest,
    mislabelled,
    resolve,
)
from f5_worker.boot.probe.probe import Environment

TABLE = Path(__file__).parent / "data" / "wheels_table.txt"
PYTHONS = ["3.9", "3.10", "3.11", "3.12", "3.13"]
TORCHES = [f"2.{minor}.0" for minor in range(3, 16)]
CUDAS = ["11.8", "12.1", "12.4", "12.6", "12.8", "13.0"]
MACHINES = ["x86_64", "aarch64"]
CAPABILITIES = ["7.5", "8.0", "8.9", "9.0", "12.0"]
NAME = re.compile(
    r"flash_attn-(?P<version>[\d.]+(?:post\d)?)\+cu(?P<cuda>\d+)torch(?P<torch>2\.\d+)"
    r"cxx11abi(?P<abi>TRUE|FALSE)-(?P<python>cp3\d+)-(?P=python)-linux_(?P<machine>x86_64|aarch64)\.whl"
)

IMAGE = Environment("3.11", "2.4.0", "12.4", False, "x86_64", "2.35", "8.9")


def every() -> Iterator[Environment]:
    for python, torch, cuda, abi, machine, capability in product(
        PYTHONS, TORCHES, CUDAS, (False, True), MACHINES, CAPABILITIES
    ):
        yield Environment(python, torch, cuda, abi, machine, "2.35", capability)


Rows = list[tuple[Environment, Resolution]]


@pytest.fixture(scope="module")
def resolved() -> Rows:
    manifest = load_manifest()
    return [(env, resolve(env, manifest)) for env in every()]


LETTERS = {"2.8.3": "A", "2.8.1": "B", "2.7.4.post1": "C", "2.7.3": "D"}


def render(results: dict[Environment, Resolution]) -> str:
    """One row for each GPU, ABI, machine and torch; one word for each CUDA; one letter for each Python."""
    lines = [
        "# A flash-attn 2.8.3, B 2.8.1, C 2.7.4.post1, D 2.7.3; lower case: no hash; s source, . SDPA",
        f"# a word is Python {' '.join(PYTHONS)}",
        "# sm   abi   machine torch   " + "  ".join(f"{cuda:5}" for cuda in CUDAS),
    ]
    for capability, abi, machine, torch in product(("8.9", "12.0"), (False, True), MACHINES, TORCHES):
        words = []
        for cuda in CUDAS:
            word = ""
            for python in PYTHONS:
                env = Environment(python, torch, cuda, abi, machine, "2.35", capability)
                word += letter(results[env])
            words.append(word)
        lines.append(f"{capability:6} {abi!s:5} {machine:7} {torch:7} {'  '.join(words)}")
    return "\n".join(lines) + "\n"


def letter(resolution: Resolution) -> str:
    if resolution.decision != "wheel":
        return {"source": "s", "sdpa": "."}[resolution.decision]
    first = LETTERS[resolution.candidates[0].version]
    return first if resolution.sha256 else first.lower()


def test_table(resolved: Rows) -> None:
    # After an intended change: `python -c "from tests.boot.flash_attn.test_wheels import *; rewrite()"`
    assert render(dict(resolved)) == TABLE.read_text(encoding="utf-8")


def rewrite() -> None:
    TABLE.write_text(render({env: resolve(env) for env in every()}), encoding="utf-8")


def test_a_wheel_is_named_for_exactly_this_environment(resolved: Rows) -> None:
    for env, resolution in resolved:
        if resolution.decision != "wheel":
            continue
        for wheel in resolution.candidates:
            name = NAME.fullmatch(wheel.filename)
            assert name, wheel.filename
            assert name["python"] == "cp" + env.python.replace(".", "")
            assert name["torch"] == env.torch.rpartition(".")[0]
            assert name["cuda"] == str(env.cuda).partition(".")[0]
            assert name["abi"] == str(env.abi).upper()
            assert name["machine"] == env.machine
            assert not mislabelled(wheel.version, int(name["torch"][2:]), env.abi)
            assert (wheel.url or "").endswith("/" + wheel.filename.replace("+", "%2B"))


def test_the_decision_and_its_parts_agree(resolved: Rows) -> None:
    for env, resolution in resolved:
        assert resolution.reason
        assert bool(resolution.candidates) is (resolution.decision != "sdpa")
        versions = [wheel.version for wheel in resolution.candidates]
        assert len(versions) == len(set(versions))
        hashed = [wheel.sha256 is not None for wheel in resolution.candidates]
        assert hashed == sorted(hashed, reverse=True), "files with a hash come first"
        if env.capability == "7.5":
            assert resolution.decision == "sdpa"
        if env.capability == "12.0" and env.cuda != "12.8" and env.cuda != "13.0":
            assert resolution.decision == "sdpa"
        if env.torch in ("2.13.0", "2.14.0", "2.15.0"):
            assert resolution.decision == "sdpa"
        if env.cuda == "11.8" and env.torch > "2.5.1":
            assert resolution.decision != "wheel"


def test_gpus_of_one_generation_get_the_same_resolution(resolved: Rows) -> None:
    results = dict(resolved)
    for env, resolution in resolved:
        if env.capability == "8.0":
            assert results[replace(env, capability="8.9")] == resolution
            assert results[replace(env, capability="9.0")] == resolution


def test_no_part_of_the_answer_is_constant(resolved: Rows) -> None:
    assert len({resolution.filename for _, resolution in resolved}) > 80
    assert len({resolution.reason for _, resolution in resolved}) > 80
    assert len({fingerprint(env) for env, _ in resolved}) == len(resolved)


def test_the_image() -> None:
    resolution = resolve(IMAGE, load_manifest())
    assert resolution.to_json() | {"candidates": []} == {
        "decision": "wheel",
        "filename": "flash_attn-2.8.3+cu12torch2.4cxx11abiFALSE-cp311-cp311-linux_x86_64.whl",
        "url": "https://github.com/Dao-AILab/flash-attention/releases/download/v2.8.3/"
        "flash_attn-2.8.3%2Bcu12torch2.4cxx11abiFALSE-cp311-cp311-linux_x86_64.whl",
        "sha256": "8c44e8ec694edcd9e6eb71316d164a7efa4151e45a2a52f2835f5ef673f405a0",
        "reason": resolution.reason,
        "candidates": [],
    }
    assert [wheel.version for wheel in resolution.candidates][:2] == ["2.8.3", "2.8.2"]
    assert json.loads(json.dumps(resolution.to_json())) == resolution.to_json()


def test_only_the_cuda_major_and_the_torch_minor_count() -> None:
    for cuda, torch in product(("12.1", "12.4", "12.6"), ("2.4.0", "2.4.1+cu121", "2.4.0a0+git1")):
        assert resolve(replace(IMAGE, cuda=cuda, torch=torch)).filename == resolve(IMAGE).filename


def test_python_is_taken_with_or_without_its_patch_level() -> None:
    assert resolve(replace(IMAGE, python="3.11.9")).filename == resolve(IMAGE).filename


def test_torch_2_6_with_the_old_abi_gets_the_older_release() -> None:
    resolution = resolve(replace(IMAGE, torch="2.6.0+cu124"))
    name = "flash_attn-2.7.4.post1+cu12torch2.6cxx11abiFALSE-cp311-cp311-linux_x86_64.whl"
    assert resolution.filename == name
    assert resolution.sha256 is None
    assert "#1783" in resolution.reason
    cu126 = resolve(replace(IMAGE, torch="2.6.0+cu126", cuda="12.6", abi=True))
    assert cu126.filename == "flash_attn-2.8.3+cu12torch2.6cxx11abiTRUE-cp311-cp311-linux_x86_64.whl"
    assert cu126.sha256 == "c49f18cfe4ece3008912ff81c87171ed3a8643900923e6fca64fece8a3f369e2"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cuda": None}, "torch is built without CUDA"),
        ({"capability": None}, "no GPU is visible"),
        ({"capability": "7.5"}, "compute capability 8.0 or newer; this GPU has 7.5"),
        ({"machine": "ppc64le"}, "not for ppc64le"),
        ({"glibc": None}, "no glibc"),
        ({"python": "3.8"}, "Python 3.9 or a newer 3.x; this is 3.8"),
        ({"torch": "2.1.2"}, "torch 2.2 or a newer 2.x; this is 2.1.2"),
        ({"torch": "nightly"}, "torch 'nightly' is not a version number"),
        ({"capability": "12.0"}, "capability 12.0 needs a torch with CUDA 12.8; this one has 12.4"),
        ({"torch": "2.13.0", "cuda": "13.0", "abi": True}, "does not compile against torch 2.13.0"),
        ({"torch": "2.9.0", "cuda": "13.0", "capability": "11.0"}, "no code for compute capability 11.0"),
    ],
)
def test_refusal(change: dict[str, str | None], reason: str) -> None:
    resolution = resolve(replace(IMAGE, **change))  # type: ignore[arg-type]
    assert (resolution.decision, resolution.filename, resolution.candidates) == ("sdpa", None, ())
    assert reason in resolution.reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"torch": "2.6.0", "cuda": "11.8"}, "for CUDA 11 they end at torch 2.5"),
        ({"torch": "2.8.0", "cuda": "13.0", "abi": True}, "for CUDA 13 they begin at torch 2.9"),
        ({"torch": "2.11.0", "cuda": "13.0", "abi": True}, "they end at torch 2.10"),
        ({"python": "3.13"}, "cp313, x86_64: not published"),
        ({"python": "3.14", "torch": "2.8.0", "abi": True}, "they end at Python 3.13"),
        (
            {"python": "3.13.1t", "torch": "2.8.0", "abi": True},
            "no wheel for a free-threaded Python",
        ),
        ({"machine": "aarch64"}, "for aarch64 there are few"),
        ({"torch": "2.9.0", "cuda": "12.8", "abi": True}, "from torch 2.9 on there are few"),
        ({"torch": "2.9.0", "cuda": "12.8"}, "with ABI true only"),
        ({"torch": "2.8.0", "abi": True, "glibc": "2.31"}, "needs glibc 2.32; this is 2.31"),
    ],
)
def test_source(change: dict[str, str], reason: str) -> None:
    resolution = resolve(replace(IMAGE, **change))  # type: ignore[arg-type]
    assert (resolution.decision, resolution.filename) == ("source", "flash_attn-2.8.3.post2.tar.gz")
    assert (resolution.sha256 or "").startswith("d0f9f0b0")
    assert resolution.url is None
    assert reason in resolution.reason


def test_an_old_glibc_gets_the_releases_that_were_built_on_one() -> None:
    versions = [wheel.version for wheel in resolve(replace(IMAGE, glibc="2.31")).candidates]
    assert versions == ["2.7.4.post1", "2.7.3"]


def test_old_releases_have_no_code_for_blackwell() -> None:
    env = Environment("3.11", "2.7.1", "12.8", True, "x86_64", "2.39", "10.3")
    assert all(wheel.version.startswith("2.8") for wheel in resolve(env).candidates)
    assert "2.7.4.post1" in [wheel.version for wheel in resolve(replace(env, capability="9.0")).candidates]


def test_manifest() -> None:
    manifest = load_manifest()
    assert len(manifest.wheels) == 165
    for name, wheel in manifest.wheels.items():
        parts = NAME.fullmatch(name)
        assert parts, name
        assert parts["version"] == wheel.version
        assert wheel.version in PREFERENCE
        assert re.fullmatch("[0-9a-f]{64}", wheel.sha256 or "")
        assert not mislabelled(wheel.version, int(parts["torch"][2:]), parts["abi"] == "TRUE")
    assert {matrix.version for matrix in MATRICES} <= set(PREFERENCE)


@pytest.mark.parametrize("version", ["2.8.0", "2.8.0.post2", "2.8.1", "2.8.2", "2.8.3", "2.8.3.post1"])
def test_denylist(version: str) -> None:
    assert mislabelled(version, 6, abi=False)
    assert not mislabelled(version, 6, abi=True)
    assert not mislabelled(version, 4, abi=False)
    assert not mislabelled("2.7.4.post1", 6, abi=False)


def test_a_manifest_of_the_user_is_used() -> None:
    manifest = load_manifest()
    assert resolve(IMAGE, replace(manifest, wheels={})).filename == (
        "flash_attn-2.8.3.post1+cu12torch2.4cxx11abiFALSE-cp311-cp311-linux_x86_64.whl"
    )


def test_fingerprint_is_a_safe_name_and_changes_with_every_field() -> None:
    mark = fingerprint(IMAGE)
    assert mark == fingerprint(replace(IMAGE))
    assert mark.startswith("cp311-torch2.4.0-cu12.4-abi0-x86_64-sm8.9-")
    changes = {"python": "3.12", "torch": "2.4.1", "cuda": "12.1", "abi": True, "machine": "aarch64"}
    changes |= {"glibc": "2.31", "capability": "9.0"}
    marks = [fingerprint(replace(IMAGE, **{field: value})) for field, value in changes.items()]  # type: ignore[arg-type]
    assert len({mark, *marks}) == 8
    hostile = fingerprint(replace(IMAGE, torch="../" * 99, machine="a b\n/"))
    assert re.fullmatch(r"[A-Za-z0-9._+-]{1,120}", hostile)


@pytest.mark.parametrize(
    ("cores", "memory_gib", "jobs", "minutes"),
    [
        (2, 24, 2, 14),  # measured: 15.7, beside other work
        (16, 128, 16, 9.67),  # the longest file
        (16, 12, 2, 14),
        (2, 4, 1, 26.5),
        (0.5, 64, 1, 51.5),
    ],
)
def test_build_estimate(cores: float, memory_gib: int, jobs: int, minutes: float) -> None:
    estimate = estimate_build(cores, memory_gib * 2**30)
    assert estimate.jobs == jobs
    assert estimate.seconds / 60 == pytest.approx(minutes, rel=0.01)


@pytest.mark.parametrize(
    ("capability", "arch"),
    [("8.0", "80"), ("8.9", "80"), ("9.0", "90"), ("10.3", "100"), ("12.0", "120"), ("7.5", None)],
)
def test_build_arch(capability: str | None, arch: str | None) -> None:
    assert build_arch(capability) == arch


NOT_PUBLISHED = "no official flash-attn wheel for CUDA {}, torch 2.{}, ABI {}, cp3{}, {}: {}"
BUILT = "; it can be built from the source distribution"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cuda": None}, "torch is built without CUDA"),
        ({"capability": None}, "no GPU is visible"),
        ({"capability": "7.5"}, "flash-attn 2 needs compute capability 8.0 or newer; this GPU has 7.5"),
        ({"glibc": None}, "no glibc was found (musl?), and torch's CUDA builds need it"),
        ({"glibc": "musl"}, "no glibc was found (musl?), and torch's CUDA builds need it"),
        ({"python": "3.8"}, "flash-attn 2 needs Python 3.9 or a newer 3.x; this is 3.8"),
        ({"python": "4.0"}, "flash-attn 2 needs Python 3.9 or a newer 3.x; this is 4.0"),
        ({"torch": "2.1.2"}, "flash-attn 2.7 and newer need torch 2.2 or a newer 2.x; this is 2.1.2"),
        ({"torch": "3.0.0"}, "flash-attn 2.7 and newer need torch 2.2 or a newer 2.x; this is 3.0.0"),
        ({"capability": "10.0"}, "compute capability 10.0 needs a torch with CUDA 12.8; this one has 12.4"),
        ({"torch": "2.13.0"}, NOT_PUBLISHED.format(12, 13, "false", 11, "x86_64", "they end at torch 2.10")
         + ", and it cannot be built: the source distribution is C++17 and does not compile against torch 2.13.0"),
        ({"torch": "2.5.1", "cuda": "11.6", "python": "3.14"}, NOT_PUBLISHED.format(
            11, 5, "false", 14, "x86_64", "they end at Python 3.13")
         + ", and it cannot be built: the source distribution needs CUDA 11.7; torch has 11.6"),
        ({"torch": "2.6.0", "cuda": "11.8"}, NOT_PUBLISHED.format(
            11, 6, "false", 11, "x86_64", "for CUDA 11 they end at torch 2.5") + BUILT),
        ({"torch": "2.5.0", "cuda": "11.7", "python": "3.14"}, NOT_PUBLISHED.format(
            11, 5, "false", 14, "x86_64", "they end at Python 3.13") + BUILT),
        ({"torch": "2.8.0", "cuda": "13.0"}, NOT_PUBLISHED.format(
            13, 8, "false", 11, "x86_64", "for CUDA 13 they begin at torch 2.9") + BUILT),
        ({"torch": "2.9.0", "cuda": "13.0"}, NOT_PUBLISHED.format(
            13, 9, "false", 11, "x86_64", "from torch 2.9 on they exist with ABI true only") + BUILT),
        ({"cuda": "14.0"}, NOT_PUBLISHED.format(
            14, 4, "false", 11, "x86_64", "they exist for CUDA 11, 12 and 13") + BUILT),
        ({"torch": "2.10.0", "abi": True, "python": "3.11"}, NOT_PUBLISHED.format(
            12, 10, "true", 11, "x86_64", "from torch 2.9 on there are few, for cp312 and cp313") + BUILT),
        ({"torch": "2.8.0", "abi": True, "machine": "aarch64"}, NOT_PUBLISHED.format(
            12, 8, "true", 11, "aarch64", "for aarch64 there are few, for cp312 and torch 2.8 to 2.10") + BUILT),
        ({"torch": "2.8.0", "machine": "aarch64"}, NOT_PUBLISHED.format(
            12, 8, "false", 11, "aarch64", "for aarch64 there are few, for cp312 and torch 2.8 to 2.10") + BUILT),
        ({"torch": "2.6.0"}, "flash-attn 2.7.4.post1 for CUDA 12, torch 2.6, ABI false, cp311, x86_64, because the "
         "2.8.x files of that name are really ABI true (flash-attention #1783); no hash is published for it"),
        ({}, "flash-attn 2.8.3 for CUDA 12, torch 2.4, ABI false, cp311, x86_64, listed with its sha256"),
    ],
)  # fmt: skip
def test_the_reason_in_full(changes: dict[str, object], reason: str) -> None:
    assert resolve(replace(IMAGE, **changes)).reason == reason  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ({"capability": "8.0"}, "wheel"),
        ({"python": "3.9"}, "wheel"),
        ({"torch": "2.2.0"}, "wheel"),
        ({"capability": "10.0", "cuda": "12.8"}, "wheel"),
        ({"glibc": "2.32"}, "wheel"),
    ],
)
def test_the_oldest_that_is_supported(changes: dict[str, object], decision: str) -> None:
    assert resolve(replace(IMAGE, **changes)).decision == decision  # type: ignore[arg-type]


@pytest.mark.parametrize(("glibc", "version"), [("2.31", "2.7.4.post1"), ("2.32", "2.8.3")])
def test_the_newest_that_a_glibc_loads(glibc: str, version: str) -> None:
    assert resolve(replace(IMAGE, glibc=glibc)).candidates[0].version == version


@pytest.mark.parametrize(
    ("torch", "decision"),
    [("2.6.0", "wheel"), ("2.7.0", "source"), ("2.8.0", "source")],
)
def test_an_old_glibc_gets_what_was_built_on_an_older_one(torch: str, decision: str) -> None:
    assert resolve(replace(IMAGE, torch=torch, glibc="2.31", abi=False)).decision == decision


def test_the_name_of_an_environment() -> None:
    long = replace(IMAGE, python="3.11.7", torch="2.4.0 (own/build)" + "x" * 100)
    name, _, digest = fingerprint(long).rpartition("-")
    assert len(name) == 100
    assert name.startswith("cp311-torch2.4.0__own_build_xxx")
    assert re.fullmatch(r"[0-9a-f]{12}", digest)
    assert fingerprint(IMAGE).startswith("cp311-torch2.4.0-cu12.4-abi0-x86_64-sm8.9-")


def test_a_file_that_is_only_in_the_matrix_has_an_address() -> None:
    wheel = resolve(replace(IMAGE, torch="2.6.0")).candidates[0]
    assert wheel.sha256 is None
    assert wheel.url == f"{load_manifest().base_url}/v2.7.4.post1/{wheel.filename.replace('+', '%2B')}"


def test_half_a_core_takes_twice_as_long() -> None:
    assert estimate_build(0.5, 64 * 2**30).seconds == 90 + 1_500 / 0.5
    assert estimate_build(64, 1_000 * 2**30).seconds == 90 + 490
