"""The actions of the native contract: the kind of request that each takes, and the parsing of a job's input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from f5_worker.errors import InvalidInput, UnknownAction
from f5_worker.schema.batch import BatchInput
from f5_worker.schema.dub import DubInput
from f5_worker.schema.faults import describe_fault, either, json_name, nearest, show
from f5_worker.schema.requests import (
    DiagnoseInput,
    HealthInput,
    PreviewInput,
    SynthesizeInput,
    TextInput,
    VoicesAddInput,
    VoicesDeleteInput,
    VoicesGetInput,
    VoicesListInput,
    VoicesReportInput,
)

MAX_FAULTS = 20  # of one request that are told

VoiceRequest = VoicesAddInput | VoicesListInput | VoicesGetInput | VoicesDeleteInput | VoicesReportInput
SpeechRequest = TextInput | DubInput
Request = SynthesizeInput | DubInput | BatchInput | VoiceRequest | PreviewInput | HealthInput | DiagnoseInput
ACTIONS: Mapping[str, type[Request]] = {
    get_args(kind.model_fields["action"].annotation)[0]: kind for kind in get_args(Request)
}

Checked = TypeVar("Checked", bound=BaseModel)


def parse_input(value: object) -> Request:
    """Parse the job's `input`.

    Raises:
        UnknownAction: `action` is not one of ACTIONS.
        InvalidInput: every fault of the input, each with field, value and accepted range.
    """
    if not isinstance(value, dict):
        raise InvalidInput(
            f'input is {json_name(value)}; send a JSON object such as {{"text": "Hello.", "voice": "joe"}}'
        )
    action = value.get("action", "synthesize")
    if not isinstance(action, str) or action not in ACTIONS:
        raise UnknownAction(f"action {show(action)} does not exist{nearest(action, ACTIONS)}; use {either(ACTIONS)}")
    return check(ACTIONS[action], value)


def check(model: type[Checked], value: Mapping[str, Any]) -> Checked:
    """Validate `value` as a model.

    Raises:
        InvalidInput: every fault, up to MAX_FAULTS, each with field, value and accepted range.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = [describe_fault(item, model) for item in error.errors(include_url=False)[:MAX_FAULTS]]
        more = error.error_count() - len(faults)
        raise InvalidInput("; ".join([*faults, f"and {more} more"] if more else faults)) from None
