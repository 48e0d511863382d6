"""Environment variables: all faults at once, by name, and a table that stays current."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field, SecretStr

from f5_worker import settings as module
from f5_worker.errors import SettingsInvalid
from f5_worker.settings import Settings, load_settings, unknown_variables, variable
from tests.conftest import ROOT


def test_nothing_set_gives_the_defaults() -> None:
    assert load_settings({}) == Settings()


def test_values_are_read_and_typed() -> None:
    loaded = load_settings(
        {"F5_MODEL": "f5-tiny", "F5_CONCURRENCY": "4", "F5_FETCH_HTTP": "true", "F5_SAVE_DIR": "out", "PATH": "x"}
    )
    assert (loaded.model, loaded.concurrency, loaded.fetch_http, loaded.save_dir) == ("f5-tiny", 4, True, Path("out"))


def test_an_empty_value_means_not_set() -> None:
    assert load_settings({"F5_MODEL": "", "F5_CONCURRENCY": "  "}) == Settings()


def test_all_bad_variables_are_reported_together_with_value_and_range() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(
            {"F5_CONCURRENCY": "0", "F5_DEVICE": "cpu:all", "F5_JOB_TIMEOUT_S": "soon", "F5_FETCH_HTTP": "maybe"}
        )
    message = str(caught.value)
    assert message.startswith("SETTINGS_INVALID: ")
    for part in (
        "F5_CONCURRENCY='0' is not accepted (1..256)",
        "F5_DEVICE='cpu:all' is not accepted (auto | cuda | cuda:1 | cuda:all | cpu)",
        "F5_JOB_TIMEOUT_S='soon' is not accepted (1..86400)",
        "F5_FETCH_HTTP='maybe' is not accepted (true | false)",
    ):
        assert part in message


def test_a_mistyped_name_is_pointed_out() -> None:
    warnings = list(unknown_variables({"F5_CONCURENCY": "2", "F5_MODEL": "f5-tiny", "HOME": "/"}))
    assert warnings == ["F5_CONCURENCY is not a setting; did you mean F5_CONCURRENCY?"]


def test_a_secret_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithSecret(Settings):
        s3_secret: SecretStr = Field(SecretStr(""), max_length=3)

    monkeypatch.setattr(module, "Settings", WithSecret)
    with pytest.raises(SettingsInvalid) as caught:
        load_settings({"F5_S3_SECRET": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "F5_S3_SECRET=***" in str(caught.value)


def test_settings_cannot_change_after_they_were_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings({}).concurrency = 3  # type: ignore[misc]


def test_every_setting_says_why_it_is_there() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, variable(name)


def test_the_documented_tables_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/document.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_pins_are_checked_with_the_other_settings() -> None:
    good = f"F5TTS_German@{'a' * 40}:{'b' * 64}"
    assert load_settings({"F5_PINS": f"{good}, {good}"}).pins
    for bad in ("F5TTS_German", good[:-1], good.replace("@", "@main"), good + ";" + good):
        with pytest.raises(SettingsInvalid, match=r"F5_PINS=.*NAME@COMMIT:SHA256"):
            load_settings({"F5_PINS": bad})


def test_earlier_names_are_still_read_with_a_warning() -> None:
    environ = {"F5_PACKS": "F5TTS_German", "F5_PACK_DIRS": "F5TTS_German=/opt/german"}
    settings = module.load_settings(environ)
    assert settings.extra_model_names == ("F5TTS_German",)
    assert settings.extra_model_directories == {"F5TTS_German": Path("/opt/german")}
    assert list(module.unknown_variables(environ)) == [
        "F5_PACKS is now called F5_EXTRA_MODELS; rename it",
        "F5_PACK_DIRS is now called F5_EXTRA_MODEL_DIRS; rename it",
    ]
    assert module.load_settings(environ | {"F5_EXTRA_MODELS": "F5TTS_French"}).extra_models == "F5TTS_French"
