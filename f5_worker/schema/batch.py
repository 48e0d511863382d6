"""The request `batch`: many texts in one job, each with a result or an error of its own."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from f5_worker.schema.faults import show
from f5_worker.schema.voices import KeyedInput

MAX_ITEMS = 500
MAX_BATCH_CHARS = 200_000  # ten of the longest texts, about four hours of speech
MAX_ID_CHARS = 64
MAX_AT_ONCE = 32


class BatchInput(KeyedInput, BaseModel):
    """`action: "batch"`: speak many texts; each has its own result or error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)

    action: Literal["batch"]
    items: list[Any] = Field(
        min_length=1, max_length=MAX_ITEMS, description="1..500 objects: the fields of `synthesize`, and an `id`."
    )
    defaults: dict[str, Any] = Field(
        default_factory=dict, description="Fields of `synthesize` for all items; those of an item come first."
    )

    resume_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = Field(
        None, description="A name of your own: sent again with it, finished items are found and not spoken again."
    )
    at_once: int | None = Field(
        None,
        ge=1,
        le=MAX_AT_ONCE,
        description="Items that are spoken at a time: 32, fewer beside many other batches; with `resume_key` 1, so "
        "that one is lost at most.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> BatchInput:
        given = [item["id"] for item in self.items if isinstance(item, dict) and "id" in item]
        if wrong := [name for name in given if not _is_id(name)]:
            raise ValueError(f"the id {show(wrong[0])} is not a text of 1..{MAX_ID_CHARS} characters that can be seen")
        if twice := [name for name, count in Counter(self.ids).items() if count > 1]:
            raise ValueError(
                f"the id {show(twice[0])} stands for {Counter(self.ids)[twice[0]]} items; give each its own"
            )
        if self.n_chars > MAX_BATCH_CHARS:
            raise ValueError(
                f"the texts have {self.n_chars:,} characters, at most {MAX_BATCH_CHARS:,}; send them in several batches"
            )
        return self

    @cached_property
    def ids(self) -> list[str]:
        """Return the id of each item; without one it is the index."""
        return [
            item["id"] if isinstance(item, dict) and "id" in item else str(index)
            for index, item in enumerate(self.items)
        ]

    @property
    def n_at_once(self) -> int:
        """Return how many items are spoken at a time."""
        return self.at_once or (MAX_AT_ONCE if self.resume_key is None else 1)

    @cached_property
    def n_chars(self) -> int:
        """Return the length of all texts."""
        texts = ({**self.defaults, **item}.get("text") for item in self.items if isinstance(item, dict))
        return sum(len(text) for text in texts if isinstance(text, str))


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS and value.isprintable() and bool(value.strip())
