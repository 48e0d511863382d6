"""The HTTP application: routes, errors, and what happens to each request before them."""

from __future__ import annotations

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from f5_worker import __version__
from f5_worker.errors import InvalidInput
from f5_worker.http.errors import error_response, http_error_response
from f5_worker.http.exchange import WARNINGS
from f5_worker.http.middleware import REQUEST_ID, AccessLog, BodyLimit, Keys, api_keys, cors_origins
from f5_worker.http.openapi import describe
from f5_worker.http.routes import elevenlabs, jobs, native, openai, openai_voices, page, status, stream_input
from f5_worker.http.service import Service, service_of
from f5_worker.schema.actions import MAX_FAULTS
from f5_worker.settings import Settings

ROUTERS = (
    page.router,
    status.router,
    openai.router,
    openai_voices.router,
    elevenlabs.router,
    stream_input.router,
    jobs.router,
    native.router,
)
FIELDS_BYTES = 4_000_000  # of a body besides its clip: subtitles, names of fields


def create_app(service: Service) -> ASGIApp:
    """Return the application of a service, which may still be loading."""
    app = FastAPIOffline(
        title="F5-TTS worker",
        version=__version__,
        redoc_url=None,
        redirect_slashes=False,  # a redirect names this server's own address and http, also behind a proxy with TLS
        swagger_ui_parameters={"validatorUrl": None},  # a page of another host
    )
    app.state.service = service
    app.openapi = describe(app, native.POSTED, needs_key=service.settings.api_key is not None)  # type: ignore[method-assign]
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/page", page.files)
    app.add_exception_handler(Exception, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_parameter_error)
    settings = service.settings
    origins = cors_origins(settings)
    asgi: ASGIApp = Keys(BodyLimit(app, body_bytes(settings)), api_keys(settings), origins)
    if origins:
        asgi = CORSMiddleware(
            asgi, origins, allow_methods=["*"], allow_headers=["*"], expose_headers=[REQUEST_ID, WARNINGS]
        )
    return AccessLog(asgi, service.metrics)


def body_bytes(settings: Settings) -> int:
    """Return the largest body: the largest clip in base64, and the other fields."""
    return settings.reference_max_bytes * 4 // 3 + FIELDS_BYTES


async def _answer_error(request: Request, error: Exception) -> Response:
    return error_response(service_of(request).told(request.state.id, error))


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    return http_error_response(error)


async def _answer_parameter_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    faults = "; ".join(f"{item['loc'][-1]}: {item['msg'].lower()}" for item in error.errors()[:MAX_FAULTS])
    return error_response(InvalidInput(faults))
