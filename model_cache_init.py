"""The container's entry point: prepare, then become the worker.

    python -u model_cache_init.py                        check, repair, download; then handler.py in this process
    python model_cache_init.py serve                      the same; then http_server.py
    python model_cache_init.py run --then CMD ...         the same, then another program
    python model_cache_init.py doctor [--json]            run the same checks and change nothing
    python model_cache_init.py resolve --python 3.11 ...  choose the flash-attn that fits an environment
    python model_cache_init.py fetch                      fill the weight cache

The handler replaces this program by `exec`, so that Python stays PID 1 and the handler gets every variable set here.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
HANDLER = [sys.executable, "-u", str(ROOT / "handler.py")]
HTTP_SERVER = [sys.executable, "-u", str(ROOT / "http_server.py")]


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    return int(arguments.run_command(arguments))


def run(arguments: argparse.Namespace) -> int:
    """Boot, print the report as one line, and become the handler, which answers jobs with the error if there is one."""
    signal.signal(signal.SIGTERM, lambda signum, frame: os._exit(128 + signum))  # PID 1 ignores it otherwise
    from f5_worker import __version__
    from f5_worker.boot import starts
    from f5_worker.boot.report import BootReport
    from f5_worker.boot.sequence import boot
    from f5_worker.boot.user import leave_root
    from f5_worker.boot.volume import volume_fault
    from f5_worker.server import liveness

    liveness.forget()
    fault = volume_fault()  # first: all that follows looks at the volume
    report = BootReport(__version__, host_fault=fault, user=None if fault else leave_root(os.environ))
    starts.end_at_sigterm(report.to_json)
    boot(os.environ, report)
    report.hand_over(os.environ)
    print(report.line(), flush=True)
    command = arguments.then or HANDLER
    os.execvp(command[0], command)  # noqa: S606 - the command is the operator's


def doctor(arguments: argparse.Namespace) -> int:
    """Print the findings of boot and return the severity: 0 all is well, 1 there are problems, 2 it does not serve."""
    from f5_worker.boot.sequence import diagnose

    report = diagnose(dict(os.environ))
    print(json.dumps(report.to_json(), indent=2) if arguments.json else report.table())
    return report.severity


def resolve(arguments: argparse.Namespace) -> int:
    """Print which flash-attn an environment would get; change nothing."""
    from f5_worker.boot.flash_attn.wheels import resolve as resolve_wheel
    from f5_worker.boot.probe.probe import Environment

    named = {name: getattr(arguments, name) for name in ("python", "torch", "cuda", "machine", "glibc", "capability")}
    environment = Environment(abi=arguments.abi == "true", **named)
    print(json.dumps(resolve_wheel(environment).to_json(), indent=2))
    return 0


def fetch(arguments: argparse.Namespace) -> int:
    """Make the model's directory in the cache, for an image or a volume."""
    from f5_worker.boot.report import BootReport
    from f5_worker.boot.sequence import check_environment, ensure_weights

    report = BootReport("")
    settings = check_environment(os.environ, report)
    if settings is not None:
        ensure_weights(os.environ, settings, report)
    for problem in report.problems:
        print(problem, file=sys.stderr)
    print(report.error or (report.weights or {}).get("directory"))
    return 1 if report.error else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(run_command=run, then=None)
    commands = parser.add_subparsers()
    command = commands.add_parser("run", help="prepare, then become the worker (the default)")
    command.add_argument("--then", nargs=argparse.REMAINDER, help="the program to run in place of handler.py")
    command.set_defaults(run_command=run)
    command = commands.add_parser("serve", help="prepare, then serve HTTP")
    command.set_defaults(run_command=run, then=HTTP_SERVER)
    command = commands.add_parser("doctor", help="report problems and change nothing")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run_command=doctor)
    command = commands.add_parser("resolve", help="choose the flash-attn that fits an environment")
    for name, example in (("python", "3.11"), ("torch", "2.4.0"), ("machine", "x86_64")):
        command.add_argument(f"--{name}", required=True, help=f"such as {example}")
    for name, example in (("cuda", "12.4"), ("glibc", "2.35"), ("capability", "8.9")):
        command.add_argument(f"--{name}", help=f"such as {example}; leave it out if there is none")
    command.add_argument("--abi", required=True, choices=("true", "false"), help="torch._C._GLIBCXX_USE_CXX11_ABI")
    command.set_defaults(run_command=resolve)
    commands.add_parser("fetch", help="fill the weight cache").set_defaults(run_command=fetch)
    return parser


if __name__ == "__main__":
    sys.exit(main())
