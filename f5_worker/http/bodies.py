"""The bodies of requests: JSON, or a form with files."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request

from f5_worker.errors import InvalidInput


async def read_json(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object.

    Raises:
        InvalidInput: it is not one.
        BodyTooLarge: see middleware.py.
    """
    body = await request.body()
    try:
        value = json.loads(body)
    except ValueError:  # its message quotes the body
        raise InvalidInput("the body is not JSON; send an object, with Content-Type: application/json") from None
    except RecursionError:
        raise InvalidInput("the body is nested too deeply; no field of a request is") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"the body is a JSON {type(value).__name__}; send an object")
    return value
