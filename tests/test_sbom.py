"""The bill of materials: valid CycloneDX, and complete."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from f5_worker.models.published import published
from f5_worker.settings import REPOSITORY
from scripts import sbom
from tests.used_packages import locked


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("sbom") / "sbom.json"
    sbom.main([str(path)])
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def components(written: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(written)["components"]
    return found


@pytest.mark.slow
def test_it_is_valid(written: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written) is None
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written.replace('"components"', '"parts"')) is not None


def test_it_has_every_package_of_the_image_with_hashes_and_licences(components: list[dict[str, Any]]) -> None:
    packages = [part for part in components if part["type"] == "library" and part["name"] != "flash-attn"]
    assert {part["name"]: part["version"] for part in packages} == locked(REPOSITORY / "requirements.txt")
    lock = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
    for part in packages:
        assert part["purl"] == f"pkg:pypi/{part['name']}@{part['version']}"
        assert part["licenses"], part["name"]
        hashes = [entry["content"] for entry in part["externalReferences"][0]["hashes"]]
        assert hashes
        assert all(f"--hash=sha256:{value}" in lock for value in hashes)
    assert lock.count("--hash=") == sum(len(part["externalReferences"][0]["hashes"]) for part in packages)


def test_it_has_the_flash_attn_of_the_default_base(components: list[dict[str, Any]]) -> None:
    [part] = [part for part in components if part["name"] == "flash-attn"]
    assert part["bom-ref"] == "flash_attn-2.8.3+cu12torch2.4cxx11abiFALSE-cp311-cp311-linux_x86_64.whl"
    assert part["hashes"][0]["content"].startswith("8c44e8ec694edcd9")
    assert "/v2.8.3/flash_attn-2.8.3%2Bcu12torch2.4" in part["externalReferences"][0]["url"]


def test_it_has_every_model(components: list[dict[str, Any]]) -> None:
    models = {part["name"]: part for part in components if part["type"] == "machine-learning-model"}
    for entry in published().values():
        for file in (entry.model, entry.vocoder):
            part = models[f"{file.repo}/{file.path}"]
            assert part["version"] == file.revision
            assert [hash_["content"] for hash_ in part.get("hashes", ())] == ([file.sha256] if file.sha256 else [])
    default = models["SWivid/F5-TTS/F5TTS_v1_Base/model_1250000.safetensors"]
    assert default["licenses"] == [{"license": {"id": "CC-BY-NC-4.0"}}]
