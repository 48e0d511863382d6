"""Server-sent events."""

from __future__ import annotations

import json
from typing import Any

from f5_worker.errors import WorkerError
from f5_worker.http.errors import error_body

MIME = "text/event-stream"


def event(name: str, data: Any) -> str:
    """Return one event with its data as JSON."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def error_event(error: WorkerError) -> str:
    """Return the event that ends a stream after an error."""
    return event("error", error_body(error))
