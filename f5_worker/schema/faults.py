"""The faults of a request in words: field, value and what is accepted."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from f5_worker.schema.voices import KEY_FIELD, MAX_KEY_CHARS, MIN_KEY_CHARS

_JSON_NAMES = {
    type(None): "null",
    str: "a string",
    list: "a list",
    bool: "a boolean",
    int: "a number",
    float: "a number",
}


def describe_fault(item: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Describe one fault. The values of text fields are not repeated: they may be long or private."""
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _fields_at(model, item["loc"][:-1])
        return f"unknown field {show(path)}{nearest(item['loc'][-1], known)}"
    if item["type"] == "missing":
        return f"{path} is missing"
    message: str = item["msg"].removeprefix("Value error, ")
    if not path:
        return message
    if item["type"] == "string_unicode":
        return f"{path} holds a character that is not valid Unicode (a lone surrogate); remove it"
    given = item["input"]
    is_short = isinstance(given, int | float) or item["type"] == "literal_error"
    shown = f"={show(given)}" if is_short and item["loc"][-1] != KEY_FIELD else ""
    if item["type"].startswith("string_too"):
        shown = f" ({len(given)} characters)"
    if item["loc"][-1] == KEY_FIELD and item["type"].startswith("too_"):
        return f"{path} ({len(given)} characters): it should have {MIN_KEY_CHARS} to {MAX_KEY_CHARS} characters"
    return f"{path}{shown}: {message[0].lower()}{message[1:]}"


def _fields_at(model: type[BaseModel], path: Iterable[object]) -> Iterable[str]:
    """Return the field names of the object at `path`."""
    for name in path:
        field = model.model_fields.get(str(name))
        inner = [kind for kind in _kinds(field.annotation) if isinstance(kind, type)] if field else []
        found = next((kind for kind in inner if issubclass(kind, BaseModel)), None)
        if found is None:
            return ()
        model = found
    return model.model_fields


def _kinds(annotation: object) -> tuple[object, ...]:
    return get_args(annotation) or (annotation,)


def show(value: object) -> str:
    """Return a value for a message, cut to 40 characters, and before it is written: it may be 30 MB long."""
    text = repr(value[:41]) if isinstance(value, str) else reprlib.repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def nearest(name: object, known: Iterable[str]) -> str:
    """Return the end of a message that names what is most like `name`; empty if nothing is."""
    near = difflib.get_close_matches(str(name)[:64], list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def either(names: Iterable[str]) -> str:
    """Return names as a list in words: `a, b or c`."""
    *first, last = names
    return f"{', '.join(first)} or {last}"


def json_name(value: object) -> str:
    """Return what a value that should be an object is instead."""
    return _JSON_NAMES.get(type(value), "not an object")
