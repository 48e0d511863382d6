"""How a program on a terminal shows that it waits, and what ended it."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Show: TypeAlias = Callable[[str], None]

STOPPED = 130  # the exit code of a program that was interrupted


def exit_code(
    program: str, work: Callable[[], int | None], known: tuple[type[Exception], ...], *, stopped: str = "stopped"
) -> int:
    """Do a program's work, and tell in one line what ended it; return its exit code.

    Args:
        known: errors whose messages are for the user.
        stopped: what Ctrl-C says, unless it comes with a message.
    """
    try:
        return work() or 0
    except known as error:
        print(f"{program}: {error}", file=sys.stderr)
    except OSError as error:
        print(f"{program}: {explain(error)}", file=sys.stderr)
    except KeyboardInterrupt as error:
        print(f"\n{program}: {str(error) or stopped}", file=sys.stderr)
        return STOPPED
    return 1


def explain(error: OSError) -> str:
    """Return a one-line description of an error of a disk."""
    return f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}"


@contextmanager
def progress() -> Iterator[Show]:
    """Show a line that counts the seconds, if stderr is a terminal."""
    status, stop, started = ["sent"], threading.Event(), time.monotonic()

    def animate() -> None:
        for spinner in itertools.cycle("|/-\\"):
            waited_s = time.monotonic() - started
            print(f"\r\033[K{spinner} {status[0]} {waited_s:.0f} s ", end="", file=sys.stderr, flush=True)
            if stop.wait(0.2):
                break
        print("\r\033[K", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=animate, daemon=True)
    if sys.stderr.isatty():
        thread.start()
    try:
        yield lambda text: status.__setitem__(0, text)
    finally:
        stop.set()
        if thread.is_alive():
            thread.join()
