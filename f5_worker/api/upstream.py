"""Requests in the names of F5-TTS itself, of its `infer` and its command line: `gen_text`, `ref_audio`, `ref_text`, ...

They may stand beside fields of the native contract, whose `nfe_step`, `cfg_strength`, `sway_sampling_coef`, `speed` and
`seed` are the same. docs/api.md has the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from f5_worker.api.native import Contract, Translated
from f5_worker.errors import InvalidInput
from f5_worker.schema.actions import check
from f5_worker.schema.requests import MAX_SUBTITLE_CHARS, MAX_TEXT_CHARS, Input, SynthesizeInput

_SYNONYMS = {
    "ref_file": "ref_audio",  # f5_tts.api.F5TTS.infer
    "ref_audio_orig": "ref_audio",  # f5_tts.infer.infer_gradio.infer, and its page's inputs
    "ref_audio_input": "ref_audio",
    "ref_text_input": "ref_text",
    "gen_text_input": "gen_text",
    "cross_fade_duration_slider": "cross_fade_duration",
}
_WITHOUT_EQUIVALENT = ("target_rms", "fix_duration")
# Where upstream keeps files and how it loads its model; ignored, but no sign of this contract by themselves.
_OF_THE_PROGRAM = (
    *("show_info", "progress", "file_wave", "file_spec", "output_dir", "output_file", "save_chunk", "no_legacy_text"),
    *("device", "ckpt_file", "vocab_file", "model_cfg", "mel_spec_type", "ode_method", "use_ema", "hf_cache_dir"),
    *("vocoder_name", "vocoder_local_path", "load_vocoder_from_local", "gen_file", "randomize_seed"),
)


class UpstreamInput(Input):
    """The fields that have other names here."""

    gen_text: str | None = Field(None, min_length=1, max_length=MAX_TEXT_CHARS)
    ref_audio: str | None = Field(None, min_length=1)
    ref_text: str | None = Field(None, max_length=MAX_SUBTITLE_CHARS)
    cross_fade_duration: float | None = Field(None, ge=0, le=1)
    remove_silence: bool | None = None


_NAMES = {
    "gen_text": "text",
    "ref_audio": "reference.audio",
    "ref_text": "reference.transcript",
    "cross_fade_duration": "cross_fade_s",
    "remove_silence": "trim_silence (both ends only)",
}


def is_upstream(value: Mapping[str, Any]) -> bool:
    """Return whether a job's input has names of upstream that the native contract has not."""
    return value.get("action", "synthesize") == "synthesize" and any(
        name in value for name in (*_NAMES, *_SYNONYMS, *_WITHOUT_EQUIVALENT)
    )


class UpstreamContract(Contract):
    """A request in upstream's names; its response is the native one."""

    _value: Mapping[str, Any]

    def _parse(self) -> Translated:
        """Translate the input; faults are named by the names that the caller used."""
        value = _with_one_name(self._value)
        theirs = check(UpstreamInput, {name: value.pop(name) for name in _NAMES if name in value})
        ignored = [name for name in (*_WITHOUT_EQUIVALENT, *_OF_THE_PROGRAM) if value.pop(name, None) is not None]
        if isinstance(seed := value.get("seed"), int) and seed < 0:
            del value["seed"]  # a random one
        _add(value, "text", theirs.gen_text, "gen_text")
        _add(value, "reference", _reference(theirs), "ref_audio")
        _add(value, "cross_fade_s", theirs.cross_fade_duration, "cross_fade_duration")
        _add(value, "trim_silence", theirs.remove_silence, "remove_silence")
        if "text" not in value:
            raise InvalidInput("gen_text is missing")
        return Translated(check(SynthesizeInput, value), _warnings(theirs, ignored))


def _with_one_name(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the input with the first of each group of synonyms."""
    renamed = dict(value)
    for synonym, name in _SYNONYMS.items():
        if synonym in renamed:
            _add(renamed, name, renamed.pop(synonym), synonym)
    return renamed


def _add(value: dict[str, Any], name: str, given: object, given_as: str) -> None:
    """Set a field that was given by another name, unless it is absent."""
    if given is None:
        return
    if value.get(name) is not None:
        raise InvalidInput(f"give either {given_as} or {name}")
    value[name] = given


def _reference(theirs: UpstreamInput) -> dict[str, Any] | None:
    """Return the native reference; without words, as upstream does, the recogniser writes them."""
    transcript = theirs.ref_text if theirs.ref_text and theirs.ref_text.strip() else None
    if theirs.ref_audio is not None:
        return {"audio": theirs.ref_audio, "transcript": transcript}
    if transcript is not None:
        raise InvalidInput("ref_audio is missing; ref_text are the words in it")
    return None


def _warnings(theirs: UpstreamInput, ignored: list[str]) -> tuple[str, ...]:
    used = theirs.model_dump(exclude_none=True)
    names = ", ".join(f"{name} is {here}" for name, here in _NAMES.items() if name in used)
    warnings = [f"read as F5-TTS's own names: {names}"] if names else []
    if "fix_duration" in ignored:
        ignored = [name for name in ignored if name != "fix_duration"]
        warnings.append("fix_duration ignored: it counts the reference, too; fix_duration_s is of the speech alone")
    if ignored:
        warnings.append(f"{', '.join(ignored)} ignored: this worker has no such option")
    return tuple(warnings)
