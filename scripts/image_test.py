"""Build the image on two stand-in bases and start it as Docker would: `make image-test`.

buildah builds and runc starts, without a daemon. Bases and images are stored under out/image, or F5_IMAGE_DIR: 25 GB.
The bases are made once, and a build takes the layers of earlier ones. Each check starts a container of its own; the
first that fails ends the program. Needs root, buildah, runc and debootstrap; no GPU. FLASH_ATTN_WHEEL is passed on;
without it the image has no flash-attn.
Writes bench/results/image.json.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.record import record  # noqa: E402 - the repository is not an installed package
from scripts.image.bases import BASES, SYMBOL, Base, plant_broken_flash_attn, write_wheel  # noqa: E402
from scripts.image.containers import AS_IT_IS, BuildFailed, Container, Images, Options  # noqa: E402
from scripts.image.worker import START_S, CheckFailed, Worker, await_ping, boot_report, expect, free_port, stop  # noqa: E402

PROGRAMS = ("buildah", "runc", "debootstrap")
WHEEL = os.environ.get("FLASH_ATTN_WHEEL", "none")  # auto needs GitHub
USER = 1000  # that the image has
ENVIRONMENT = {"F5_MODEL": "f5-tiny", "HF_HUB_OFFLINE": "1"}
LOCAL_API = tuple("run --then python -u handler.py --rp_serve_api --rp_api_host 127.0.0.1 --rp_api_port".split())


class ImageTest:
    """The checks of the image on one base, in the order of their definition."""

    def __init__(self, images: Images, base: Base, scratch: Path) -> None:
        self._images = images
        self._base = base
        self._scratch = scratch
        self._base_image = f"localhost/{base.name}"
        self._image = f"localhost/f5-worker-on-{base.name}"
        self._seconds: dict[str, float] = {}
        self._ready_s: dict[str, float] = {}
        self._stop_s: dict[str, float] = {}

    def run(self) -> dict[str, Any]:
        """Make the base if it is missing, build the image and check it; return the measurements."""
        if not self._images.exists(self._base_image):
            self._step("base", lambda: self._images.create(self._base_image, "scratch", self._base.fill))
        self._step("build", self._build)
        layers = self._images.layers(self._image)[len(self._images.layers(self._base_image)) :]
        for layer in layers:
            print(f"  {layer.n_bytes / 1e6:8.1f} MB  {layer.made_by[:100]}", flush=True)
        for name, check in CHECKS.items():
            self._step(name, partial(check, self))
        return {
            "torch": self._base.torch,
            "has_f5_tts": self._base.has_f5_tts,
            "layers_mb": round(sum(layer.n_bytes for layer in layers) / 1e6, 1),
            "seconds": self._seconds,
            "ready_s": self._ready_s,
            "stop_s": self._stop_s,
        }

    def _step(self, name: str, work: Callable[[], object]) -> None:
        self._name = name
        started = time.monotonic()
        work()
        self._seconds[name] = round(time.monotonic() - started, 1)
        print(f"{self._base.name}: {name}: {self._seconds[name]} s", flush=True)

    def _build(self) -> None:
        self._images.build(self._image, ROOT, {"BASE_IMAGE": self._base_image, "FLASH_ATTN_WHEEL": WHEEL})

    def _build_with_wheel(self, wheel: str) -> None:
        """Build an image with a flash-attn wheel in wheels/."""
        arguments = {"BASE_IMAGE": self._base_image, "FLASH_ATTN_WHEEL": f"wheels/{wheel}"}
        self._images.build(f"{self._image}-with-wheel", ROOT, arguments)

    @contextmanager
    def _container(
        self,
        *command: str,
        image: str | None = None,
        options: Options = AS_IT_IS,
        plant: Callable[[Path], None] | None = None,
    ) -> Iterator[Container]:
        """Run a command in a container of the image, with files that `plant` adds before."""
        image = image or self._image
        config = self._images.config(image)
        options = replace(options, environment=ENVIRONMENT | options.environment)
        with tempfile.TemporaryDirectory(dir=self._scratch) as bundle, self._images.mounted(image) as files:
            if plant is not None:
                plant(files)
            with Container(Path(bundle), files, config, command, options) as container:
                try:
                    yield container
                except Exception:
                    print(container.log[-6000:], file=sys.stderr)
                    raise

    def _boot(self, *arguments: str, **options: Any) -> AbstractContextManager[Container]:
        """Run the image's own command with arguments."""
        return self._container(*self._images.config(self._image)["Cmd"], *arguments, **options)

    @contextmanager
    def _worker(self, options: Options = AS_IT_IS) -> Iterator[Worker]:
        """Run a worker until the block ends, then stop it."""
        port = free_port()
        with self._boot(*LOCAL_API, str(port), options=options) as container:
            worker = Worker(container, port)
            self._ready_s[self._name] = round(worker.await_ready(), 1)
            yield worker
            self._stop_s[self._name] = round(stop(container), 1)

    @contextmanager
    def _volume(self, owner: int) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self._scratch) as directory:
            volume = Path(directory) / "volume"
            volume.mkdir(mode=0o755)
            os.chown(volume, owner, owner)
            yield volume

    def doctor(self) -> None:
        """`doctor` finds the base's torch, and a worker that serves."""
        with self._boot("doctor", "--json") as container:
            code = container.wait(START_S)
            report = json.loads(container.log)
            expect(code <= 1 and report["error"] is None, f"doctor ended with {code}: {report['error']}")
            expect(report["facts"]["torch"].startswith(self._base.torch), f"torch is {report['facts']['torch']}")

    def serve(self) -> None:
        """A job is spoken, by a user without rights; the handler got a quoted allocator string repaired."""
        quoted = {"PYTORCH_CUDA_ALLOC_CONF": '"expandable_segments:True"'}
        with self._worker(Options(environment=quoted)) as worker:
            report = worker.boot_report()
            expect(report["allocator"]["export"] == "expandable_segments:True", f"allocator: {report['allocator']}")
            expect(report["user"]["uid"] == USER, f"it runs as {report['user']}")
            environ = worker.container.execute("cat", "/proc/1/environ", user=USER).stdout.split("\0")
            expect("PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True" in environ, f"the handler has {environ}")
            worker.speak()
            _, *health_check = self._images.config(self._image)["Healthcheck"]["Test"]
            done = worker.container.execute(*health_check)
            expect(done.returncode == 0, f"the health check says {done.stderr}")

    def as_user(self) -> None:
        """The same with `docker run --user 1000:1000`."""
        with self._worker(Options(user=USER)) as worker:
            worker.speak()

    def read_only_with_a_volume_of_root(self) -> None:
        """The same with `docker run --read-only` and a volume as RunPod mounts it: as root."""
        with self._volume(owner=0) as volume:
            with self._worker(Options(read_only=True, volumes={"/runpod-volume": volume})) as worker:
                expect(worker.boot_report()["user"]["uid"] == 0, f"it runs as {worker.boot_report()['user']}")
                worker.speak()
            expect((volume / "f5-worker").is_dir(), "nothing was written to the volume")

    def read_only_with_a_volume_of_the_user(self) -> None:
        """The same with a volume that the user may write to: without root."""
        with self._volume(owner=USER) as volume:
            with self._worker(Options(read_only=True, volumes={"/runpod-volume": volume})) as worker:
                expect(worker.boot_report()["user"]["uid"] == USER, f"it runs as {worker.boot_report()['user']}")
                worker.speak()
            expect((volume / "f5-worker").stat().st_uid == USER, "nothing was written to the volume")

    def http_server(self) -> None:
        """`docker run IMAGE serve` answers the health check of a load-balancing endpoint."""
        port = free_port()
        with self._container("serve", options=Options(environment={"PORT": str(port)})) as container:
            self._ready_s[self._name] = round(await_ping(container, port), 1)
            self._stop_s[self._name] = round(stop(container), 1)

    def stop_during_start(self) -> None:
        """SIGTERM ends a container that is not ready yet."""
        with self._boot(*LOCAL_API, str(free_port())) as container:
            time.sleep(1)
            self._stop_s[self._name] = round(stop(container), 1)

    def broken_flash_attn(self) -> None:
        """A flash-attn that does not load is removed from the base, or hidden, and f5-tts can be imported."""
        imported = "f5_tts.model.modules" if self._base.has_f5_tts else "importlib.util"
        program = f"import importlib.util, {imported}; assert importlib.util.find_spec('flash_attn') is None"
        with self._boot("run", "--then", "python", "-c", program, plant=plant_broken_flash_attn) as container:
            code = container.wait(START_S)
            expect(code == 0, f"`{program}` ended with {code}")
            decision = boot_report(container.log)["flash_attn"]
            expect(SYMBOL in json.dumps(decision), f"the report does not tell: {decision}")

    def local_wheel(self) -> None:
        """A flash-attn wheel for the base, as a file, is in the image. This one has no kernels: the route is tried."""
        with local_wheel(self._base.flash_attn) as wheel:
            self._build_with_wheel(wheel)
        program = "import importlib.metadata as m, flash_attn; print(m.version('flash-attn'), flash_attn.__file__)"
        image = f"{self._image}-with-wheel"
        with self._container("python", "-c", program, image=image) as container:
            expect(container.wait(START_S) == 0, "it does not import")
            expect(self._base.flash_attn in container.log, f"the image has {container.log}")

    def wrong_wheel(self) -> None:
        """A flash-attn wheel for another Python fails the build, by name."""
        with local_wheel(self._base.flash_attn, python="310") as wheel:
            try:
                self._build_with_wheel(wheel)
            except BuildFailed as error:
                expect(f"{wheel} is for Python 3.10, this base has 3.11" in str(error), str(error)[-500:])
            else:
                raise CheckFailed("a wheel for Python 3.10 was installed")


