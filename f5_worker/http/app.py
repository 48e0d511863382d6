"""The HTTP application: routes, errors, and what happens to each request before them."""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from f5_worker import __version__
from f5_worker.http.errors import error_response, http_error_response
from f5_worker.http.middleware import REQUEST_ID, AccessLog, BodyLimit, Keys, api_keys, cors_origins
from f5_worker.http.routes import native, openai, status
from f5_worker.http.service import Service, service_of
from f5_worker.settings import Settings

ROUTERS = (status.router, openai.router, native.router)
FIELDS_BYTES = 4_000_000  # of a body besides its clip: subtitles, names of fields


def create_app(service: Service) -> ASGIApp:
    """Return the application of a service, which may still be loading."""
    app = FastAPI(title="F5-TTS worker", version=__version__, docs_url=None, redoc_url=None)
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(Exception, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    settings = service.settings
    origins = cors_origins(settings)
    asgi: ASGIApp = Keys(BodyLimit(app, body_bytes(settings)), api_keys(settings), origins)
    if origins:
        asgi = CORSMiddleware(
            asgi, origins, allow_methods=["*"], allow_headers=["*"], expose_headers=[REQUEST_ID, "X-F5-Warnings"]
        )
    return AccessLog(asgi)


def body_bytes(settings: Settings) -> int:
    """Return the largest body: the largest clip in base64, and the other fields."""
    return settings.reference_max_bytes * 4 // 3 + FIELDS_BYTES


async def _answer_error(request: Request, error: Exception) -> Response:
    return error_response(service_of(request).any_runner.told(request.state.id, error))


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    return http_error_response(error)
