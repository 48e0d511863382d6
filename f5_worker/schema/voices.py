"""What requests say of voices: a voice's name in any script, and the key of the caller whose voices they are."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

MAX_VOICE_CHARS = 255  # a voice may be a file that was put there under any name
AnyVoiceName = Annotated[str, Field(min_length=1, max_length=MAX_VOICE_CHARS)]
KEY_FIELD = "voices_key"
MIN_KEY_CHARS, MAX_KEY_CHARS = 16, 200
VoicesKey = Annotated[
    SecretStr, Field(min_length=MIN_KEY_CHARS, max_length=MAX_KEY_CHARS)
]  # never part of a log line, an error, a repr


class KeyedInput(BaseModel):
    """A request about voices, which may be the caller's own."""

    model_config = ConfigDict(defer_build=True)

    voices_key: VoicesKey | None = Field(
        None, description="With `F5_VOICES_SCOPE=per_key`: your secret, under which your voices are stored and found."
    )
