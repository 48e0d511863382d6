"""Which contract a job's input is written in."""

from __future__ import annotations

from collections.abc import Mapping

from f5_worker.api.legacy import LegacyContract, is_legacy
from f5_worker.api.native import Contract
from f5_worker.api.openai import OpenAIContract, is_openai
from f5_worker.api.upstream import UpstreamContract, is_upstream


def contract_of(value: object, job_id: str) -> Contract:
    """Return the contract of a job's input; `Contract.read` then parses it."""
    if isinstance(value, Mapping) and is_openai(value):
        return OpenAIContract(value, job_id)
    if isinstance(value, Mapping) and is_legacy(value):
        return LegacyContract(value, job_id)
    if isinstance(value, Mapping) and is_upstream(value):
        return UpstreamContract(value, job_id)
    return Contract(value, job_id)
