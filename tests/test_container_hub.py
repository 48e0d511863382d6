"""`.runpod/hub.json` and `tests.json` against the schema of RunPod's publishing guide (docs: hub/publishing-guide)."""

from __future__ import annotations

import json
import re
import urllib.parse
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from f5_worker.schema.actions import parse_input
from f5_worker.settings import REPOSITORY, Settings, accepted, load_settings, variable


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Option(Strict):
    label: str
    value: str


class Input(Strict):
    name: str
    type: Literal["string", "number", "boolean", "huggingface"]
    description: str = ""
    default: str | int | float | bool | None = None
    options: list[Option] | None = None
    min: float | None = None
    max: float | None = None
    trueValue: str | None = None
    falseValue: str | None = None
    required: bool = False
    advanced: bool = False


class HubVariable(Strict):
    """Either fixed or asked for."""

    key: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$")
    value: str | int | float | bool | None = None
    input: Input | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> HubVariable:
        assert (self.value is None) != (self.input is None)
        return self


class Preset(Strict):
    name: str
    defaults: dict[str, Any]


CudaVersion = Literal["12.4", "12.6", "12.7", "12.8", "12.9", "13.0", "13.1", "13.2", "13.3", "13.4"]


class HubConfig(Strict):
    runsOn: Literal["GPU", "CPU"]
    endpointType: Literal["LB"] | None = None
    containerDiskInGb: int = Field(gt=0)
    gpuCount: int = Field(gt=0)
    gpuIds: str
    allowedCudaVersions: list[CudaVersion]
    presets: list[Preset] = []
    env: list[HubVariable] = []


class Hub(Strict):
    title: str = Field(min_length=1)
    description: str = Field(min_length=1)
    type: Literal["serverless"]
    category: Literal["audio", "embedding", "language", "video", "image"]
    iconUrl: str | None = None
    config: HubConfig


class HubTest(Strict):
    name: str = Field(pattern=r"^[a-z0-9_]+$")
    input: dict[str, Any]
    timeout: int = Field(ge=1_000, description="milliseconds")


class JobVariable(Strict):
    key: str
    value: str


class JobConfig(Strict):
    gpuTypeId: str
    gpuCount: int = Field(gt=0)
    env: list[JobVariable] = []
    allowedCudaVersions: list[CudaVersion]


class HubTests(Strict):
    tests: list[HubTest] = Field(min_length=1)
    config: JobConfig


# GpuGroup of RunPod's SDK. The GPU of ADA_32_PRO, an RTX 5090, is of the Blackwell generation.
POOLS = {
    "AMPERE_16", "AMPERE_24", "ADA_24", "ADA_32_PRO", "AMPERE_48", "ADA_48_PRO", "AMPERE_80", "ADA_80_PRO",
    "HOPPER_141", "BLACKWELL_96", "BLACKWELL_180",
}  # fmt: skip
BLACKWELL = {"ADA_32_PRO", "BLACKWELL_96", "BLACKWELL_180"}
HUB = REPOSITORY / ".runpod"
hub = Hub.model_validate_json((HUB / "hub.json").read_text())
hub_tests = HubTests.model_validate_json((HUB / "tests.json").read_text())


def test_the_hub_offers_gpus_that_the_base_can_use() -> None:
    pools = hub.config.gpuIds.split(",")
    assert set(pools) <= POOLS
    assert {"ADA_80_PRO", "HOPPER_141", *BLACKWELL} <= set(pools)
    assert tuple(map(int, base_cuda().split("."))) >= (12, 8), "with an older one torch has no kernels for Blackwell"
    assert hub.config.containerDiskInGb >= 10


def base_cuda() -> str:
    """The CUDA version of the base that the Hub's image is built on."""
    found = re.search(
        r"^ARG BASE_IMAGE=pytorch/pytorch:[\d.]+-cuda([\d.]+)-", dockerfile("Dockerfile", HUB), re.MULTILINE
    )
    assert found
    return found[1]


