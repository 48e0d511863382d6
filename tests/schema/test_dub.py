"""The request of a dubbed track."""

from __future__ import annotations

from typing import Any

import pytest

from f5_worker.errors import InvalidInput
from f5_worker.schema.actions import parse_input
from f5_worker.schema.dub import DubInput, SourceInput

SRT = "1\n00:00:01,000 --> 00:00:02,000\nHello.\n"
SOURCE = {"audio": "UklGRg==", "subtitles": SRT}


def dub(**fields: Any) -> DubInput:
    request = parse_input({"action": "dub", "subtitles": SRT, **fields})
    assert isinstance(request, DubInput)
    return request


def test_who_speaks_which_cue_is_written_as_pages_to_print() -> None:
    source = SourceInput(**SOURCE, speakers={"Bob": "5-6", "Ann": " 1-4,  7 , 9 - 10"})
    assert [tuple(cues) for cues in source.cue_ranges] == [
        (1, 4, "Ann"), (5, 6, "Bob"), (7, 7, "Ann"), (9, 10, "Ann")
    ]  # fmt: skip
    assert SourceInput(**SOURCE).cue_ranges == []


@pytest.mark.parametrize(
    ("speakers", "message"),
    [
        ({"Ann": "1-4", "Bob": "4"}, "gives cue 4 to 'Ann' and 'Bob'"),
        ({"Ann": "4-1"}, "speakers has 4-1; cues are counted from 1, upwards"),
        ({"Ann": "0"}, "speakers has 0-0; cues are counted from 1"),
        ({"Ann": "one"}, "source.speakers.Ann"),
        ({"Ann": ""}, "source.speakers.Ann"),
        ({"Ann": [1, 2]}, "source.speakers.Ann"),
    ],
)
def test_what_gives_no_cue_one_speaker_is_refused(speakers: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        dub(source={**SOURCE, "speakers": speakers})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fit": {}, "max_speed": 1.2}, "give either fit or max_speed"),
        ({"fit": {"accept": 1.6}}, r"accept=1.6 exceeds max_speed=1.5; lower it"),
        ({"fit": {"on_overrun": "shrink"}}, "fit.on_overrun='shrink'"),
        ({"fit": {"max_delay_s": -1}}, "fit.max_delay_s=-1"),
        ({"loudness": "source"}, 'loudness: "source" needs the source'),
        ({"loudness": "source", "source": SOURCE, "loudness_lufs": -16.0}, "give either loudness or loudness_lufs"),
        ({"source": {"audio": "x"}}, "source.subtitles is missing"),
    ],
)
def test_fields_that_contradict_each_other(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        dub(**fields)


def test_the_policy_that_an_empty_object_stands_for() -> None:
    fit = dub(fit={}, min_speed=0.9).fit
    assert fit is not None
    expected = {"accept": 1.2, "use_gaps": True, "max_speed": 1.5, "on_overrun": "shorten_pause", "max_delay_s": None}
    assert fit.model_dump() == expected
