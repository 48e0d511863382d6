"""The start of a container with all real steps, on a machine without a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from f5_worker.boot import sequence, starts
from f5_worker.boot.flash_attn.install_run import FlashAttnOutcome, use_sdpa
from f5_worker.boot.probe.probe import ProbeResult
from f5_worker.boot.report import REPORT_VARIABLE, BootReport, add_phases, read_report
from f5_worker.boot.sequence import boot, check_environment, check_gpu, diagnose
from f5_worker.boot.starts import StartLog
from f5_worker.boot.user import RunAs
from f5_worker.settings import Settings, load_settings
from tests.conftest import TINY
from tests.speakers import write_random


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "F5_MODEL": "f5-tiny",
        "F5_CACHE_DIR": str(tmp_path / "cache"),
        "F5_OVERLAY_DIR": str(tmp_path / "overlay"),
        "HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "F5_ASR_MODEL": "off",
    }


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the probe, which takes seconds, by a fixed result."""
    monkeypatch.setattr(
        sequence, "probe", lambda **asked: ProbeResult("python", python="3.11.7", torch="2.4.0", abi=False)
    )


@pytest.mark.usefixtures("no_torch")
def test_a_good_environment_boots(environ: dict[str, str]) -> None:
    report = boot(environ)
    assert (report.error, report.host_fault, report.problems) == (None, None, [])
    assert environ["F5_MODEL_DIR"] == str(TINY)
    assert report.flash_attn is not None
    assert report.flash_attn["backend"] == "sdpa"
    assert set(report.phases_ms) == {"environment", "probe", "flash_attn", "weights", "extras"}


@pytest.mark.usefixtures("no_torch")
def test_compiled_kernels_are_kept_if_possible(environ: dict[str, str], tmp_path: Path) -> None:
    boot(environ)
    assert environ["TRITON_CACHE_DIR"] == str(tmp_path / "cache" / "triton")
    own = environ | {"TRITON_CACHE_DIR": "/elsewhere"}
    boot(own)
    assert own["TRITON_CACHE_DIR"] == "/elsewhere"
    del environ["TRITON_CACHE_DIR"]
    (tmp_path / "file").write_text("in the way")
    environ["F5_CACHE_DIR"] = str(tmp_path / "file")
    report = boot(environ)
    assert "TRITON_CACHE_DIR" not in environ
    assert [problem for problem in report.problems if problem.startswith("kernels are compiled again at each start")]


@pytest.mark.usefixtures("no_torch")
def test_extra_models_and_recogniser_are_found_or_reported_but_never_fatal(
    environ: dict[str, str], tmp_path: Path
) -> None:
    asr = tmp_path / "asr"
    asr.mkdir()
    for name in ("config.json", "model.bin", "tokenizer.json"):
        (asr / name).write_bytes(b"{}")
    environ |= {"F5_EXTRA_MODELS": "f5-tiny, unknown", "F5_ASR_MODEL": str(asr)}
    report = boot(environ)
    assert report.error is None
    assert load_settings(environ).extra_model_directories == {"f5-tiny": TINY}
    assert environ["F5_ASR_DIR"] == str(asr)
    assert [problem for problem in report.problems if problem.startswith("extra model 'unknown' is left out")]


@pytest.mark.usefixtures("no_torch")
def test_a_recogniser_that_is_not_available_is_a_problem(environ: dict[str, str]) -> None:
    report = boot(environ | {"F5_ASR_MODEL": "faster-whisper-base"})
    assert (report.error, report.problems) == (None, ["recogniser: the hub: not asked, HF_HUB_OFFLINE is set"])


