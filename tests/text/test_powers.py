"""Powers in the words of a language."""

from __future__ import annotations

import pytest

from f5_worker.text.powers import read_powers
from f5_worker.text.spans import SourceMappedText


@pytest.mark.parametrize(
    ("language", "written", "read"),
    [
        ("en", "2^10 is", "2 to the power of 10 is"),
        ("en", "10^-3, 10^+6. x^n", "10 to the power of minus 3, 10 to the power of 6. x to the power of n"),
        ("en", "x^2, 5^3, 2^-3, 2^33", "x squared, 5 cubed, 2 to the power of minus 3, 2 to the power of 33"),
        ("en", "2^(-3), (a)^2.5", "2 to the power of minus 3, (a) to the power of 2.5"),
        ("en", "^2 a^ 2^word 2^(3+1)", "^2 a^ 2^word 2^(3+1)"),
        ("en", "2**10, a ** b", "2 to the power of 10, a ** b"),
        ("de", "2^10", "2 hoch 10"),
        ("zh", "2^10是", "2的10次方是"),
        ("nl", "2^10", "2^10"),
    ],
)
def test_powers(language: str, written: str, read: str) -> None:
    assert read_powers(SourceMappedText.of(written), language).text == read
