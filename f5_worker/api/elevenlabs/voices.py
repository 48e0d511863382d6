"""ElevenLabs' voices and models, as its clients write and read them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from f5_worker.api.native import Json
from f5_worker.errors import InvalidInput
from f5_worker.schema.requests import MAX_TEXT_CHARS, Input
from f5_worker.voices.naming import upload_names


def voice_fields(facts: Mapping[str, Any]) -> Json:
    """Return what ElevenLabs' clients read of a voice, out of what the action `voices.get` says."""
    defaults = facts.get("defaults", {})
    return {
        "voice_id": facts["name"],
        "name": facts["name"],
        "category": "cloned",
        "labels": {"language": defaults["language"]} if "language" in defaults else {},
        "settings": {"speed": defaults.get("speed", 1.0)},
    }


def model_fields(name: str) -> Json:
    """Return what ElevenLabs' clients read of a checkpoint."""
    return {
        "model_id": name,
        "name": name,
        "can_do_text_to_speech": True,
        "can_do_voice_conversion": False,
        "can_use_style": False,
        "can_use_speaker_boost": False,
        "languages": [],
        "maximum_text_length_per_request": MAX_TEXT_CHARS,
    }


class NewVoiceForm(Input, extra="ignore"):
    """The form of `POST /v1/voices/add`, and the fields that its clients can only send as labels."""

    name: str = Field(min_length=1, description="Any name; the voice's id is made from it: `My Voice` is `my_voice`.")
    files: list[bytes] = Field(default_factory=list, description="One clip.")
    labels: str = Field("", description="An object in JSON, which may have the fields below.")
    consent: str = Field("", description="As for `voices.add`.")
    transcript: str = Field("", description="As for `voices.add`.")
    language: str = Field("", description="Language of texts in this voice.")


def new_voice(form: NewVoiceForm) -> Json:
    """Return the fields of the action `voices.add` for a form.

    Raises:
        InvalidInput: there is not exactly one clip.
    """
    if len(form.files) != 1:
        raise InvalidInput(f"the form has {len(form.files)} files; send one clip of the voice")
    told = {
        **_labels(form.labels),
        **form.model_dump(include={"consent", "transcript", "language"}, exclude_defaults=True),
    }
    return {
        "name": upload_names(form.name)[0],
        "audio": base64.b64encode(form.files[0]).decode("ascii"),
        **{name: told[name] for name in ("consent", "transcript") if name in told},
        **({"defaults": {"language": told["language"]}} if "language" in told else {}),
    }


def _labels(value: str) -> dict[str, str]:
    try:
        labels = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return {name: text for name, text in labels.items() if isinstance(text, str)} if isinstance(labels, dict) else {}