@pytest.mark.usefixtures("no_torch")
def test_the_speaker_encoder_is_found_or_what_is_wrong_is_reported(environ: dict[str, str], tmp_path: Path) -> None:
    path = write_random(tmp_path / "speaker")
    environ["F5_SPEAKER_MODEL"] = str(path.parent)
    for report in (boot(environ), diagnose(environ)):
        assert (report.error, report.problems, report.speaker_encoder) == (None, [], str(path))
        assert f"speaker model  {path}" in report.table()
    path.write_bytes(path.read_bytes()[:-1])
    for report in (boot(environ), diagnose(environ)):
        (problem,) = report.problems
        assert problem.startswith(f"speaker encoder: {path} cannot be read (")
        assert report.serves
        assert report.speaker_encoder is None
    path.unlink()
    (problem,) = boot(environ).problems
    assert problem.startswith(f"speaker encoder: neither model.safetensors nor pretrained.pt is in {path.parent};")


@pytest.mark.usefixtures("no_torch")
def test_the_handler_gets_the_repaired_allocator_string(environ: dict[str, str]) -> None:
    environ["PYTORCH_CUDA_ALLOC_CONF"] = '"max_split_size_mb:512,ax_split_size_mb:1"\r\n'
    report = boot(environ)
    assert environ["PYTORCH_CUDA_ALLOC_CONF"] == "max_split_size_mb:512"
    assert report.error is None
    assert any("did you mean max_split_size_mb?" in problem for problem in report.problems)


