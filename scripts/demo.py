"""Run handler.py on test_input.json with the small model that ships with the code, and print the result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

FRENCH = {
    "text": "Bonjour, voici un tout petit modèle. Il parle français sur un ordinateur portable, sans carte graphique.",
    "voice": "siwis",
    "seed": 7,
}
ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "out"


def main() -> int:
    """Write out/demo.wav and return the exit code of handler.py."""
    environment = {"F5_MODEL": "f5-tiny", "F5_SAVE_DIR": str(OUT), "RUNPOD_DEBUG_LEVEL": "ERROR"} | os.environ
    environment.pop("RUNPOD_WEBHOOK_GET_JOB", None)  # or the SDK would poll an endpoint instead
    job = json.loads((ROOT / "test_input.json").read_text())
    if environment["F5_MODEL"] == "f5-tiny-fr":
        job["input"] = FRENCH
    command = [sys.executable, "-u", "handler.py", "--test_input", json.dumps(job)]
    process = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if process.returncode == 0:
        show(job["input"], json.loads((OUT / "demo.json").read_text()))
    return process.returncode


def show(job: dict[str, object], response: dict[str, dict[str, object]]) -> None:
    """Print a summary of a job and its response."""
    audio, metrics = response["audio"], response["metrics"]
    rows = {
        "text": job["text"],
        "voice": job["voice"],
        "model": response["model"],
        "audio": f"{audio['duration_s']:.2f} s {audio['format']}, {audio['sample_rate']} Hz",
        "RTF": f"{metrics['rtf']} ({metrics['nfe']} steps)",
        "seed": response["seed"],
        "file": f"out/demo.{audio['format']}",
    }
    print()
    for name, value in rows.items():
        print(f"  {name:<6} {value}")


if __name__ == "__main__":
    sys.exit(main())
