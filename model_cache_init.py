"""The container's entry: prepare, then become the worker.

    python -u model_cache_init.py                        check, repair, fetch; then handler.py in this process
    python model_cache_init.py run --then CMD ...         the same, then another program
    python model_cache_init.py doctor [--json]            the same checks, changing nothing
    python model_cache_init.py resolve --python 3.11 ...  which flash-attn fits an environment
    python model_cache_init.py fetch                      fill the weight cache

One process all the way: the handler replaces this program by `exec`, so Python stays PID 1 and every variable
chosen here reaches it. Two programs joined by `&&` lose both.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
REPORT = Path("/tmp/f5-worker-boot.json")  # noqa: S108 - of this container, read by the program that follows
HANDLER = [sys.executable, "-u", str(ROOT / "handler.py")]


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    return int(arguments.act(arguments))


def run(arguments: argparse.Namespace) -> int:
    """Boot, print the report as one line, and become the handler; what is wrong is told there, to every job."""
    signal.signal(signal.SIGTERM, lambda signum, frame: os._exit(128 + signum))  # PID 1 ignores it otherwise
    from f5_worker.boot.report import REPORT_VARIABLE
    from f5_worker.boot.sequence import boot

    report = boot(os.environ)
    os.environ[REPORT_VARIABLE] = str(REPORT)
    report.write(REPORT)
    print(report.line(), flush=True)
    command = arguments.then or HANDLER
    os.execvp(command[0], command)  # noqa: S606 - the operator's own command


def doctor(arguments: argparse.Namespace) -> int:
    """Print what boot would find; the exit code is the worst severity: 0 well, 1 serves, 2 does not."""
    from f5_worker.boot.sequence import diagnose

    report = diagnose(dict(os.environ))
    print(json.dumps(report.to_json(), indent=2) if arguments.json else report.table())
    return report.severity


def resolve(arguments: argparse.Namespace) -> int:
    """Print which flash-attn an environment gets; touches nothing."""
    from f5_worker.boot.flash_attn.wheels import Environment
    from f5_worker.boot.flash_attn.wheels import resolve as resolve_wheel

    environment = Environment(
        python=arguments.python,
        torch=arguments.torch,
        cuda=arguments.cuda,
        abi=arguments.abi == "true",
        machine=arguments.machine,
        glibc=arguments.glibc,
        capability=arguments.capability,
    )
    print(json.dumps(resolve_wheel(environment).to_json(), indent=2))
    return 0


def fetch(arguments: argparse.Namespace) -> int:
    """Make the model's directory in the cache, for an image or a volume."""
    from f5_worker.boot.report import BootReport
    from f5_worker.boot.sequence import check_environment, provide_weights

    report = BootReport("")
    settings = check_environment(os.environ, report)
    if settings is not None:
        provide_weights(os.environ, settings, report)
    for problem in report.problems:
        print(problem, file=sys.stderr)
    print(report.error or (report.weights or {}).get("directory"))
    return 1 if report.error else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(act=run, then=None)
    commands = parser.add_subparsers()
    one = commands.add_parser("run", help="prepare, then become the worker (the default)")
    one.add_argument("--then", nargs=argparse.REMAINDER, help="another program than handler.py")
    one.set_defaults(act=run)
    one = commands.add_parser("doctor", help="what is wrong here, changing nothing")
    one.add_argument("--json", action="store_true")
    one.set_defaults(act=doctor)
    one = commands.add_parser("resolve", help="which flash-attn fits an environment")
    for name, example in (("python", "3.11"), ("torch", "2.4.0"), ("machine", "x86_64")):
        one.add_argument(f"--{name}", required=True, help=f"such as {example}")
    for name, example in (("cuda", "12.4"), ("glibc", "2.35"), ("capability", "8.9")):
        one.add_argument(f"--{name}", help=f"such as {example}; left out: there is none")
    one.add_argument("--abi", required=True, choices=("true", "false"), help="torch._C._GLIBCXX_USE_CXX11_ABI")
    one.set_defaults(act=resolve)
    commands.add_parser("fetch", help="fill the weight cache").set_defaults(act=fetch)
    return parser


if __name__ == "__main__":
    sys.exit(main())
