"""What captions have besides words: sounds and music for those who cannot hear them. Nothing of that is spoken."""

from __future__ import annotations

import re

from f5_worker.text.normalize import has_speech, normalize

_MAX_SOUND_CHARS = 100
_SOUND = re.compile(
    rf"\[[^\[\]]{{1,{_MAX_SOUND_CHARS}}}\]|【[^【】]{{1,{_MAX_SOUND_CHARS}}}】"
    # In round brackets at the edges of a sentence, `(sighs) Yes.`; not `(He sighs.)`, not `the man (my uncle) left`.
    rf"|(?:^|(?<=[.!?…♪\]-])\s{{0,3}})[(（][^()（）.!?]{{1,{_MAX_SOUND_CHARS}}}[)）](?=\s{{0,3}}(?:[A-Z\[♪\"'“¿¡-]|$))"
)
_NOTE = re.compile(r"[♩♪♫♬🎵🎶]+")
_SUNG = re.compile(r"#\s.*\s#")
_LOOSE_DASH = re.compile(r"(?:^|(?<=\s))[-–—](?=\s+[-–—]|\s*$)")
_NEXT_SPEAKER = re.compile(r"(?:^|(?<=\s))>{2,3}(?=\s*\w)")  # of live captions


def spoken_words(text: str) -> str:
    """Return the words of a cue that are spoken: without `[door slams]`, `(sighs)`, `♪ la la ♪`; empty if none are."""
    if _SUNG.fullmatch(text):
        return ""
    parts = _NOTE.split(text)
    # Notes are around what is sung; where one of them is missing, the song goes on in another cue.
    is_one_note_at_end = len(parts) == 2 and not parts[1].strip()
    spoken = "" if is_one_note_at_end else " ".join(parts[::2])
    without_sounds = _NEXT_SPEAKER.sub("", _SOUND.sub(" ", spoken))
    words = " ".join(_LOOSE_DASH.sub("", without_sounds).split())
    return words if is_speakable(words) else ""


def is_speakable(text: str) -> bool:
    """Return True for a text of which something is spoken, unlike `...`, `-` and an emoji."""
    return has_speech(normalize(text, expand=False).text)
