"""The seed of each segment, from the job's seed and the segment's index alone, never from global state."""

from __future__ import annotations

import hashlib


def segment_seed(seed: int, index: int) -> int:
    """Return a 63-bit seed for segment `index` of a job, the range that torch's generators take."""
    digest = hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