def dockerfile(name: str, directory: Path = REPOSITORY) -> str:
    return (directory / name).read_text(encoding="utf-8")


def test_the_hub_builds_the_same_image_on_a_newer_base() -> None:
    """The Hub takes `.runpod/Dockerfile` in place of the other one; `make docs` writes it."""
    base = re.compile(r"^ARG BASE_IMAGE=.*$", re.MULTILINE)
    assert base.sub("", dockerfile("Dockerfile", HUB)) == base.sub("", dockerfile("Dockerfile"))
    made = re.search(r"^HUB_BASE := (\S+)$", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert made
    assert f"\nARG BASE_IMAGE={made[1]}\n" in dockerfile("Dockerfile", HUB)


@pytest.mark.parametrize("versions", [hub.config.allowedCudaVersions, hub_tests.config.allowedCudaVersions])
def test_cuda_versions_are_the_base_s_and_all_newer(versions: list[str]) -> None:
    """The list is matched exactly: what is left out cannot be used."""
    known = list(CudaVersion.__args__)  # type: ignore[attr-defined]
    assert versions == known[known.index(base_cuda()) :]


def test_the_icon_is_a_file_of_the_repository() -> None:
    assert hub.iconUrl is not None
    address = urllib.parse.urlsplit(hub.iconUrl)
    assert (address.scheme, address.netloc) == ("https", "raw.githubusercontent.com")
    icon = REPOSITORY / address.path.split("/main/")[1]
    assert icon.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("preset", hub.config.presets, ids=lambda preset: preset.name.split()[0])
def test_a_preset_sets_what_the_hub_asks_for_to_what_the_worker_accepts(preset: Preset) -> None:
    asked = {entry.key: entry.input for entry in hub.config.env}
    assert set(preset.defaults) <= set(asked)
    settings = load_settings({key: str(value) for key, value in preset.defaults.items()})
    assert settings.model == "F5TTS_v1_Base"
    assert settings != Settings(), "a preset that changes nothing"


def test_there_is_a_preset_for_small_and_for_fast_gpus() -> None:
    economy, fast = (preset.defaults for preset in hub.config.presets)
    assert economy["F5_MODELS_MEMORY_MB"] <= 16_000 - 3_830, (
        "of the smallest card, less what jobs were measured to take"
    )
    assert fast["F5_CONCURRENCY"] > economy["F5_CONCURRENCY"]


def test_no_document_names_an_api_that_runpod_retires() -> None:
    """REST v1 ended in November 2026, GraphQL ends in 2027."""
    for path in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md"), *HUB.glob("*.json")]:
        text = path.read_text(encoding="utf-8").lower()
        assert not [word for word in ("rest.runpod.io", "graphql", "/v1/endpoints") if word in text], path.name


@pytest.mark.parametrize("entry", hub.config.env, ids=lambda entry: entry.key)
def test_what_the_hub_asks_for_is_a_setting_with_its_default(entry: HubVariable) -> None:
    field = next(field for name, field in Settings.model_fields.items() if variable(name) == entry.key)
    assert entry.input is not None
    assert entry.input.default == field.default
    if entry.input.options:
        assert {option.value for option in entry.input.options} == set(accepted(field).split(" | "))
    if entry.input.type == "number":
        assert accepted(field) == f"{entry.input.min:.0f}..{entry.input.max:.0f}"


def test_what_the_hub_runs_is_a_job_with_a_voice_of_the_image() -> None:
    assert {entry.key for entry in hub_tests.config.env} <= {variable(name) for name in Settings.model_fields}
    for test in hub_tests.tests:
        job = parse_input(test.input)
        if voice := getattr(job, "voice", None):
            assert (REPOSITORY / "models" / "f5-tiny" / "voices" / f"{voice}.wav").is_file()


def test_the_local_job_is_one_too() -> None:
    parse_input(json.loads((REPOSITORY / "test_input.json").read_text())["input"])
