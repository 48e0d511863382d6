"""Write the bill of materials of the image, CycloneDX 1.6: `make sbom` -> out/sbom.json.

It has what the Dockerfile adds to its base: every package of requirements.txt with the hashes of its files, the
flash-attn wheel of the default base, and every published model that a worker can fetch. Licences of packages are those
that the installed ones state.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from f5_worker import __version__  # noqa: E402 - found only once the path is set
from f5_worker.boot import bake_flash_attn  # noqa: E402
from f5_worker.boot.flash_attn.wheels import resolve  # noqa: E402
from f5_worker.boot.probe.probe import Environment  # noqa: E402
from f5_worker.models.published import HubFile, published, recognisers  # noqa: E402

PACKAGE = re.compile(r"^([\w-]+)==(\S+)(?: ;[^\\\n]*)?((?:\s*\\\n\s*--hash=\S+)*)", re.MULTILINE)
LICENCES = LicenseFactory()
VOCODER_LICENCE = "MIT"  # as its card on the hub states
DEFAULT_BASE = Environment("3.11", "2.4.0", "12.4", False, "x86_64", "2.35", bake_flash_attn.CAPABILITY)


def build() -> Bom:
    """Return the bill of materials."""
    worker = Component(name="f5-worker", version=__version__, type=ComponentType.APPLICATION, bom_ref="f5-worker")
    worker.licenses.add(LICENCES.make_with_id("MIT"))
    bom = Bom()
    bom.metadata.component = worker
    found = [*packages((ROOT / "requirements.txt").read_text(encoding="utf-8")), flash_attn(), *models()]
    for component in found:
        bom.components.add(component)
    bom.register_dependency(worker, found)
    return bom


def packages(lock: str) -> Iterator[Component]:
    """Yield the packages of a lock. The hashes are those of all files of a version: an index has one a platform."""
    for name, version, hashes in PACKAGE.findall(lock):
        files = ExternalReference(
            type=ExternalReferenceType.DISTRIBUTION,
            url=XsUri(f"https://pypi.org/project/{name}/{version}/"),
            hashes=[_sha256(value) for value in re.findall(r"sha256:(\w+)", hashes)],
        )
        purl = PackageURL("pypi", name=name, version=version)
        yield Component(
            name=name,
            version=version,
            purl=purl,
            bom_ref=str(purl),
            licenses=_stated_licences(name),
            external_references=[files],
        )


def flash_attn() -> Component:
    """Return the wheel that `FLASH_ATTN_WHEEL=auto` installs on the default base."""
    wheel = resolve(DEFAULT_BASE).candidates[0]
    return Component(
        name="flash-attn",
        version=wheel.version,
        purl=PackageURL("pypi", name="flash-attn", version=wheel.version),
        bom_ref=wheel.filename,
        licenses=[LICENCES.make_with_id("BSD-3-Clause")],
        hashes=[_sha256(str(wheel.sha256))],
        external_references=[ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(str(wheel.url)))],
    )


def _stated_licences(package: str) -> Iterator[License]:
    try:
        stated = importlib.metadata.metadata(package)
    except importlib.metadata.PackageNotFoundError:
        return
    classified = [
        line.rsplit(" :: ", 1)[1] for line in stated.get_all("Classifier", []) if line.startswith("License ::")
    ]
    text = stated.get("License-Expression") or ", ".join(classified) or stated.get("License")
    if text and len(text) < 100:  # in older packages, the whole text of a licence
        yield LICENCES.make_from_string(text)


def models() -> Iterator[Component]:
    """Yield the files with weights that a worker can fetch, each once. Those without a hash are not pinned."""
    files = {entry.model: entry.licence for entry in published().values()}
    files |= {entry.vocoder: VOCODER_LICENCE for entry in published().values()}
    files |= {entry.weights: entry.licence for entry in recognisers().values()}
    for file, licence in files.items():
        yield _model(file, licence)


def _model(file: HubFile, licence: str) -> Component:
    url = f"https://huggingface.co/{file.repo}/resolve/{file.revision}/{file.path}"
    return Component(
        name=f"{file.repo}/{file.path}",
        version=file.revision,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=url,
        licenses=[LICENCES.make_from_string(licence)],
        hashes=[_sha256(file.sha256)] if file.sha256 else (),
        external_references=[ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(url))],
    )


def _sha256(value: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=value)


def main(arguments: Iterable[str]) -> None:
    """Write the file that the arguments name."""
    (output,) = arguments
    bom = build()
    path = Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(JsonV1Dot6(bom).output_as_string(indent=1) + "\n", encoding="utf-8")
    print(f"{output}: {len(bom.components)} components")


if __name__ == "__main__":
    main(sys.argv[1:])
