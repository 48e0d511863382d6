"""The response to `preview`: what would be spoken. Spans are `[begin, end)` in the characters of the text as sent."""

from __future__ import annotations

from f5_worker.schema.responses import Response


class ChangePreview(Response):
    """A part of the text that is said otherwise than it is written."""

    begin: int
    end: int
    written: str
    spoken: str


class SentencePreview(Response):
    """A sentence as it will be spoken, the span in the text that it is from, and what differs between the two.

    Attributes:
        segment: index of the segment that it begins in.
        voice: None for the request's own.
    """

    spoken: str
    begin: int
    end: int
    language: str
    voice: str | None = None
    speaker: str | None = None
    segment: int
    changes: list[ChangePreview]


class SegmentPreview(Response):
    """A segment. estimated_s: its length; pause_s: the silence after it, `exact` where the text asks for it."""

    text: str
    voice: str | None = None
    speaker: str | None = None
    estimated_s: float
    pause_s: float
    exact: bool


class PreviewResponse(Response):
    """The reading of a text, without speech.

    lead_s: the silence before the first segment; estimated_s: the length of the whole.
    """

    model: str
    language: str
    sentences: list[SentencePreview]
    segments: list[SegmentPreview]
    lead_s: float
    estimated_s: float
    warnings: list[str]