CHECKS = {name: check for name, check in vars(ImageTest).items() if not name.startswith("_") and name != "run"}


@contextmanager
def local_wheel(build: str, python: str = "311") -> Iterator[str]:
    """Write a wheel into wheels/, yield its name, and remove it."""
    name = write_wheel(ROOT / "wheels", build, python)
    try:
        yield name
    finally:
        (ROOT / "wheels" / name).unlink()


def missing() -> str | None:
    """Return what this machine lacks and how to get it, or None."""
    if os.geteuid() != 0:
        return "root is needed, for mounts and debootstrap: sudo make image-test"
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"{', '.join(lacking)} missing: apt-get install {' '.join(lacking)}" if lacking else None


def main(names: Sequence[str]) -> int:
    """Check the image on the named bases, or on both and record the figures; return the exit code."""
    if reason := missing():
        print(f"image-test: {reason}", file=sys.stderr)
        return 1
    directory = Path(os.environ.get("F5_IMAGE_DIR") or ROOT / "out" / "image").resolve()
    directory.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))  # so that containers end too
    images, results = Images(directory), {}
    images.remove_containers()  # of a run that was killed
    for base in BASES:
        if names and base.name not in names:
            continue
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            try:
                results[base.name] = ImageTest(images, base, Path(scratch)).run()
            except (BuildFailed, CheckFailed) as error:
                print(f"image-test: on {base.name}: {str(error)[-3000:]}", file=sys.stderr)
                return 1
    if not names:
        record("image", {"bases": results})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
