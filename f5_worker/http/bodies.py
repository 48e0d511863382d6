"""The bodies of requests: JSON, or a form whose fields are named as in JSON and may be files."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from fastapi import Request
from pydantic import BaseModel, SecretStr
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import HTTPConnection

from f5_worker.errors import InvalidInput
from f5_worker.http.service import service_of
from f5_worker.schema.voices import KEY_FIELD
from f5_worker.transcripts.encodings import decode_transcript

FORM = "multipart/form-data"
KEY_HEADER = "X-Voices-Key"
MAX_PARTS = 100  # of a form; the largest request has about 40 fields
MAX_FIELD_BYTES = 4_000_000  # without a file's name
_CLIPS = ("audio", "audio_sample")  # fields that are a recording; other files are text
_IN_MEMORY = 2**40  # bytes: the body is bounded before (middleware.py), so that nothing is written to a disk


async def read_body(request: Request, kind: type[BaseModel]) -> dict[str, Any]:
    """Return the body as the fields of a request of that kind; see `with_key`.

    Raises:
        InvalidInput: the body is neither a JSON object nor a form.
        SubtitlesUnreadable: a file of the form that should be text is not.
        BodyTooLarge: see middleware.py.
    """
    is_form = request.headers.get("content-type", "").lower().startswith(FORM)
    body = await read_form(request, kind) if is_form else await read_json(request)
    return with_key(request, kind, body)


def with_key(connection: HTTPConnection, kind: type[BaseModel], fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a request of that kind, with the caller's `voices_key`.

    It is the one in the fields, else the header X-Voices-Key; else, where voices belong to keys, the key of the server.
    """
    key = connection.headers.get(KEY_HEADER)
    if key is None and service_of(connection).settings.voices_scope == "per_key":
        key = connection.state.key
    return {KEY_FIELD: key, **fields} if key and KEY_FIELD in kind.model_fields else fields


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


async def read_form(request: Request, kind: type[BaseModel]) -> dict[str, Any]:
    """Return a form's fields as JSON has them: `reference.audio` is a field of the object `reference`.

    A field that is not text in JSON is read as JSON. A file is a clip, or text in any encoding.

    Raises:
        InvalidInput: not a form, or with too many or too large fields.
        SubtitlesUnreadable: a file that should be text is not.
    """
    return await asyncio.to_thread(_fields, await read_parts(request), kind)


async def read_parts(request: Request) -> list[tuple[str, str | bytes]]:
    """Return a form's fields, each as text, or bytes where it is a file.

    Raises:
        InvalidInput: not a form, or with too many or too large fields.
    """
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=MAX_PARTS, max_fields=MAX_PARTS, max_part_size=MAX_FIELD_BYTES
    )
    parser.spool_max_size = _IN_MEMORY
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError):  # KeyError: no boundary
        raise InvalidInput(
            f"the form cannot be read, or has more than {MAX_PARTS} fields or a field of more than "
            f"{MAX_FIELD_BYTES:,} bytes; send clips and subtitles as files"
        ) from None
    return [
        (name, await value.read() if isinstance(value, UploadFile) else value) for name, value in form.multi_items()
    ]


def _fields(parts: Sequence[tuple[str, str | bytes]], kind: type[BaseModel]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in parts:
        *outer, last = name.split(".")
        target = fields
        for step in outer:
            target = target.setdefault(step, {})
            if not isinstance(target, dict):
                raise InvalidInput(f"the form has both {step} and fields of it; send one of the two")
        target[last] = _value(name, value, _is_text(_annotation(kind, name.split("."))))
    return fields


def _value(name: str, value: str | bytes, is_text: bool) -> Any:
    if isinstance(value, bytes):
        if name.rpartition(".")[2] in _CLIPS:
            return base64.b64encode(value).decode("ascii")
        value = decode_transcript(value).text
    if is_text:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value  # the schema names the field, and what it takes


def _annotation(kind: type[BaseModel], path: Sequence[str]) -> object:
    """Return the type of the field at `path`; str for one that does not exist."""
    field = kind.model_fields.get(path[0])
    if field is None:
        return str
    if len(path) == 1:
        return field.annotation
    inner = [choice for choice in get_args(field.annotation) or (field.annotation,) if isinstance(choice, type)]
    model = next((choice for choice in inner if issubclass(choice, BaseModel)), None)
    return str if model is None else _annotation(model, path[1:])


def _is_text(annotation: object) -> bool:
    """Return whether a field of that type is a string in JSON."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in (str, SecretStr) or origin is Literal:
        return annotation is str or annotation is SecretStr or isinstance(arguments[0], str)
    if origin is Annotated:
        return _is_text(arguments[0])
    choices = [argument for argument in arguments if argument is not NoneType]
    return origin not in (dict, tuple, list) and any(map(_is_text, choices))
