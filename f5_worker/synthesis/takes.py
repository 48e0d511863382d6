"""Takes: each segment is checked before it is sent; one that does not say its text is spoken again, the best is kept.

Takes differ in their noise and, as long as the whole may have another length, in their own: words that the model drops
at one pace are often said at another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial, reduce

from f5_worker.engine.types import ModelRunner, Segment, SegmentAudio
from f5_worker.errors import SpeechNotVerified, list_some
from f5_worker.models.f5.config import MAX_SEGMENT_FRAMES, mel_frames
from f5_worker.schema.responses import VerifiedResponse
from f5_worker.schema.verify import VerifyInput
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.plan import PlannedSegment, SamplingParams
from f5_worker.text.seed import segment_seed, take_seed
from f5_worker.verification.check import Limits, SpeechVerdict, SpeechVerifier

DURATION_FACTORS = (1.0, 1.1, 0.93)  # of the takes of a segment, in turn
MAX_CHECKS = 8  # segments of a job that are checked, or spoken again, at a time
LOAD_FACTOR = 2.0  # by which further takes may be slower than the first, beside more work of others
MAX_NUMBERS = 10  # of segments in a warning
OTHER_VOICE = "voice"  # the fault of speech that is too little like its reference
NO_PROGRESS = (1.0, 1.0)  # further takes are no part of what was planned


@dataclass(frozen=True)
class CheckedSegment:
    """A segment that is compared with its text.

    Attributes:
        number: of the segment in the result, or of the cue that it belongs to, for messages.
        seed_path: the indices by which its seed follows from the job's.
    """

    part: PlannedSegment
    segment: Segment
    number: int
    seed_path: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class KeptTake:
    """The take of a segment that is sent.

    Attributes:
        similarity: of the voice to the reference; None if it was not compared, or there is too little speech to tell.
        faults: why it does not pass; empty if it does.
        n_takes: that were spoken.
        seed: of a job that has the noise of this take.
    """

    number: int
    audio: SegmentAudio
    verdict: SpeechVerdict
    similarity: float | None
    faults: tuple[str, ...]
    n_takes: int
    seed: int

    @property
    def rank(self) -> tuple[bool, float, float]:
        """Return the sort key, least for the best take: faults, wrong words of the transcript, doubt and unlikeness."""
        return bool(self.faults), self.verdict.heard_wer, self.verdict.badness - (self.similarity or 0.0)


class Takes:
    """Chooses the take of each segment of a job.

    Args:
        runner: the model that speaks.
        params: of the job.
        unit: what the numbers of segments count.
        keeps_length: all takes have the length that was planned.

    Attributes:
        kept: what was chosen of each segment, in order.
    """

    def __init__(
        self,
        job: Job,
        verifier: SpeechVerifier,
        rules: VerifyInput,
        runner: ModelRunner[object],
        params: SamplingParams,
        *,
        unit: str,
        keeps_length: bool,
    ) -> None:
        self._unit = unit
        self._job, self._verifier, self._rules = job, verifier, rules
        self._runner, self._seed = runner, params.seed
        self._factors = (1.0,) if keeps_length else DURATION_FACTORS
        self._closed = False
        self.kept: list[KeptTake] = []

    def choose(
        self, spoken: Iterable[SegmentAudio], segments: Sequence[CheckedSegment], *, in_order: bool
    ) -> Generator[SegmentAudio, None, None]:
        """Yield the best take of each segment.

        Args:
            spoken: their first takes.
            in_order: the caller hears a segment as soon as it is yielded; those after it wait. Otherwise all are
                checked as they come, so that their further takes share the device's work.

        Raises:
            SpeechNotVerified: a segment is wrong in all its takes, and that is to be an error.
        """
        pool = ThreadPoolExecutor(MAX_CHECKS, thread_name_prefix="takes")
        pending: deque[Future[KeptTake]] = deque()
        try:
            for audio, checked in zip(spoken, segments, strict=True):
                work = partial(self._best_take, checked, audio)
                pending.append(pool.submit(self._job.control.run, work))
                while pending and (in_order or pending[0].done()):
                    yield self._keep(pending.popleft())
            while pending:
                yield self._keep(pending.popleft())
        except BaseException:  # also where the caller of this iterator closes it
            self._closed = True
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def warnings(self) -> list[str]:
        """Return what of the speech is still wrong."""
        wrong = list(dict.fromkeys(take.number for take in self.kept if take.faults))
        if not wrong:
            return []
        shown = list_some(wrong, MAX_NUMBERS)
        names = f"{self._unit} {shown} does" if len(wrong) == 1 else f"{self._unit}s {shown} do"
        best = f", in the best of up to {self._rules.takes} takes" if self._rules.takes > 1 else ""
        return [f"{names} not sound like the text{best}; see `verified`"]

    def _keep(self, pending: Future[KeptTake]) -> SegmentAudio:
        with self._job.stopwatch.stage("verify_ms"):
            take = pending.result()
        verdict = take.verdict
        if take.faults and self._rules.on_failure == "fail":
            raise SpeechNotVerified(
                f"{self._unit} {take.number} does not sound like its text in the best of {take.n_takes} takes: "
                f"{verdict.wer:.0%} of its words are wrong, {verdict.run} in a row ({', '.join(take.faults)}); "
                'raise takes or quality, change its text, or send on_failure: "warn"'
            )
        self.kept.append(take)
        return take.audio

    def _best_take(self, checked: CheckedSegment, audio: SegmentAudio) -> KeptTake:
        """Return the first take if it says its text beyond doubt, else the best of all."""
        first = self._check(checked, audio, take=0)
        further = range(1, self._rules.takes)
        is_good = not first.faults and not first.verdict.may_differ
        if is_good or not further or not self._has_time(audio, len(further)):
            return first
        segments = [self._vary(checked, take) for take in further]
        submit = self._job.worker.engine.submit
        with closing(submit(segments, self._job.control, runner=self._runner, share=NO_PROGRESS)) as results:
            takes = [first, *(self._check(checked, other, take) for take, other in zip(further, results, strict=True))]
        best = min(takes, key=lambda take: take.rank)  # the first of equals
        worked_s = sum(take.audio.worked_s for take in takes)
        return replace(best, audio=replace(best.audio, worked_s=worked_s), n_takes=len(takes))

    def _check(self, checked: CheckedSegment, audio: SegmentAudio, take: int) -> KeptTake:
        reference, encoder = checked.part.reference, self._job.worker.speaker_encoder
        verdict = self._verifier.check(audio.samples, checked.part.text, reference.transcript)
        similarity = None if encoder is None else encoder.compare(audio.samples, reference.samples)
        least = self._rules.min_similarity
        is_other_voice = least is not None and similarity is not None and similarity < least
        faults = (*verdict.faults, *((OTHER_VOICE,) if is_other_voice else ()))
        return KeptTake(checked.number, audio, verdict, similarity, faults, 1, take_seed(self._seed, take))

    def _vary(self, checked: CheckedSegment, take: int) -> Segment:
        """Return a segment with the noise of a take and, where the model can speak it, its length."""
        segment = checked.segment
        reference_frames = mel_frames(len(segment.reference))
        target_frames = round((segment.frames - reference_frames) * self._factors[take % len(self._factors)])
        frames = min(max(reference_frames + target_frames, len(segment.tokens) + 1), MAX_SEGMENT_FRAMES)
        return replace(
            segment,
            frames=frames,
            forward_frames=segment.forward_frames // segment.frames * frames,
            seed=reduce(segment_seed, checked.seed_path, take_seed(self._seed, take)),
        )

    def _has_time(self, audio: SegmentAudio, n_takes: int) -> bool:
        """Return whether further takes end within the job's time, and are waited for."""
        needed_s = n_takes * LOAD_FACTOR * (audio.waited_s + audio.worked_s)
        return not self._closed and self._job.control.left_s() > needed_s


