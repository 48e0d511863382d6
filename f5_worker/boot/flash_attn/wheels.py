"""Which flash-attn build fits this interpreter, this torch and this GPU: a wheel, the source, or none.

Knows names and published hashes, touches neither network nor disk but for its own manifest. A name that
fits proves nothing: some official wheels are mislabelled, so what is installed has to be run before use.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

Decision = Literal["wheel", "source", "sdpa"]

# Best first. 2.8.1 has a compression regression (flash-attention #1744), so it is taken only where no other
# release has the file. Nothing below 2.7.0: there `unpad_input` returns 4 values and F5-TTS unpacks 5.
PREFERENCE = ("2.8.3", "2.8.3.post1", "2.8.2", "2.8.0.post2", "2.8.1", "2.7.4.post1", "2.7.3")

# Wheels hold code for these major compute capabilities and no PTX (nvcc 12.9 since 2.8.0, 12.4 before).
GPU_MAJORS = {"2.7": (8, 9), "2.8": (8, 9, 10, 12)}


@dataclass(frozen=True)
class Environment:
    """What decides, as measured: versions as text (`3.11`, `2.4.0+cu124`, `12.4`, `2.35`, `8.9`).

    `cuda` is torch.version.cuda, not nvcc's or the driver's; `abi` is torch._C._GLIBCXX_USE_CXX11_ABI,
    which cannot be told from the version (torch 2.6.0 is false with cu124, true with cu126). None: absent.
    """

    python: str
    torch: str
    cuda: str | None
    abi: bool
    machine: str
    glibc: str | None
    capability: str | None


@dataclass(frozen=True)
class Wheel:
    """One file to try.

    `sha256` is None where GitHub publishes none; `url` is None for the source distribution, which pip finds
    on PyPI by version and hash.
    """

    filename: str
    url: str | None
    sha256: str | None
    version: str


@dataclass(frozen=True)
class WheelManifest:
    """The files known with their hashes, by filename, and the source distribution."""

    base_url: str
    wheels: dict[str, Wheel]
    sdist: Wheel


@dataclass(frozen=True)
class Resolution:
    """What to do, the files to try in order, and why in one sentence."""

    decision: Decision
    candidates: tuple[Wheel, ...]
    reason: str

    @property
    def filename(self) -> str | None:
        return self.candidates[0].filename if self.candidates else None

    @property
    def url(self) -> str | None:
        return self.candidates[0].url if self.candidates else None

    @property
    def sha256(self) -> str | None:
        return self.candidates[0].sha256 if self.candidates else None

    def to_json(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in ("decision", "filename", "url", "sha256", "reason")}
        return {**named, "candidates": [asdict(wheel) for wheel in self.candidates]}


@dataclass(frozen=True)
class Matrix:
    """What a release's CI published without a hash: torch minor -> Python minors, per CUDA major.

    From .github/workflows/publish.yml of the tag, plus files that others were seen to use.
    """

    version: str
    cuda: tuple[int, ...]
    pythons: dict[int, tuple[int, ...]]
    abis: tuple[bool, ...] = (False, True)

    def has(self, key: _Key) -> bool:
        in_row = key.python in self.pythons.get(key.torch, ())
        return key.cuda in self.cuda and in_row and key.abi in self.abis and key.machine == "x86_64"


@dataclass(frozen=True)
class _Key:
    """The part of an environment that a filename spells out; minors of Python 3 and torch 2."""

    python: int
    torch: int
    cuda: int
    abi: bool
    machine: str

    def __str__(self) -> str:
        abi = str(self.abi).lower()
        return f"CUDA {self.cuda}, torch 2.{self.torch}, ABI {abi}, cp3{self.python}, {self.machine}"

    def filename(self, version: str) -> str:
        tag = f"cp3{self.python}"
        build = f"cu{self.cuda}torch2.{self.torch}cxx11abi{str(self.abi).upper()}"
        return f"flash_attn-{version}+{build}-{tag}-{tag}-linux_{self.machine}.whl"


_TO_312, _TO_313 = (9, 10, 11, 12), (9, 10, 11, 12, 13)
MATRICES = (
    Matrix("2.8.3.post1", (12,), {4: _TO_312, 5: _TO_313, 6: _TO_313, 7: _TO_313, 8: _TO_313}),
    # Seen in use, added to their releases after the matrix had run.
    Matrix("2.8.3", (13,), {9: (12,), 10: (12,)}, abis=(True,)),
    Matrix("2.8.1", (13,), {10: (12, 13)}, abis=(True,)),
    Matrix("2.7.4.post1", (12,), {2: _TO_312, 3: _TO_312, 4: _TO_312, 5: _TO_313, 6: _TO_313}),
    # The last one for CUDA 11; its torch 2.6 files were built with a pre-release and are left out.
    Matrix("2.7.3", (11, 12), {2: _TO_312, 3: _TO_312, 4: _TO_312, 5: _TO_313}),
)


@lru_cache(maxsize=1)
def load_manifest() -> WheelManifest:
    """The manifest that ships with the package."""
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
    """Decide for one environment. `wheel` and `source` say what to try, not that it will work."""
    manifest = manifest or load_manifest()
    refusal = _why_never(env)
    if refusal:
        return Resolution("sdpa", (), refusal)
    key = _key(env)
    listed = [version for version in PREFERENCE if key.filename(version) in manifest.wheels]
    computed = [m.version for m in MATRICES if m.has(key) and m.version not in listed]
    fitting = [v for v in listed + computed if not _why_not_version(v, key, env)]
    if fitting:
        candidates = tuple(_wheel(version, key, manifest) for version in fitting)
        return Resolution("wheel", candidates, _why_wheel(fitting, listed, key))
    # The newest one's objection: it is the one that a reader would look for.
    objections = [_why_not_version(version, key, env) for version in listed + computed]
    missing = objections[0] if objections else _why_no_wheel(key)
    obstacle = why_no_build(env)
    if obstacle:
        return Resolution("sdpa", (), f"{missing}, and it cannot be built: {obstacle}")
    return Resolution("source", (manifest.sdist,), f"{missing}; it can be built from the source distribution")


def mislabelled(version: str, torch_minor: int, abi: bool) -> bool:
    """Whether the files of that name are known not to be what they say.

    For torch 2.6 the CI of 2.8.x installs the cu126 build, whose C++11 ABI is true, and can force only
    TRUE on the compiler, so its FALSE files are true as well (flash-attention #1783, #1717).
    """
    return version.startswith("2.8.") and torch_minor == 6 and not abi


def fingerprint(env: Environment) -> str:
    """Name of a cache directory that only equal environments share: readable, and safe as a path."""
    digest = hashlib.sha256(json.dumps(asdict(env), sort_keys=True).encode()).hexdigest()[:12]
    words = (
        "cp" + "".join(env.python.split(".")[:2]),
        f"torch{env.torch}",
        f"cu{env.cuda}",
        f"abi{int(env.abi)}",
        env.machine,
        f"sm{env.capability}",
    )
    readable = re.sub(r"[^A-Za-z0-9._+-]", "_", "-".join(words))[:100]
    return f"{readable}-{digest}"


# -- why not -------------------------------------------------------------------------------------------


def _why_never(env: Environment) -> str | None:
    """The reason why no build of flash-attn 2 can serve here, whatever is published."""
    if env.cuda is None:
        return "torch is built without CUDA"
    if env.capability is None:
        return "no GPU is visible"
    unread = [n for n in ("python", "torch", "cuda", "capability") if not _version(getattr(env, n))]
    if unread:
        return f"{unread[0]} {getattr(env, unread[0])!r} is no version number"
    if _version(env.capability) < (8, 0):
        return f"flash-attn 2 needs compute capability 8.0 or newer; this GPU has {env.capability}"
    if env.machine not in ("x86_64", "aarch64"):
        return f"flash-attn 2 exists for x86_64 and aarch64, not for {env.machine}"
    if not env.glibc or not _version(env.glibc):
        return "no glibc was found (musl?), and torch's CUDA builds need it"
    if not (3, 9) <= _version(env.python) < (4,):
        return f"flash-attn 2 needs Python 3.9 or newer; this is {env.python}"
    if not (2, 2) <= _version(env.torch) < (3,):
        return f"flash-attn 2.7 and newer need torch 2.2 or newer; this is {env.torch}"
    if _version(env.capability) >= (10, 0) and _version(env.cuda) < (12, 8):
        # Code for 10.0 and 12.0 needs nvcc 12.8, so such a torch has none for this GPU either.
        return f"compute capability {env.capability} needs a torch with CUDA 12.8; this one has {env.cuda}"
    return None


def _why_not_version(version: str, key: _Key, env: Environment) -> str | None:
    """The reason why a file that exists under the right name does not serve."""
    series = version[:3]
    if mislabelled(version, key.torch, key.abi):
        return f"flash-attn {version} for torch 2.6 with ABI false is mislabelled (flash-attention #1783)"
    if _version(env.capability)[0] not in GPU_MAJORS[series]:
        return f"flash-attn {version} has no code for compute capability {env.capability}"
    # Built on ubuntu-22.04 since 2.8.0.post1; so are the files added to 2.7.x later, for torch 2.7 and 2.8.
    if (series >= "2.8" or key.torch >= 7) and _version(env.glibc) < (2, 32):
        return f"flash-attn {version} needs glibc 2.32; this is {env.glibc}"
    return None


def _why_no_wheel(key: _Key) -> str:
    """Which part of the key has no wheel, the most telling one first."""
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
    """What speaks against the source distribution already here; nvcc, memory and time are not known here."""
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


# -- source build --------------------------------------------------------------------------------------

# Measured for one architecture, 9.0, with nvcc 13.0 on two cores: bench/results/flash-attn-build.json.
CORE_SECONDS = 1_500
LONGEST_FILE_SECONDS = 490  # more cores do not help beyond it
FIXED_SECONDS = 90  # unpacking 6 600 files, linking, zipping: an allowance, not a measurement
GIB_PER_JOB = 4  # 3.6 at its peak
MEMORY_SHARE = 0.8


@dataclass(frozen=True)
class BuildEstimate:
    """`jobs` is for MAX_JOBS, with NVCC_THREADS=1: one architecture leaves a second thread nothing to do."""

    jobs: int
    seconds: float


def estimate_build(cores: float, memory_bytes: int) -> BuildEstimate:
    """Jobs that fit and the time they take: `90 s + 1500 s / jobs`, at least `90 s + 490 s`.

    `cores` and `memory_bytes` are the cgroup's, not the host's. A job needs 4 GiB of 80 % of the memory.
    """
    by_memory = int(MEMORY_SHARE * memory_bytes / (GIB_PER_JOB * 2**30))
    jobs = max(1, min(int(cores), by_memory))
    # A lone job on half a core is still one job, at half the speed.
    speed = min(jobs, max(cores, 0.1))
    return BuildEstimate(jobs, FIXED_SECONDS + max(CORE_SECONDS / speed, LONGEST_FILE_SECONDS / min(speed, 1)))


def build_arch(capability: str | None) -> str | None:
    """The value of FLASH_ATTN_CUDA_ARCHS for one GPU; code for x.0 runs on every x.y."""
    major = _version(capability)[:1]
    return f"{major[0]}0" if major and major[0] in GPU_MAJORS["2.8"] else None


# -- names ---------------------------------------------------------------------------------------------


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
    """Major and minor; () where there is none to read."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})", text or "", re.ASCII)
    return (int(match[1]), int(match[2])) if match else ()
