"""The OpenAPI description: the routes, with the fields of requests and responses out of the schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from f5_worker.api.elevenlabs.voices import NewVoiceForm
from f5_worker.api.openai import ROUTE, SpeechInput
from f5_worker.http.bodies import FORM
from f5_worker.http.routes import elevenlabs
from f5_worker.http.sse import MIME
from f5_worker.schema.actions import ACTIONS
from f5_worker.schema.responses import BatchResponse, DubResponse, HealthResponse, SynthesizeResponse

_JSON = "application/json"
_RESPONSES: Mapping[str, type[BaseModel]] = {
    "/v1/synthesize": SynthesizeResponse,
    "/v1/dub": DubResponse,
    "/v1/batch": BatchResponse,
    "/health": HealthResponse,
}
_STREAMED = {"/v1/synthesize": (MIME, "audio/*"), "/v1/dub": (MIME, "audio/*"), "/v1/batch": (MIME,)}
# Of other services' calls, and how they are sent.
_BODIES: Mapping[str, type[BaseModel]] = {ROUTE: SpeechInput, elevenlabs.ADD_VOICE: NewVoiceForm, **elevenlabs.BODIES}
_TYPES = {path: (FORM,) if path == elevenlabs.ADD_VOICE else (_JSON,) for path in _BODIES}
_ERROR = {
    "description": "Any error, in the form that OpenAI's and ElevenLabs' clients read",
    "content": {
        _JSON: {
            "example": {
                "error": {"message": "CODE: what happened; what to do", "type": "...", "param": None, "code": "CODE"},
                "detail": {"status": "code", "message": "CODE: what happened; what to do"},
            }
        }
    },
}


def describe(app: FastAPI, paths: Mapping[str, str], *, needs_key: bool) -> Callable[[], dict[str, Any]]:
    """Return the function that makes the description, once: the schema takes a while and a start needs none.

    Args:
        paths: actions by the path of the POST that takes their fields.
    """
    made: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not made:
            made.update(_make(app, paths, needs_key))
        return made

    return openapi


def _make(app: FastAPI, paths: Mapping[str, str], needs_key: bool) -> dict[str, Any]:
    described = get_openapi(title=app.title, version=app.version, routes=app.routes)
    bodies: dict[str, type[BaseModel]] = {**{path: ACTIONS[action] for path, action in paths.items()}, **_BODIES}
    kinds = dict.fromkeys((*bodies.values(), *ACTIONS.values()))
    read, inner = models_json_schema([(kind, "validation") for kind in kinds], ref_template=_ref("{model}"))
    written, more = models_json_schema(
        [(kind, "serialization") for kind in _RESPONSES.values()], ref_template=_ref("{model}")
    )
    described.setdefault("components", {})["schemas"] = inner["$defs"] | more["$defs"]
    for path, kind in bodies.items():
        schema = read[kind, "validation"]
        described["paths"][path]["post"]["requestBody"] = _content(schema, _TYPES.get(path, (_JSON, FORM)))
    described["paths"]["/v1/jobs"]["post"]["requestBody"] = _content(
        {"oneOf": [read[kind, "validation"] for kind in ACTIONS.values()]}, (_JSON,)
    )
    for path, kind in _RESPONSES.items():
        for operation in described["paths"][path].values():
            operation["responses"]["200"]["content"] = {_JSON: {"schema": written[kind, "serialization"]}}
            operation["responses"]["200"]["content"] |= {kind: {} for kind in _STREAMED.get(path, ())}
    for operations in described["paths"].values():
        for operation in operations.values():
            operation["responses"] = {code: told for code, told in operation["responses"].items() if code != "422"}
            operation["responses"]["default"] = _ERROR
    if needs_key:
        described["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"key": []}]
    return described


def _content(schema: Any, types: tuple[str, ...]) -> dict[str, Any]:
    return {"required": True, "content": {name: {"schema": schema} for name in types}}


def _ref(name: str) -> str:
    return f"#/components/schemas/{name}"
