"""`verify` in a request: on, off, absent, and with values."""

from __future__ import annotations

from typing import Any

import pytest

from f5_worker.errors import InvalidInput
from f5_worker.schema.actions import parse_input
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.schema.verify import VerifyInput


def read(**fields: Any) -> SynthesizeInput:
    request = parse_input({"text": "Hello.", **fields})
    assert isinstance(request, SynthesizeInput)
    return request


@pytest.mark.parametrize(
    ("fields", "by_default", "rules"),
    [
        ({}, False, None),
        ({}, True, VerifyInput()),
        ({"verify": True}, False, VerifyInput()),
        ({"verify": False}, True, None),
        ({"verify": None}, True, None),
        ({"verify": {}}, False, VerifyInput()),
        ({"verify": {"max_wer": 0.3, "takes": 5}}, True, VerifyInput(max_wer=0.3, takes=5)),
    ],
)
def test_what_a_request_asks_for(fields: dict[str, Any], by_default: bool, rules: VerifyInput | None) -> None:
    assert read(**fields).verify_or(by_default) == rules


@pytest.mark.parametrize("fields", [{}, {"verify": False}, {"verify": True}, {"verify": {"takes": 2}}])
@pytest.mark.parametrize("by_default", [False, True])
def test_it_is_passed_on_as_it_was_given(fields: dict[str, Any], by_default: bool) -> None:
    request = read(**fields)
    assert read(**request.verify_fields).verify_or(by_default) == request.verify_or(by_default)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"max_wer": 2}, "verify.max_wer=2: input should be less than or equal to 1"),
        ({"takes": 0}, "verify.takes=0"),
        ({"takes": 6}, "verify.takes=6"),
        ({"on_failure": "ignore"}, "verify.on_failure='ignore'"),
        ({"max_wre": 0.1}, "unknown field 'verify.max_wre', did you mean 'max_wer'"),
        (3, "verify=3: send true, false or an object"),
        ("yes", "verify: send true, false or an object"),
    ],
)
def test_what_is_wrong_is_said(value: object, words: str) -> None:
    with pytest.raises(InvalidInput, match=words.replace(".", r"\.")):
        read(verify=value)


def test_clients_are_told_that_a_boolean_will_do() -> None:
    kinds = SynthesizeInput.model_json_schema()["properties"]["verify"]["anyOf"]
    assert {"type": "boolean"} in kinds
