"""The way from cross-attention to the steps of tokens, against plain implementations of the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from f5_worker.models.whisper import attention
from f5_worker.models.whisper.attention import attention_matrix, token_starts


def plain_starts(matrix: NDArray[np.float32]) -> list[int]:
    """Dynamic time warping cell by cell, as openai/whisper's `dtw_cpu`."""
    costs = -matrix.astype(np.float64)
    n, m = costs.shape
    total = np.full((n + 1, m + 1), np.inf)
    trace = np.zeros((n + 1, m + 1), int)
    total[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            options = (total[i - 1, j - 1], total[i - 1, j], total[i, j - 1])
            trace[i, j] = int(np.argmin(options))
            total[i, j] = costs[i - 1, j - 1] + min(options)
    starts, i, j = [0] * n, n, m
    while i > 0:
        starts[i - 1] = j - 1
        i, j = ((i - 1, j - 1), (i - 1, j), (i, j - 1))[trace[i, j]] if j > 0 else (i - 1, 0)
    return starts


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 6), (5, 40), (12, 9), (30, 200)])
@pytest.mark.parametrize("seed", range(5))
def test_warping_is_that_of_the_cell_by_cell_programme(shape: tuple[int, int], seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    assert token_starts(matrix).tolist() == plain_starts(matrix)


def test_a_clear_path_is_followed() -> None:
    matrix = np.zeros((4, 20), np.float32)
    for token, (begin, end) in enumerate([(0, 3), (3, 9), (9, 10), (10, 20)]):
        matrix[token, begin:end] = 1.0
    assert token_starts(matrix).tolist() == [0, 3, 9, 10]


def plain_matrix(queries: torch.Tensor, keys: torch.Tensor) -> NDArray[np.float32]:
    """One row as openai/whisper computes it."""
    from scipy.ndimage import median_filter

    weights = (queries @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5).softmax(-1).numpy()
    weights = (weights - weights.mean(-2, keepdims=True)) / weights.std(-2, keepdims=True)
    smoothed = np.stack([median_filter(head, (1, 7), mode="mirror") for head in weights])
    return np.asarray(smoothed.mean(0), np.float32)


@pytest.mark.parametrize("max_elements", [attention.MAX_ELEMENTS, 1_000])
def test_rows_of_a_batch_are_what_they_are_alone(monkeypatch: pytest.MonkeyPatch, max_elements: int) -> None:
    monkeypatch.setattr(attention, "MAX_ELEMENTS", max_elements)
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(3, 5, 11, 8, generator=generator)
    keys = torch.randn(3, 5, 40, 8, generator=generator)
    tokens, steps = torch.tensor([11, 6, 9]), torch.tensor([40, 17, 8])
    found = attention_matrix(queries, keys, tokens, steps).numpy()
    for row, (n_tokens, n_steps) in enumerate(zip(tokens.tolist(), steps.tolist(), strict=True)):
        expected = plain_matrix(queries[row, :, :n_tokens], keys[row, :, :n_steps])
        np.testing.assert_allclose(found[row, :n_tokens, :n_steps], expected, atol=1e-5)


def test_very_few_steps() -> None:
    queries, keys = torch.ones(1, 1, 3, 4), torch.randn(1, 1, 2, 4)
    found = attention_matrix(queries, keys, torch.tensor([3]), torch.tensor([1]))
    assert torch.isfinite(found).all()