def report_verified(takes: Sequence[KeptTake]) -> VerifiedResponse:
    """Return how the segments of a response's part were heard: the worst of them, where it has several."""
    worst = max(takes, key=lambda take: take.rank)
    wrong = [take for take in takes if take.faults]
    alike = [take.similarity for take in takes if take.similarity is not None]
    return VerifiedResponse(
        passed=not wrong,
        wer=round(max(take.verdict.wer for take in takes), 4),
        run=max(take.verdict.run for take in takes),
        similarity=round(min(alike), 3) if alike else None,
        takes=max(take.n_takes for take in takes),
        seed=worst.seed,
        faults=sorted({fault for take in wrong for fault in take.faults}) or None,
        heard=" ".join(take.verdict.heard for take in takes) if wrong else None,
    )


def takes_for(
    job: Job,
    params: SamplingParams,
    runner: ModelRunner[object],
    warnings: list[str],
    *,
    unit: str = "segment",
    keeps_length: bool,
) -> Takes | None:
    """Return what checks a job's segments; None if they are not to be checked, or cannot be, with a warning.

    Raises:
        SpeechNotVerified: they cannot be checked, and that is to be an error.
    """
    rules = job.request.verify_or(job.worker.settings.verify)
    if rules is None:
        return None
    if rules.min_similarity is not None and job.worker.speaker_encoder is None:
        _warn_or_raise(
            "the voice was not compared: this worker has no speaker encoder (F5_SPEAKER_MODEL)", rules, warnings
        )
    recogniser, language = job.worker.recogniser, params.language
    limits = Limits(rules.max_wer, rules.max_run)
    verifier = None if recogniser is None else SpeechVerifier.for_language(recogniser, language, limits)
    if verifier is None:
        unknown = f"this worker's recogniser does not know the language {language!r} (F5_ASR_MODEL)"
        reason = "this worker has no recogniser (F5_ASR_MODEL)" if recogniser is None else unknown
        _warn_or_raise(f"the speech was not checked: {reason}", rules, warnings)
        return None
    return Takes(job, verifier, rules, runner, params, unit=unit, keeps_length=keeps_length)


def _warn_or_raise(fact: str, rules: VerifyInput, warnings: list[str]) -> None:
    """Add a warning about what cannot be checked.

    Raises:
        SpeechNotVerified: it is to be an error.
    """
    if rules.on_failure == "fail":
        raise SpeechNotVerified(f'{fact}; ask for less in verify, or send on_failure: "warn"')
    warnings.append(fact)
