"""What requests say of checking the speech before it is sent: `verify`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_TAKES = 5


class VerifyInput(BaseModel):
    """Rules by which each segment's speech is compared with its text, and what follows if it differs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)

    max_wer: float = Field(0.1, ge=0, le=1, description="Share of a segment's words that may be wrong, 0..1.")
    max_run: int = Field(2, ge=0, le=100, description="Wrong words in a row that a segment may have, 0..100.")
    min_similarity: float | None = Field(
        None, ge=0, le=1, description="How like its reference the voice has to be, 0..1; other voices reach 0.72."
    )
    takes: int = Field(
        3, ge=1, le=MAX_TAKES, description="How often a segment is spoken at most, 1..5; the best take is kept."
    )
    on_failure: Literal["warn", "fail"] = Field(
        "warn", description="What a segment that is still wrong leads to: a warning, or an error instead of a result."
    )


def _read_switch(value: Any) -> Any:
    """Return a boolean as what it stands for."""
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, dict | VerifyInput | None):
        raise ValueError('send true, false or an object such as {"takes": 3}')
    return value


def _add_switch(schema: dict[str, Any]) -> None:
    schema["anyOf"].append({"type": "boolean"})


Verify = Annotated[VerifyInput | None, BeforeValidator(_read_switch), Field(json_schema_extra=_add_switch)]


class VerifyFields(BaseModel):
    """The field that asks for checked speech. `false`, unlike an absent field, also where F5_VERIFY is set."""

    model_config = ConfigDict(defer_build=True)

    verify: Verify = Field(
        None,
        description="Have a recogniser check each segment before it is sent, and speak again what is wrong: `true`, or "
        "`{max_wer, max_run, min_similarity, takes, on_failure}`.",
    )

    @property
    def verify_fields(self) -> dict[str, Any]:
        """Return the field for another request, if it was given."""
        return {"verify": self.verify or False} if "verify" in self.model_fields_set else {}

    def verify_or(self, by_default: bool) -> VerifyInput | None:
        """Return how the speech is checked, or None for not at all. `by_default`: what an absent field stands for."""
        if self.verify is None and by_default and "verify" not in self.model_fields_set:
            return VerifyInput()
        return self.verify
