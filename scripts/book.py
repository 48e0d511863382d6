"""Make an audiobook of an EPUB, a text, a Markdown or an HTML file: see docs/books.md and --help."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

try:
    from scripts.audiobook.command import main
except ModuleNotFoundError as error:
    sys.exit(f"book: {error.name} is not installed; pip install --group book")

if __name__ == "__main__":
    sys.exit(main())
