"""Seeds of takes and of segments, from the job's seed and their index alone, never from global state."""

from __future__ import annotations

import hashlib


def segment_seed(seed: int, index: int) -> int:
    """Return a 63-bit seed for segment `index` of a job, the range that torch's generators take."""
    digest = hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def take_seed(seed: int, take: int) -> int:
    """Return the seed with which a job speaks as its take number `take` does; the first, 0, has the job's own."""
    digest = hashlib.blake2b(f"{seed}/take/{take}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") if take else seed
