"""The command line of the settings, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import NamedTuple, Protocol

import pytest

import env_validation
from tests.conftest import ROOT


class Done(NamedTuple):
    returncode: int
    stdout: str


class Run(Protocol):
    def __call__(self, *arguments: str, **environ: str) -> Done: ...


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process, with only the variables given."""

    def run(*arguments: str, **environ: str) -> Done:
        for name in list(os.environ):
            if name.startswith(("F5_", "PYTORCH_")):
                monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return Done(env_validation.main(list(arguments)), capsys.readouterr().out)

    return run


def test_the_mistyped_option_that_stopped_containers_is_named(run: Run) -> None:
    done = run("alloc-conf", "--torch-version", "2.4.0", "--value", "ax_split_size_mb:1024")
    verdict = json.loads(done.stdout)
    assert done.returncode == 1
    assert (verdict["verdict"], verdict["effective"]) == ("reject", None)
    assert "max_split_size_mb" in json.dumps(verdict["problems"])


def test_a_good_value_exits_with_0(run: Run) -> None:
    done = run("alloc-conf", "--torch-version", "2.4.0", "--value", "max_split_size_mb:1024")
    assert done.returncode == 0
    assert json.loads(done.stdout)["effective"] == "max_split_size_mb:1024"


def test_check_lists_every_problem(run: Run) -> None:
    done = run("check", PYTORCH_CUDA_ALLOC_CONF="ax_split_size_mb:1024", F5_DEVICE="tpu", F5_MODLE="x")
    assert done.returncode == 1
    assert "error: F5_DEVICE='tpu' is not accepted (auto | cuda | cuda:1 | cuda:all | cpu)" in done.stdout
    assert "warning: F5_MODLE is not a setting; did you mean F5_MODEL?" in done.stdout
    assert "ax_split_size_mb" in done.stdout


@pytest.mark.parametrize(("policy", "code"), [("repair", 0), ("drop", 0), ("fail", 1)])
def test_the_policy_decides_whether_an_allocator_fault_is_fatal(run: Run, policy: str, code: int) -> None:
    done = run("check", PYTORCH_CUDA_ALLOC_CONF="ax_split_size_mb:1024", F5_ALLOC_CONF_POLICY=policy)
    assert done.returncode == code


def test_a_clean_environment_is_ok(run: Run) -> None:
    done = run("check")
    assert (done.returncode, done.stdout) == (0, "ok\n")


def test_the_table_is_the_documented_one(run: Run) -> None:
    assert run("table").stdout.strip() in (ROOT / "docs" / "settings.md").read_text()


def test_an_allocator_string_is_judged_with_the_standard_library_only() -> None:
    program = (
        "import sys, env_validation\n"
        "env_validation.main(['alloc-conf', '--torch-version', '2.4.0', '--value', 'foo:1'])\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'pydantic', 'torch', 'numpy', 'runpod'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]"