def test_the_probe_imports_torch_where_the_handlers_import_may_end_it_without_a_word(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def imported(**variables: str) -> str:
        asked: list[str] = []

        def probe(*, imports: str, **_: object) -> ProbeResult:
            asked.append(imports)
            return ProbeResult("python", python="3.11.7", torch="2.4.0", abi=False)

        monkeypatch.setattr(sequence, "probe", probe)
        boot(environ | variables, report := BootReport("1"))
        if not variables:
            starts.note(report.to_json(), "ready", environ=environ)
        return ", ".join(asked)

    allocator = {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:512"}
    assert imported() == "needed"
    monkeypatch.setattr(sequence, "installed_torch_version", lambda: "2.4.0")
    assert imported(**allocator) == "needed"
    assert imported() == "torch"  # that start has not become ready
    assert imported() == "needed"
    monkeypatch.setattr(sequence, "installed_torch_version", lambda: "3.0.0")
    assert imported() == "needed"
    assert imported(**allocator) == "torch"  # whose rules for it were never measured
    (tmp_path / "file").write_text("in the way")
    assert imported(F5_CACHE_DIR=str(tmp_path / "file")) == "torch"  # no start is known there


def test_bad_settings_end_boot_with_all_of_them(environ: dict[str, str]) -> None:
    report = boot(environ | {"F5_DEVICE": "tpu", "F5_CONCURRENCY": "0"})
    assert report.error is not None
    assert "F5_DEVICE='tpu'" in report.error
    assert "F5_CONCURRENCY='0'" in report.error
    assert report.severity == 2
    assert report.facts is None


def test_the_policy_fail_refuses_a_faulty_allocator_string(environ: dict[str, str]) -> None:
    report = BootReport("1")
    environ |= {"PYTORCH_CUDA_ALLOC_CONF": "ax_split_size_mb:1024", "F5_ALLOC_CONF_POLICY": "fail"}
    assert check_environment(environ, report) is None
    assert report.error is not None
    assert report.error.startswith("SETTINGS_INVALID: ")
    assert "ax_split_size_mb" in report.error


@pytest.mark.usefixtures("no_torch")
def test_a_model_that_is_not_available_is_a_fault_of_the_endpoint(environ: dict[str, str]) -> None:
    report = boot(environ | {"F5_MODEL": "unknown"})
    assert report.error is not None
    assert report.error.startswith("MODEL_UNAVAILABLE: F5_MODEL='unknown'")
    assert report.host_fault is None


@pytest.mark.usefixtures("no_torch")
def test_starts_are_counted_and_the_report_of_the_next_one_tells_a_crash_loop(environ: dict[str, str]) -> None:
    for _ in range(2):
        boot(environ | {"F5_MODEL": "unknown"})
    boot(environ | {"F5_DEVICE": "tpu"})
    report = boot(environ)
    assert report.starts is not None
    assert report.starts["verdict"] == (
        "3 of the last 3 starts of the last hour died before they were ready: MODEL_UNAVAILABLE (2), SETTINGS_INVALID"
    )
    assert [error["error"].partition(":")[0] for error in report.starts["errors"]] == [
        "MODEL_UNAVAILABLE", "MODEL_UNAVAILABLE", "SETTINGS_INVALID"
    ]  # fmt: skip
    assert [start.state for start in StartLog.of(environ).read()] == ["failed"] * 3 + ["loading"]
    seen = diagnose(environ)
    assert seen.table().count("start died") == 3
    assert seen.starts is not None
    assert seen.starts["verdict"].startswith("3 of the last 4 starts")


@pytest.mark.usefixtures("no_torch")
def test_an_unpinned_checkpoint_ends_boot_with_the_settings_that_allow_it(environ: dict[str, str]) -> None:
    environ["F5_MODEL"] = "F5TTS_German"
    report = boot(dict(environ))
    assert report.error is not None
    assert "F5TTS_German is not pinned: no commit" in report.error
    assert "F5_PINS=F5TTS_German@COMMIT:SHA256, or F5_ALLOW_UNPINNED=true" in report.error
    for setting in ({"F5_ALLOW_UNPINNED": "true"}, {"F5_PINS": f"F5TTS_German@{'a' * 40}:{'b' * 64}"}):
        report = boot(environ | setting)  # without the hub
        assert report.error is not None
        assert "HF_HUB_OFFLINE is set" in report.error
        assert "not pinned" not in report.error


@pytest.mark.usefixtures("no_torch")
def test_flash_attn_that_is_required_and_absent_is_fatal(environ: dict[str, str]) -> None:
    report = boot(environ | {"F5_FLASH_ATTN": "require", "F5_FLASH_ATTN_BUILD": "never"})
    assert report.error is not None
    assert report.error.startswith("FLASH_ATTN_REQUIRED: ")


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    ("variables", "unused", "deferred"),
    [
        ({}, None, True),
        ({"F5_FLASH_ATTN": "require"}, None, False),  # the model cannot be loaded without it
        ({"F5_ATTENTION": "flash"}, None, False),
        ({"F5_ATTENTION": "triton"}, "F5_ATTENTION=triton does not use flash-attn", False),
        ({"F5_ATTENTION": "torch"}, "F5_ATTENTION=torch does not use flash-attn", False),
        ({"F5_DEVICE": "cpu"}, "F5_DEVICE=cpu does not use flash-attn", True),
        ({"F5_PRECISION": "fp32"}, "F5_PRECISION=fp32 does not use flash-attn", True),
        ({"F5_FLASH_ATTN": "require", "F5_DEVICE": "cpu"}, None, False),
    ],
)
def test_flash_attn_is_fetched_and_verified_only_where_the_settings_use_it(
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    unused: str | None,
    deferred: bool,
) -> None:
    asked = {}

    def ensured(facts: ProbeResult, **options: object) -> FlashAttnOutcome:
        asked.update(options)
        return use_sdpa("test")

    monkeypatch.setattr(sequence, "ensure", ensured)
    boot(environ | variables)
    assert (asked["unused"], asked["defer"]) == (unused, deferred)


@pytest.mark.parametrize(
    ("device", "gpus", "available", "fault"),
    [
        ("auto", "", False, False),  # a laptop
        ("auto", "1", False, True),  # the platform gave a GPU and torch does not see it
        ("auto", "1", True, False),
        ("cuda", "", False, True),
        ("cpu", "1", False, False),
    ],
)
def test_a_gpu_that_is_expected_and_not_seen(device: str, gpus: str, available: bool, fault: bool) -> None:
    report = BootReport("1")
    facts = ProbeResult("python", cuda_available=available, cuda_error=None if available else "driver too old")
    check_gpu({"RUNPOD_GPU_COUNT": gpus}, Settings(device=device), facts, report)  # type: ignore[arg-type]
    assert report.host_fault == ("torch sees no GPU: driver too old" if fault else None)


@pytest.mark.parametrize(
    ("compiled", "gpu", "told"), [(False, True, True), (True, True, False), (False, False, False), (None, True, False)]
)
def test_a_torch_that_is_compiled_at_each_start_is_told_of_on_a_gpu(
    compiled: bool | None, gpu: bool, told: bool
) -> None:
    report = BootReport("1")
    facts = ProbeResult("python", cuda_available=gpu, torch_compiled=compiled)
    check_gpu({}, Settings(), facts, report)
    assert ["no compiled form of torch" in problem for problem in report.problems] == [True] * told


@pytest.mark.usefixtures("no_torch")
def test_diagnosing_changes_nothing(environ: dict[str, str], tmp_path: Path) -> None:
    environ["PYTORCH_CUDA_ALLOC_CONF"] = "ax_split_size_mb:1024"
    before = dict(environ)
    report = diagnose(environ)
    assert environ == before
    assert list(tmp_path.iterdir()) == []
    assert report.severity == 1
    assert "f5-tiny from shipped" in report.table()


def test_where_the_volume_does_not_answer_no_step_looks_at_it(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = boot(environ, BootReport("1", host_fault="the network volume cannot be read: no answer within 15 s"))
    assert (report.starts, report.facts, report.phases_ms, report.serves) == (None, None, {}, False)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(sequence, "volume_fault", lambda: "the network volume cannot be read: Stale file handle")
    report = diagnose(environ)
    assert (report.facts, report.severity) == (None, 2)
    assert "Stale file handle" in report.table()


@pytest.mark.usefixtures("no_torch")
def test_a_worker_that_will_not_serve_fetches_nothing(environ: dict[str, str]) -> None:
    report = boot(environ | {"RUNPOD_GPU_COUNT": "1"})
    assert report.host_fault is not None
    assert (report.flash_attn, report.weights) == (None, None)
    report = boot(environ | {"F5_FLASH_ATTN": "require", "F5_FLASH_ATTN_BUILD": "never"})
    assert report.weights is None


@pytest.mark.usefixtures("no_torch")
def test_a_platform_value_that_is_not_a_number_is_reported(environ: dict[str, str]) -> None:
    report = boot(environ | {"RUNPOD_INIT_TIMEOUT": "800s", "RUNPOD_GPU_COUNT": "one"})
    assert report.error is None
    assert "RUNPOD_INIT_TIMEOUT='800s' is not a number; 420 is used" in report.problems
    assert "RUNPOD_GPU_COUNT='one' is not a number; 0 is used" in report.problems


def test_a_report_is_one_line_and_can_be_read_back(tmp_path: Path) -> None:
    report = BootReport("1", error="A: b\nc", problems=["ä"], user=RunAs(1000, "root is not needed"))
    line = report.line()
    assert "\n" not in line
    assert json.loads(line.removeprefix("BOOT ")) == report.to_json()
    assert "user           1000: root is not needed" in report.table().splitlines()
    report.write(tmp_path / "boot.json")
    assert read_report({REPORT_VARIABLE: str(tmp_path / "boot.json")}) == report.to_json()
    add_phases({"torch": 1.0}, {REPORT_VARIABLE: str(tmp_path / "boot.json")})
    report.phases_ms["torch"] = 1.0
    assert read_report({REPORT_VARIABLE: str(tmp_path / "boot.json")}) == report.to_json()
    add_phases({"torch": 1.0}, {})  # started by hand
    assert read_report({}) is None
    assert read_report({REPORT_VARIABLE: str(tmp_path / "absent")}) is None


def test_a_report_is_handed_over_where_files_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    environ = {"TMPDIR": "/elsewhere"}
    BootReport("1").hand_over(environ)
    assert environ["TMPDIR"] == "/elsewhere"
    assert read_report(environ) == BootReport("1").to_json()


def test_temporary_files_of_a_read_only_container_go_to_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    environ: dict[str, str] = {}
    BootReport("1").hand_over(environ)
    assert environ["TMPDIR"] == "/dev/shm"
    path = Path(environ[REPORT_VARIABLE])
    assert path.parent == Path("/dev/shm")
    path.unlink()
