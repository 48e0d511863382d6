"""The choice of the flash-attn build that fits an interpreter, a torch and a GPU: a wheel, the source, or none.

Works from file names and published hashes, without the network; from the disk, it reads only its own manifest.
A matching name does not suffice: some official wheels are mislabelled, so an installed one has to be run before use.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

from f5_worker.boot.probe.probe import Environment

Decision = Literal["wheel", "source", "sdpa"]

# Best first. 2.8.1 has a compression regression (flash-attention #1744), so it is used only if no other
# release has the file. Nothing below 2.7.0: there `unpad_input` returns 4 values and F5-TTS unpacks 5.
PREFERENCE = ("2.8.3", "2.8.3.post1", "2.8.2", "2.8.0.post2", "2.8.1", "2.7.4.post1", "2.7.3")

# Wheels hold code for these major compute capabilities and no PTX (nvcc 12.9 since 2.8.0, 12.4 before).
GPU_MAJORS = {"2.7": (8, 9), "2.8": (8, 9, 10, 12)}


@dataclass(frozen=True)
class Wheel:
    """One file to try.

    `sha256` is None if GitHub publishes none; `url` is None for the source distribution, which pip finds
    on PyPI by version and hash.
    """

    filename: str
    url: str | None
    sha256: str | None
    version: str


@dataclass(frozen=True)
class WheelManifest:
    """The files whose hashes are known, by filename, and the source distribution."""

    base_url: str
    wheels: dict[str, Wheel]
    sdist: Wheel


@dataclass(frozen=True)
class Resolution:
    """The decision, the files to try in order, and the reason in one sentence."""

    decision: Decision
    candidates: tuple[Wheel, ...]
    reason: str

    @property
    def filename(self) -> str | None:
        """Return the name of the first file to try."""
        return self.candidates[0].filename if self.candidates else None

    @property
    def url(self) -> str | None:
        """Return the address of the first file to try."""
        return self.candidates[0].url if self.candidates else None

    @property
    def sha256(self) -> str | None:
        """Return the published hash of the first file to try."""
        return self.candidates[0].sha256 if self.candidates else None

    def to_json(self) -> dict[str, Any]:
        """Return the resolution as the output of `model_cache_init.py resolve`."""
        values = {name: getattr(self, name) for name in ("decision", "filename", "url", "sha256", "reason")}
        return {**values, "candidates": [asdict(wheel) for wheel in self.candidates]}


@dataclass(frozen=True)
class Matrix:
    """The files that a release's CI published without a hash: torch minor -> Python minors, for each CUDA major.

    From .github/workflows/publish.yml of the tag, plus files that others are known to use.
    """

    version: str
    cuda: tuple[int, ...]
    pythons: dict[int, tuple[int, ...]]
    abis: tuple[bool, ...] = (False, True)

    def has(self, key: _Key) -> bool:
        """Return whether the release has a file for this key."""
        in_row = key.python in self.pythons.get(key.torch, ())
        return key.cuda in self.cuda and in_row and key.abi in self.abis and key.machine == "x86_64"


@dataclass(frozen=True)
class _Key:
    """The part of an environment that a filename contains; `python` and `torch` are minors of Python 3 and torch 2."""

    python: int
    torch: int
    cuda: int
    abi: bool
    machine: str

    def __str__(self) -> str:
        abi = str(self.abi).lower()
        return f"CUDA {self.cuda}, torch 2.{self.torch}, ABI {abi}, cp3{self.python}, {self.machine}"

    def filename(self, version: str) -> str:
        """Return the name of the wheel of this release for this key."""
        tag = f"cp3{self.python}"
        build = f"cu{self.cuda}torch2.{self.torch}cxx11abi{str(self.abi).upper()}"
        return f"flash_attn-{version}+{build}-{tag}-{tag}-linux_{self.machine}.whl"


_TO_312, _TO_313 = (9, 10, 11, 12), (9, 10, 11, 12, 13)
MATRICES = (
    Matrix("2.8.3.post1", (12,), {4: _TO_312, 5: _TO_313, 6: _TO_313, 7: _TO_313, 8: _TO_313}),
    # Known to be in use; added to their releases after the CI had run.
    Matrix("2.8.3", (13,), {9: (12,), 10: (12,)}, abis=(True,)),
    Matrix("2.8.1", (13,), {10: (12, 13)}, abis=(True,)),
    Matrix("2.7.4.post1", (12,), {2: _TO_312, 3: _TO_312, 4: _TO_312, 5: _TO_313, 6: _TO_313}),
    # The last one for CUDA 11; its torch 2.6 files were built with a pre-release and are left out.
    Matrix("2.7.3", (11, 12), {2: _TO_312, 3: _TO_312, 4: _TO_312, 5: _TO_313}),
)


@lru_cache(maxsize=1)
def load_manifest() -> WheelManifest:
    """Return the manifest that is part of the package."""
    text = resources.files(__package__).joinpath("flash_attn_wheels.json").read_text(encoding="utf-8")
    raw = json.loads(text)
    base_url, sdist = raw["base_url"], raw["sdist"]
    wheels = {
        name: Wheel(name, _url(base_url, tag, name), sha256, name.split("-")[1].split("+")[0])
        for tag, files in raw["wheels"].items()
        for name, sha256 in files.items()
    }
    version = sdist["filename"].removeprefix("flash_attn-").removesuffix(".tar.gz")
    return WheelManifest(base_url, wheels, Wheel(sdist["filename"], None, sdist["sha256"], version))


def resolve(env: Environment, manifest: WheelManifest | None = None) -> Resolution:
    """Decide for one environment. `wheel` and `source` are what to try, not a promise that it works."""
    manifest = manifest or load_manifest()
    refusal = _why_unsupported(env)
    if refusal:
        return Resolution("sdpa", (), refusal)
    key = _key(env)
    listed = [version for version in PREFERENCE if key.filename(version) in manifest.wheels]
    computed = [m.version for m in MATRICES if m.has(key) and m.version not in listed]
    fitting = [v for v in listed + computed if not _why_not_version(v, key, env)]
    if fitting:
        candidates = tuple(_wheel(version, key, manifest) for version in fitting)
        return Resolution("wheel", candidates, _why_wheel(fitting, listed, key))
    # The objection to the newest one: that is the one that a reader would expect.
    objections = [_why_not_version(version, key, env) for version in listed + computed]
    missing = objections[0] if objections else _why_no_wheel(key)
    obstacle = why_no_build(env)
    if obstacle:
        return Resolution("sdpa", (), f"{missing}, and it cannot be built: {obstacle}")
    return Resolution("source", (manifest.sdist,), f"{missing}; it can be built from the source distribution")


def why_not_gpu(capability: str | None) -> str | None:
    """Return why flash-attn 2 does not run on a GPU, whatever the build, or None if it may."""
    if not _version(capability) or _version(capability) >= (8, 0):
        return None
    return f"flash-attn 2 needs compute capability 8.0 or newer; this GPU has {capability}"


def mislabelled(version: str, torch_minor: int, abi: bool) -> bool:
    """Return whether the files of that name are known not to match their name.

    For torch 2.6 the CI of 2.8.x installs the cu126 build, whose C++11 ABI is true, and can force only
    TRUE on the compiler, so its FALSE files are also true (flash-attention #1783, #1717).
    """
    return version.startswith("2.8.") and torch_minor == 6 and not abi


def fingerprint(env: Environment) -> str:
    """Return the name of the cache directory that only equal environments share: readable, and safe as a path."""
    digest = hashlib.sha256(json.dumps(asdict(env), sort_keys=True).encode()).hexdigest()[:12]
    parts = (
        "cp" + "".join(env.python.split(".")[:2]),
        f"torch{env.torch}",
        f"cu{env.cuda}",
        f"abi{int(env.abi)}",
        env.machine,
        f"sm{env.capability}",
    )
    readable = re.sub(r"[^A-Za-z0-9._+-]", "_", "-".join(parts))[:100]
    return f"{readable}-{digest}"


def _why_unsupported(env: Environment) -> str | None:
    """Return why no build of flash-attn 2 can work in this environment, or None if one might."""
    if env.cuda is None:
        return "torch is built without CUDA"
    if env.capability is None:
        return "no GPU is visible"
    unreadable = [n for n in ("python", "torch", "cuda", "capability") if not _version(getattr(env, n))]
    if unreadable:
        return f"{unreadable[0]} {getattr(env, unreadable[0])!r} is not a version number"
    if refusal := why_not_gpu(env.capability):
        return refusal
    if env.machine not in ("x86_64", "aarch64"):
        return f"flash-attn 2 exists for x86_64 and aarch64, not for {env.machine}"
    if not env.glibc or not _version(env.glibc):
        return "no glibc was found (musl?), and torch's CUDA builds need it"
    if not (3, 9) <= _version(env.python) < (4,):
        return f"flash-attn 2 needs Python 3.9 or a newer 3.x; this is {env.python}"
    if not (2, 2) <= _version(env.torch) < (3,):
        return f"flash-attn 2.7 and newer need torch 2.2 or a newer 2.x; this is {env.torch}"
    if _version(env.capability) >= (10, 0) and _version(env.cuda) < (12, 8):
        # Code for 10.0 and 12.0 needs nvcc 12.8, so an older torch has none for this GPU either.
        return f"compute capability {env.capability} needs a torch with CUDA 12.8; this one has {env.cuda}"
    return None


def _why_not_version(version: str, key: _Key, env: Environment) -> str | None:
    """Return why a file with a matching name does not work, or None if it may."""
    series = version[:3]
    if env.python.endswith("t"):
        return f"flash-attn {version} has no wheel for a free-threaded Python"
    if mislabelled(version, key.torch, key.abi):
        return f"flash-attn {version} for torch 2.6 with ABI false is mislabelled (flash-attention #1783)"
    if _version(env.capability)[0] not in GPU_MAJORS[series]:
        return f"flash-attn {version} has no code for compute capability {env.capability}"
    # Built on ubuntu-22.04 since 2.8.0.post1; so are the files added to 2.7.x later, for torch 2.7 and 2.8.
    if (series >= "2.8" or key.torch >= 7) and _version(env.glibc) < (2, 32):
        return f"flash-attn {version} needs glibc 2.32; this is {env.glibc}"
    return None


def _why_no_wheel(key: _Key) -> str:
    """Return a message that names the part of the key for which there is no wheel, the most specific one first."""
    why = "not published"
    if key.cuda == 11 and key.torch > 5:
        why = "for CUDA 11 they end at torch 2.5"
    elif key.cuda == 13 and key.torch < 9:
        why = "for CUDA 13 they begin at torch 2.9"
    elif key.cuda not in (11, 12, 13):
        why = "they exist for CUDA 11, 12 and 13"
    elif key.torch > 10:
        why = "they end at torch 2.10"
    elif key.python > 13:
        why = "they end at Python 3.13"
    elif key.torch > 8 and not key.abi:
        why = "from torch 2.9 on they exist with ABI true only"
    elif key.machine == "aarch64":
        why = "for aarch64 there are few, for cp312 and torch 2.8 to 2.10"
    elif key.torch > 8:
        why = "from torch 2.9 on there are few, for cp312 and cp313"
    return f"no official flash-attn wheel for {key}: {why}"


def why_no_build(env: Environment) -> str | None:
    """Return why the source distribution cannot be built, apart from nvcc, memory and time, or None."""
    if _version(env.torch) >= (2, 13):
        return f"the source distribution is C++17 and does not compile against torch {env.torch}"
    if _version(env.cuda) < (11, 7):
        return f"the source distribution needs CUDA 11.7; torch has {env.cuda}"
    if build_arch(env.capability) is None:
        return f"the source distribution has no code for compute capability {env.capability}"
    return None


def _why_wheel(fitting: list[str], listed: list[str], key: _Key) -> str:
    first = fitting[0]
    if mislabelled("2.8.3", key.torch, key.abi):
        return (
            f"flash-attn {first} for {key}, because the 2.8.x files of that name are really ABI true "
            "(flash-attention #1783); no hash is published for it"
        )
    if first in listed:
        return f"flash-attn {first} for {key}, listed with its sha256"
    return f"flash-attn {first} for {key}, from the release's build matrix; no hash is published for it"


# Measured for one architecture, 9.0, with nvcc 13.0 on two cores: bench/results/flash-attn-build.json.
CORE_SECONDS = 1_500
LONGEST_FILE_SECONDS = 490  # the lower limit, however many cores there are
FIXED_SECONDS = 90  # unpacking 6 600 files, linking, zipping: an allowance, not a measurement
GIB_PER_JOB = 4  # measured: 3.6 at most
MEMORY_SHARE = 0.8


@dataclass(frozen=True)
class BuildEstimate:
    """The parallel jobs of a build and its time.

    `jobs` is for MAX_JOBS, with NVCC_THREADS=1: for one architecture, a second thread has no work.
    """

    jobs: int
    seconds: float


def estimate_build(cores: float, memory_bytes: int) -> BuildEstimate:
    """Return the number of jobs that fit, and the time: `90 s + 1500 s / jobs`, at least `90 s + 490 s`.

    `cores` and `memory_bytes` are the cgroup's, not the host's. A job needs 4 GiB of 80 % of the memory.
    """
    by_memory = int(MEMORY_SHARE * memory_bytes / (GIB_PER_JOB * 2**30))
    jobs = max(1, min(int(cores), by_memory))
    # On half a core, there is still one job, at half the speed.
    speed = min(jobs, max(cores, 0.1))
    return BuildEstimate(jobs, FIXED_SECONDS + max(CORE_SECONDS / speed, LONGEST_FILE_SECONDS / min(speed, 1)))


def build_arch(capability: str | None) -> str | None:
    """Return the value of FLASH_ATTN_CUDA_ARCHS for one GPU, or None; code for x.0 runs on every x.y."""
    major = _version(capability)[:1]
    return f"{major[0]}0" if major and major[0] in GPU_MAJORS["2.8"] else None


def _key(env: Environment) -> _Key:
    python, torch, cuda = _version(env.python), _version(env.torch), _version(env.cuda)
    return _Key(python[1], torch[1], cuda[0], env.abi, env.machine)


def _wheel(version: str, key: _Key, manifest: WheelManifest) -> Wheel:
    name = key.filename(version)
    url = _url(manifest.base_url, f"v{version}", name)
    return manifest.wheels.get(name) or Wheel(name, url, None, version)


def _url(base_url: str, tag: str, filename: str) -> str:
    return f"{base_url}/{tag}/{filename.replace('+', '%2B')}"


def _version(text: str | None) -> tuple[int, ...]:
    """Return major and minor version; () if the text has none."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})", text or "", re.ASCII)
    return (int(match[1]), int(match[2])) if match else ()
