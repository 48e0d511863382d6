"""Lines with times: what is read is in test_kinds.py; here, what is refused and what is prose."""

from __future__ import annotations

import pytest

from f5_worker.errors import SubtitlesUnreadable
from f5_worker.transcripts.parse import parse_transcript


@pytest.mark.parametrize(
    "text",
    [
        "Hello there [00:00:05] good bye [00:00:09] the end.",
        "John (00:01): Hello there\nAnn (00:05): Good bye\n",
        "0.00-2.50: Hello there\n2.50-4.00: Good bye\n",
        "0s: Hello there\n5s: Good bye\n",
        "0h00m01s Hello\n0h00m05s Good bye\n",
        "- start: 0.0\n  end: 2.0\n  text: Hello there\n- start: 2.0\n  end: 4.0\n  text: Good bye\n",
        "001  AX  V  C  00:00:01:00 00:00:02:00\n* FROM CLIP NAME: Hello\n",
        "Hello there 0:01\nGood bye 0:05\nThe end 0:09\n",
        "1\n00.00.01,000 --> 00.00.02,000\nHello.\n",
    ],
)
def test_times_of_other_forms_are_never_words(text: str) -> None:
    with pytest.raises(SubtitlesUnreadable, match=r"line \d of the transcript: it"):
        parse_transcript(text)


@pytest.mark.parametrize(
    "text",
    [
        "We met (10:30) at noon.\nIt was fine.",
        "The score was 3:2 at half time.\nIt ended 5:2.",
        "The 90s were loud.\n80s kids know.",
        "90s kids danced.\n80s kids sang.",
        "Start: now.\nEnd: never.",
        "We leave at 10:30\nand arrive at 11:45",
        "1.5 - 2.5 metres are enough.\nNo more.",
    ],
)
def test_prose_with_times_is_prose(text: str) -> None:
    assert parse_transcript(text).kind == "plain"
