"""ElevenLabs' voices and models, as its clients write and read them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from f5_worker.api.native import Json
from f5_worker.errors import InvalidInput
from f5_worker.schema.requests import MAX_TEXT_CHARS
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


def new_voice(fields: Mapping[str, str], clips: Sequence[bytes]) -> Json:
    """Return the fields of the action `voices.add` for a form of `POST /v1/voices/add`.

    Its clients have no fields for what this worker needs besides: the labels `consent`, `transcript` and `language`.

    Raises:
        InvalidInput: there is no name, or not exactly one clip.
    """
    if len(clips) != 1:
        raise InvalidInput(f"the form has {len(clips)} files; send one clip, the part that is cloned is 4 to 12 s long")
    if not fields.get("name"):
        raise InvalidInput("name is missing")
    told = {**_labels(fields.get("labels", "")), **fields}
    return {
        "name": upload_names(fields["name"])[0],
        "audio": base64.b64encode(clips[0]).decode("ascii"),
        **{name: told[name] for name in ("consent", "transcript") if told.get(name)},
        **({"defaults": {"language": told["language"]}} if told.get("language") else {}),
    }


def _labels(value: str) -> dict[str, str]:
    try:
        labels = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return {name: text for name, text in labels.items() if isinstance(text, str)} if isinstance(labels, dict) else {}
