"""Command line of the settings: check them, judge an allocator string, print the table for the documentation.

    python env_validation.py check
    python env_validation.py alloc-conf --torch-version 2.4.0 --value 'ax_split_size_mb:1024'
    python env_validation.py table

Needs no torch; judging an allocator string needs only the standard library.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import get_args

from f5_worker.boot.alloc_conf.check import Policy, check, installed_torch_version, policy_of, resolve_environment


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    return int(arguments.run(arguments))


def alloc_conf(arguments: argparse.Namespace) -> int:
    """Print what torch would do with a value and what the worker would set; return 0 if torch accepts the value."""
    version = arguments.torch_version or installed_torch_version()
    verdict = check(arguments.value, version, arguments.policy)
    print(json.dumps(verdict.to_json(), indent=2, ensure_ascii=False))
    return 0 if verdict.verdict == "ok" else 1


def check_all(arguments: argparse.Namespace) -> int:
    """Print every problem of every variable, one a line; return 1 if one of them keeps the worker from serving."""
    lines, fatal = problems(dict(os.environ))
    for line in lines:
        print(line)
    if not lines:
        print("ok")
    return 1 if fatal else 0


def problems(environ: dict[str, str]) -> tuple[list[str], bool]:
    """Return every problem of the environment as `error: ...` or `warning: ...`, and whether one is fatal."""
    policy = policy_of(environ)
    resolved = resolve_environment(environ, installed_torch_version(), policy)
    lines = [f"{problem.severity}: {problem.message}" for problem in resolved.problems]
    lines += [f"repaired: {repair}" for repair in resolved.verdict.repairs]
    fatal = policy == "fail" and resolved.verdict.faulty

    from f5_worker.errors import SettingsInvalid  # imports pydantic, so only after the allocator string was judged
    from f5_worker.settings import load_settings, unknown_variables
    from f5_worker.storage.s3_config import bucket_for, bucket_warnings

    try:
        bucket_for(load_settings(environ), environ)
        lines += [f"warning: {warning}" for warning in bucket_warnings(environ)]
    except SettingsInvalid as error:
        lines += [f"error: {fault}" for fault in error.faults]
        fatal = True
    lines += [f"warning: {warning}" for warning in unknown_variables(environ)]
    return lines, fatal


def table(arguments: argparse.Namespace) -> int:
    """Print the table of settings."""
    print(settings_table())
    return 0


def settings_table() -> str:
    """Return the settings as a Markdown table; docs/settings.md holds it, and a test keeps it current."""
    from f5_worker.settings import Settings, accepted, variable

    rows = ["| variable | accepted | default | what it is |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else str(field.default)
        choices = accepted(field).replace("|", "\\|")
        rows.append(f"| `{variable(name)}` | {choices} | {default} | {field.description} |")
    return "\n".join(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("check", help="list every problem of every variable")
    command.set_defaults(run=check_all)
    command = commands.add_parser("alloc-conf", help="judge one PYTORCH_CUDA_ALLOC_CONF")
    command.add_argument("--value", required=True)
    command.add_argument("--torch-version", help="default: the installed one")
    command.add_argument("--policy", choices=get_args(Policy), default="repair")
    command.set_defaults(run=alloc_conf)
    command = commands.add_parser("table", help="print the table of settings")
    command.set_defaults(run=table)
    return parser


if __name__ == "__main__":
    sys.exit(main())
