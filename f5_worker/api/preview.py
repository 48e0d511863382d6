"""The action `preview`: what would be spoken of a text, without the device."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from f5_worker.api.call import Call
from f5_worker.api.native import Json
from f5_worker.schema.requests import PreviewInput
from f5_worker.schema.responses import ChangePreview, PreviewResponse, SegmentPreview, SentencePreview
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.plan import PlannedSegment
from f5_worker.synthesis.prepare import plan_text
from f5_worker.text.sentences import sentence_ends

if TYPE_CHECKING:
    from f5_worker.text.markup.script import Script


def preview(request: PreviewInput, call: Call) -> Json:
    """Return what would be spoken of a text: sentences, segments, pauses, voices, warnings.

    Raises:
        WorkerError: any that a caller of `synthesize` can cause before the device begins.
    """
    job = Job(request, call.worker, call.control, call.job_id)
    with plan_text(job, request) as text:
        plan, parts = text.plan, text.plan.parts
        pauses_s = sum(part.pause_s for part in parts if part.is_exact or part is not parts[-1])
        return PreviewResponse(
            model=text.model.name,
            language=text.params.language,
            sentences=[found for index, part in enumerate(parts) for found in _sentences(text.script, part, index)],
            segments=[_segment(part) for part in parts],
            lead_s=round(plan.lead_s, 6),
            estimated_s=round(plan.lead_s + pauses_s + sum(part.estimated_s for part in parts), 3),
            warnings=list(text.warnings),
        ).to_json()


def _segment(part: PlannedSegment) -> SegmentPreview:
    return SegmentPreview(
        text=part.text,
        voice=part.passage.voice,
        speaker=part.passage.speaker,
        estimated_s=round(part.estimated_s, 3),
        pause_s=round(part.pause_s, 6),
        exact=part.is_exact,
    )


def _sentences(script: Script, part: PlannedSegment, index: int) -> Iterator[SentencePreview]:
    """Yield the sentences of a segment; one that is longer than a segment is in each of its segments."""
    ends = [end for end in sentence_ends(part.text) if end < len(part.text)]
    for begin, end in pairwise([0, *ends, len(part.text)]):
        first, last = script.written(part.origins[begin:end])
        yield SentencePreview(
            spoken=part.text[begin:end].strip(),
            begin=first,
            end=last,
            language=part.passage.language,
            voice=part.passage.voice,
            speaker=part.passage.speaker,
            segment=index,
            changes=list(_changes(script, part, begin, end)),
        )


def _changes(script: Script, part: PlannedSegment, begin: int, end: int) -> Iterator[ChangePreview]:
    """Yield the words that are said otherwise than they are written, each with its neighbours that are."""
    changed: list[bool] = []
    for at in range(begin, end):
        origin, char = part.origins[at], part.text[at]
        if char.isalnum():
            changed.append(unicodedata.normalize("NFC", script.text.text[slice(*origin)]) != char)
        else:  # a space or a sign belongs to the words before it if it is from the same place
            changed.append(at > begin and changed[-1] and origin == part.origins[at - 1])
    for is_changed, group in groupby(range(begin, end), lambda at: changed[at - begin]):
        places = list(group)
        if is_changed:
            first, last = script.written([part.origins[at] for at in places])
            spoken = "".join(part.text[at] for at in places).strip()
            yield ChangePreview(begin=first, end=last, written=script.source[first:last], spoken=spoken)
