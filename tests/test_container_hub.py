"""`.runpod/hub.json` and `tests.json` against the schema of RunPod's publishing guide (docs: hub/publishing-guide)."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from f5_worker.schema.requests import parse_input
from f5_worker.settings import REPOSITORY, Settings, accepted, variable


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


CudaVersion = Literal["11.8", "12.0", "12.1", "12.2", "12.3", "12.4", "12.5", "12.6", "12.7", "12.8", "12.9", "13.0"]


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


POOLS = {"AMPERE_16", "AMPERE_24", "ADA_24", "AMPERE_48", "ADA_48_PRO", "AMPERE_80", "ADA_80_PRO", "HOPPER_141"}
hub = Hub.model_validate_json((REPOSITORY / ".runpod" / "hub.json").read_text())
hub_tests = HubTests.model_validate_json((REPOSITORY / ".runpod" / "tests.json").read_text())


def test_the_hub_offers_gpus_that_the_base_can_use() -> None:
    assert set(hub.config.gpuIds.split(",")) <= POOLS
    assert hub.config.containerDiskInGb >= 10


@pytest.mark.parametrize("versions", [hub.config.allowedCudaVersions, hub_tests.config.allowedCudaVersions])
def test_cuda_versions_are_the_base_s_and_all_newer(versions: list[str]) -> None:
    """The list is matched exactly: what is left out cannot be used."""
    known = list(CudaVersion.__args__)  # type: ignore[attr-defined]
    assert versions == known[known.index("12.4") :]


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
