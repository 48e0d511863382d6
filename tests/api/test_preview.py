"""The action `preview`: what would be spoken, without the device."""

from __future__ import annotations

from typing import Any

import pytest

from f5_worker.api.actions import ACTIONS
from f5_worker.api.call import Call, ServerStatus
from f5_worker.cancellation import JobControl
from f5_worker.errors import InvalidInput, TextUnspeakable, UnknownVoice
from f5_worker.schema.actions import parse_input
from f5_worker.schema.requests import PreviewInput
from f5_worker.synthesis.context import Worker
from f5_worker.text.traits import TextTraits
from tests.conftest import ToneDevice

TEXT = "Ann: It costs $5, *really*. [pause:1.5s]Hi there!\n\n[voice:bella]I like Xiaomi & 2 cats. [laughs]"
FIELDS = {
    "voice": "joe",
    "voices": {"Ann": "george"},
    "pronunciations": [{"written": "xiaomi", "spoken": "shao mee"}],
}


def preview(worker: Worker, text: str = TEXT, **fields: Any) -> dict[str, Any]:
    request = parse_input({"action": "preview", "text": text} | fields)
    assert isinstance(request, PreviewInput)
    return ACTIONS[PreviewInput].answer(request, Call(worker, ServerStatus(1.0, 0), JobControl(60)))


def test_each_sentence_says_what_it_is_from(worker: Worker, device: ToneDevice) -> None:
    found = preview(worker, **FIELDS)["sentences"]
    assert [(item["spoken"], item["voice"], item["speaker"]) for item in found] == [
        ("It costs five dollars, really.", "george", "Ann"),
        ("Hi there!", "george", "Ann"),
        ("I like shao mee and two cats.", "bella", "bella"),
    ]
    assert [TEXT[item["begin"] : item["end"]] for item in found] == [
        "It costs $5, *really*.",
        "Hi there!",
        "I like Xiaomi & 2 cats.",
    ]
    changes = [(change["written"], change["spoken"]) for item in found for change in item["changes"]]
    assert changes == [("$5", "five dollars"), ("Xiaomi & 2", "shao mee and two")]
    assert {item["language"] for item in found} == {"en"}
    assert device.segments == []


def test_segments_have_their_length_and_pauses(worker: Worker) -> None:
    found = preview(worker, **FIELDS)
    assert [(part["pause_s"], part["exact"], part["voice"]) for part in found["segments"]] == [
        (1.5, True, "george"),
        (0.6, False, "george"),
        (0.6, False, "bella"),
    ]
    assert [item["segment"] for item in found["sentences"]] == [0, 1, 2]
    seconds = [part["estimated_s"] for part in found["segments"]]
    assert found["estimated_s"] == pytest.approx(sum(seconds) + 1.5 + 0.6, abs=0.01)
    assert found["warnings"] == ['1 stage direction was not spoken; directions: "speak" speaks them']
    assert found["model"] == "tones"


def test_an_estimate_is_what_is_then_spoken(worker: Worker) -> None:
    fields = {"text": "One short sentence is here. [pause:2s] And then another one.", "voice": "joe", "seed": 1}
    estimated_s = preview(worker, **fields)["estimated_s"]
    request = parse_input(fields)
    spoken = ACTIONS[type(request)].answer(request, Call(worker, ServerStatus(1.0, 0), JobControl(60)))
    assert spoken["audio"]["duration_s"] == pytest.approx(estimated_s, rel=0.1)


def test_a_leading_pause_and_a_line_that_was_added(worker: Worker) -> None:
    found = preview(worker, "[pause:1s]# Title\nThe text.", voice="joe")
    assert found["lead_s"] == 1.0
    assert [item["spoken"] for item in found["sentences"]] == ["Title.", "The text."]
    assert [item["changes"] for item in found["sentences"]] == [[], []]


def test_sentences_in_capitals_are_warned_of_or_lowered(worker: Worker, device: ToneDevice) -> None:
    text = "THE MORNING LIGHT CAME SLOWLY."
    assert "capitals" in preview(worker, text, voice="joe")["warnings"][0]
    device.traits = TextTraits(lower_capitals=True)
    found = preview(worker, text, voice="joe")
    assert found["warnings"] == []
    assert found["sentences"][0]["spoken"] == "The morning light came slowly."


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("*smiles*", TextUnspeakable, 'directions: "speak"'),
        ("[pause:99s] Hello", InvalidInput, "99 s"),
        ("[voice:nope] Hello", UnknownVoice, "bella"),
        ("[voice:a]a" + "".join(f"[voice:v{n}]b" for n in range(32)), InvalidInput, "33 voices, at most 32"),
    ],
)
def test_faults_are_those_of_a_synthesis(worker: Worker, text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        preview(worker, text, voice="joe")
