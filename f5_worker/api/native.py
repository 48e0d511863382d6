"""The contract of a caller: how its requests are read and its responses written. Here, this worker's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from f5_worker.errors import WorkerError
from f5_worker.schema.actions import parse_input
from f5_worker.schema.bounds import check_bounds
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.schema.responses import ChunkAudioResponse, ChunkResponse, SpeechResponse
from f5_worker.synthesis.encoding import AudioChunk
from f5_worker.synthesis.response import word_response

MAX_ERROR_CHARS = 8_000  # a message may quote what a caller sent

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Translated:
    """A request that was written in another contract. `warnings`: what its caller should know of how it was read."""

    request: SynthesizeInput
    warnings: tuple[str, ...] = ()


class Contract:
    """The native contract of one job, and the base of the others.

    Attributes:
        streams: a streaming worker may answer in chunks.
        request: what the job asks for, in the native schema where it speaks; set by `read`.
        job_id: of the job, or of this part of a connection.
    """

    streams = True
    request: Any

    def __init__(self, value: object, job_id: str) -> None:
        self._value, self.job_id = value, job_id

    def read(self) -> object:
        """Parse the job's input and return the request, a `Translated` where the contract has warnings to give.

        Raises:
            InvalidInput, UnknownAction: by the contract's own field names.
        """
        check_bounds(self._value)
        parsed = self._parse()
        self.request = parsed.request if isinstance(parsed, Translated) else parsed
        return parsed

    def _parse(self) -> object:
        return parse_input(self._value)

    def response(self, response: Json) -> Json:
        """Return a whole response in the contract's form."""
        return response

    def chunk(self, index: int, chunk: AudioChunk) -> Json | str:
        """Return one chunk of a stream in the contract's form."""
        request = self.request
        words = [word_response(word) for word in chunk.words] if request.timings is not None else None
        audio = ChunkAudioResponse(format=request.format, sample_rate=request.sample_rate, data=chunk.data)
        start_s, duration_s = round(chunk.start_s, 6), round(chunk.duration_s, 6)
        return ChunkResponse(index=index, audio=audio, start_s=start_s, duration_s=duration_s, words=words).to_json()

    def last(self, response: SpeechResponse) -> Json | str:
        """Return the end of a stream in the contract's form."""
        return {"final": True, **response.to_json()}

    def error(self, error: WorkerError) -> Json:
        """Return an error in the form that the queue carries: one string, `CODE: what happened; what to do`."""
        text = str(error)
        return {"error": text if len(text) <= MAX_ERROR_CHARS else text[:MAX_ERROR_CHARS] + " ..."}
