"""Images by buildah and containers by runc, without a daemon and as root; for scripts/image_test.py.

runc is what Docker runs containers with. The options here stand for those of `docker run`: `--user`, `--read-only`,
`--volume`, `--network host`, and Docker's own capabilities. Its filter of system calls and its limits are left out.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CAPABILITIES = [
    "CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
]  # fmt: skip


class BuildFailed(Exception):
    """A build ended with an error; its text is what the build printed."""


@dataclass(frozen=True)
class Layer:
    """A layer of an image: the instruction that made it, and its size."""

    made_by: str
    n_bytes: int


@dataclass(frozen=True)
class Images:
    """The images that are stored in a directory."""

    directory: Path

    def exists(self, name: str) -> bool:
        """Return whether there is an image of that name."""
        return self._buildah("inspect", "--type", "image", name, check=False).returncode == 0

    def create(self, name: str, base: str, fill: Callable[[Path], None]) -> None:
        """Create an image from `base` (`scratch` is empty) and what `fill` adds to its mounted files."""
        with self._container(base) as (container, files):
            fill(files)
            self._buildah("commit", "-q", container, name)

    def build(self, name: str, context: Path, arguments: Mapping[str, str]) -> None:
        """Build the Dockerfile of a directory, from the layers of earlier builds as far as they fit.

        Raises:
            BuildFailed: an instruction failed.
        """
        given = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
        options = ("--isolation", "chroot", "--network", "host", "--layers", "--format", "docker")
        done = self._buildah("bud", *options, *given, "-t", name, str(context), check=False)
        if done.returncode != 0:
            raise BuildFailed(done.stdout)

    def config(self, name: str) -> dict[str, Any]:
        """Return what the image says about its containers: Cmd, Env, Labels, User and so on, in Docker's names."""
        config: dict[str, Any] = self._inspect(name)["Docker"]["config"]
        return config

    def layers(self, name: str) -> list[Layer]:
        """Return the layers of an image, from the lowest."""
        found = self._inspect(name)
        made_by = [step.get("created_by", "") for step in found["Docker"]["history"] if not step.get("empty_layer")]
        sizes = [int(layer["size"]) for layer in json.loads(found["Manifest"])["layers"]]
        return [Layer(step, n_bytes) for step, n_bytes in zip(made_by, sizes, strict=True)]

    def remove_containers(self) -> None:
        """Remove the working containers that builds and copies have left."""
        self._buildah("rm", "--all")

    @contextmanager
    def mounted(self, name: str) -> Iterator[Path]:
        """Yield a directory with a writable copy of an image's files; the copy is removed afterwards."""
        with self._container(name) as (_, files):
            yield files

    @contextmanager
    def _container(self, base: str) -> Iterator[tuple[str, Path]]:
        container = self._buildah("from", "--pull-never", base).stdout.split()[-1]
        try:
            yield container, Path(self._buildah("mount", container).stdout.strip())
        finally:
            self._buildah("rm", container)

    def _inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._buildah("inspect", "--type", "image", name).stdout)
        return found

    def _buildah(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        storage = ("--root", str(self.directory / "storage"), "--runroot", str(self.directory / "run"))
        done = subprocess.run(
            ["buildah", *storage, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"buildah {arguments[0]}: {done.stdout.strip()}")
        return done


@dataclass(frozen=True)
class Options:
    """The options of `docker run` that are used here."""

    user: int = 0
    read_only: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, Path] = field(default_factory=dict)


AS_IT_IS = Options()


def runtime_spec(
    files: Path, config: Mapping[str, Any], options: Options, default: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the configuration of a container, from the one that `runc spec` writes.

    Args:
        files: the mounted files of the image.
        config: what the image says, as `Images.config` returns it.
    """
    capabilities = {"bounding": CAPABILITIES} if options.user else dict.fromkeys(
        ("bounding", "effective", "permitted"), CAPABILITIES
    )  # fmt: skip
    environment = dict(pair.split("=", 1) for pair in config["Env"]) | options.environment
    process = {
        "terminal": False,
        "user": {"uid": options.user, "gid": options.user},
        "args": config["Cmd"],
        "env": [f"{name}={value}" for name, value in environment.items()],
        "cwd": config["WorkingDir"],
        "capabilities": capabilities,
        "noNewPrivileges": False,
    }
    volumes = [
        {"destination": to, "type": "bind", "source": str(source), "options": ["rbind", "rw"]}
        for to, source in options.volumes.items()
    ]
    mounts = [mount for mount in default["mounts"] if mount["type"] != "cgroup"]
    namespaces = [space for space in default["linux"]["namespaces"] if space["type"] in ("pid", "ipc", "uts", "mount")]
    return {
        **default,
        "process": process,
        "root": {"path": str(files), "readonly": options.read_only},
        "mounts": mounts + volumes,
        "linux": {**default["linux"], "namespaces": namespaces, "resources": {}},
    }


class Container:
    """A container of mounted files. As a context manager it runs until the block ends.

    Args:
        bundle: an empty directory for its configuration and log.
        arguments: the command, in place of the image's.
    """

    def __init__(
        self,
        bundle: Path,
        files: Path,
        config: Mapping[str, Any],
        arguments: Sequence[str] = (),
        options: Options = AS_IT_IS,
    ) -> None:
        self._bundle = bundle
        self._name = f"f5-{bundle.name}"
        subprocess.run(["runc", "spec", "--bundle", bundle], check=True)
        path = bundle / "config.json"
        config = {**config, "Cmd": list(arguments) or config["Cmd"]}
        path.write_text(json.dumps(runtime_spec(files, config, options, json.loads(path.read_text()))))

    def __enter__(self) -> Container:
        self._started = time.monotonic()
        with (self._bundle / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["runc", "run", "--bundle", self._bundle, self._name],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return self

    def __exit__(self, *exception: object) -> None:
        subprocess.run(["runc", "delete", "--force", self._name], capture_output=True, check=False)
        self._process.wait()

    @property
    def log(self) -> str:
        """Return what the container has printed."""
        return (self._bundle / "log").read_text(errors="replace")

    @property
    def age_s(self) -> float:
        """Return the seconds since its start."""
        return time.monotonic() - self._started

    @property
    def has_ended(self) -> bool:
        """Return whether its first process has ended."""
        return self._process.poll() is not None

    def wait(self, timeout_s: float) -> int:
        """Return the exit code of its first process.

        Raises:
            subprocess.TimeoutExpired: it is still running.
        """
        return self._process.wait(timeout_s)

    def terminate(self) -> None:
        """Send SIGTERM to its first process, as `docker stop` does."""
        subprocess.run(["runc", "kill", self._name, "TERM"], check=True)

    def execute(self, *command: str, user: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command in the running container, as `docker exec` does."""
        words = ["runc", "exec", "--user", f"{user}:{user}", self._name, *command]
        return subprocess.run(words, capture_output=True, text=True, check=False)
