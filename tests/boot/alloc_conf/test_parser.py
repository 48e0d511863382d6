"""The parser's words: torch's own, in the release that says them, and our notes on what torch reads differently."""

from __future__ import annotations

import pytest

from f5_worker.boot.alloc_conf.check import ANY, CUDA, HIP, Problem, check, policy_of, resolve_environment
from f5_worker.boot.alloc_conf.numbers import NotANumber, stod
from f5_worker.boot.alloc_conf.parser import judge

ROUNDUP = "roundup_power2_divisions"
GOOD = "max_split_size_mb:512"

WORDS = [
    (f"{ROUNDUP}:[256:3]", 3, "reject", "For roundups, the divisons has to be power of 2 "),
    (f"{ROUNDUP}:[256:3]", 4, "reject", "For roundups, the divisions has to be power of 2 or 0 to disable roundup "),
    (f"{ROUNDUP}:[256:0]", 3, "reject", "For roundups, the divisons has to be power of 2 "),
    (f"{ROUNDUP}:[256:0]", 4, "ok", ""),
    (f"{ROUNDUP}:[3:2]", 4, "reject", "For roundups, the intervals have to be power of 2 "),
    (f"{ROUNDUP}:[3:2]", 12, "reject", "For roundups, the intervals have to be power of 2 "),
    (f"{ROUNDUP}:[256:2", 6, "reject", "Segmentation fault (torch reads past a list without closing ']')"),
    (f"{ROUNDUP}:[256:2", 7, "reject", "Error parsing CachingAllocator settings, expected ,"),
    (f"{ROUNDUP}:[x:2]", 4, "reject", "stoul"),
    (f"{ROUNDUP}:[x:2]", 12, "reject", "stoull"),
    (f"{ROUNDUP}:[256:x]", 4, "reject", "stoi"),
    (f"{ROUNDUP}:3", 3, "reject", "For roundups, the divisons has to be power of 2 "),
    (f"{ROUNDUP}:3", 4, "reject", "For roundups, the divisions has to be power of 2 "),
    (f"{ROUNDUP}:", 4, "reject", "Error, expecting roundup_power2_divisions value"),
    (f"{ROUNDUP}:[256", 4, "reject", "Error parsing CachingAllocator settings, expected :"),
    ("pinned_num_register_threads:3", 4, "reject", "Number of register threads has to be power of 2 "),
    ("pinned_num_register_threads:3", 12, "reject", "Number of register threads has to be power of 2, got 3"),
    ("pinned_num_register_threads:256", 4, "reject", "Number of register threads should be less than or equal to 128"),
    ("pinned_num_register_threads:129", 12, "reject", "Number of register threads has to be power of 2, got 129"),
    ("pinned_num_register_threads:128", 4, "ok", ""),
    ("pinned_num_register_threads:8x", 4, "ok", "pinned_num_register_threads:8x is read as 8; torch ignores 'x'"),
    ("backend:x", 4, "reject", "Unknown allocator backend, options are native and cudaMallocAsync"),
    ("backend:", 4, "reject", "Error parsing backend value"),
    (
        "backend:cudaMallocAsync",
        12,
        "ok",
        "backend:cudaMallocAsync makes torch ignore the options of its native allocator",
    ),
    (
        "backend: cudaMallocAsync",
        13,
        "ok",
        "backend:cudaMallocAsync makes torch ignore the options of its native allocator",
    ),
    (
        "backend:cudaMallocAsync,backend:native",
        12,
        "reject",
        "Allocator backend parsed at runtime != allocator backend parsed at load time",
    ),
    (
        "backend:native,backend:cudaMallocAsync",
        13,
        "reject",
        "Allocator backend parsed at runtime != allocator backend parsed at load time",
    ),
    ("backend:native", 13, "ok", ""),
    ("per_process_memory_fraction:1", 12, "ok", ""),
    ("per_process_memory_fraction:1.5", 12, "reject", "per_process_memory_fraction is invalid, set it in [0.0, 1.0]"),
    (
        "per_process_memory_fraction:0.5x",
        12,
        "ok",
        "per_process_memory_fraction:0.5x is read as 0.5; torch ignores 'x'",
    ),
    ("garbage_collection_threshold:1", 12, "reject", "garbage_collect_threshold is invalid, set it in (0.0, 1.0)"),
    ("garbage_collection_threshold:1", 4, "reject", "garbage_collect_threshold too big, set it 0.0~1.0"),
    ("garbage_collection_threshold:0", 4, "reject", "garbage_collect_threshold too small, set it 0.0~1.0"),
    (
        "garbage_collection_threshold:0.5x",
        4,
        "ok",
        "garbage_collection_threshold:0.5x is read as 0.5; torch ignores 'x'",
    ),
    ("garbage_collection_threshold:", 4, "reject", "Error, expecting garbage_collection_threshold value"),
    ("garbage_collection_threshold:-1", 4, "reject", "garbage_collect_threshold too small, set it 0.0~1.0"),
    ("expandable_segments_reserve:40G", 15, "ok", ""),
    ("expandable_segments_reserve:40g", 15, "ok", ""),
    ("expandable_segments_reserve:0.5", 15, "ok", ""),
    (
        "expandable_segments_reserve:G",
        15,
        "ok",
        "expandable_segments_reserve: torch ignores 'G', which has neither the form 0.5 nor the form 40G",
    ),
    (
        "expandable_segments_reserve:40M",
        15,
        "ok",
        "expandable_segments_reserve: torch ignores '40M', which has neither the form 0.5 nor the form 40G",
    ),
    (
        "expandable_segments_reserve:inf",
        15,
        "ok",
        "expandable_segments_reserve: torch ignores 'inf', which has neither the form 0.5 nor the form 40G",
    ),
    (
        "expandable_segments_reserve:0",
        15,
        "ok",
        "expandable_segments_reserve: torch ignores '0', which has neither the form 0.5 nor the form 40G",
    ),
    (
        "expandable_segments_reserve_by_class:[a:x,b:1G]",
        15,
        "ok",
        "expandable_segments_reserve_by_class: torch ignores 'x', which has neither the form 0.5 nor the form 40G",
    ),
    ("expandable_segments_reserve_by_class:[a=x]", 15, "reject", "Index out of bounds in ConfigTokenizer"),
    ("expandable_segments_reserve_by_class:(a:1]", 15, "abort", "Index out of bounds in ConfigTokenizer"),
    ("max_split_size_mb:20", 9, "reject", "CachingAllocator option max_split_size_mb too small, must be > 20"),
    ("max_split_size_mb:21", 9, "ok", ""),
    ("max_split_size_mb:20", 10, "ok", ""),
    ("max_split_size_mb:19", 10, "reject", "CachingAllocator option max_split_size_mb too small, must be >= 20"),
    ("max_split_size_mb:", 9, "reject", "Error, expecting max_split_size_mb value"),
    ("max_split_size_mb", 9, "reject", "Error parsing CachingAllocator settings, expected :"),
    ("expandable_segments:x", 9, "reject", "Expected a single True/False argument for expandable_segments"),
    ("expandable_segments:x", 12, "reject", "Expected 'True' or 'False' at index 2 in ConfigTokenizer but got 'x'"),
    ("expandable_segments:", 9, "reject", "Expected a single True/False argument for expandable_segments"),
    ("x:1", 9, "reject", "Unrecognized CachingAllocator option: x"),
    ("x:1", 12, "reject", "Unrecognized key 'x' in Accelerator allocator config."),
    ("large_segment_size_mb:10", 12, "reject", "CachingAllocator option large_segment_size_mb must be > 10 MB"),
    ("large_segment_size_mb:11", 12, "ok", ""),
    ("pinned_reserve_segment_size_mb:0", 12, "reject", "Pinned reserve segment size has to be greater than 0"),
    ("max_split_size_mb:[64", 12, "abort", "Expected closing bracket ']' in ConfigTokenizer but reached end of config"),
    (
        "max_split_size_mb:64 expandable_segments:True",
        9,
        "reject",
        "Error parsing CachingAllocator settings, expected ,",
    ),
    ("pinned_max_round_threshold_mb:256,pinned_max_cached_size_mb:256", 13, "ok", ""),
    (
        "pinned_max_round_threshold_mb:257,pinned_max_cached_size_mb:256",
        13,
        "ok",
        "pinned_max_round_threshold_mb is larger than pinned_max_cached_size_mb: sizes between them are never "
        "rounded up",
    ),
]


@pytest.mark.parametrize(("value", "release", "verdict", "words"), WORDS)
def test_words(value: str, release: int, verdict: str, words: str) -> None:
    outcome = judge(value, release)
    assert outcome.verdict == verdict
    assert [*outcome.notes, *([outcome.message] if outcome.message else [])] == ([words] if words else [])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0x1p-1074", 5e-324),
        ("0X1P-1", 0.5),
        ("0x0p1", 0.0),
        ("0X0", 0.0),
        ("-0xAp0", -10.0),
        ("0x.8", 0.5),
        ("2.2250738585072014e-308", 2.2250738585072014e-308),
        ("0.0e5", 0.0),
        ("0E5", 0.0),
        ("nan(1)", None),
        ("inf", float("inf")),
    ],
)
def test_a_number_that_strtod_reads(text: str, number: float | None) -> None:
    read, rest = stod(text)
    assert rest == ""
    assert read == number if number is not None else read != read


@pytest.mark.parametrize(
    "text",
    ["", "x", "1e400", "1E-400", "10e-400", "2.5e-310", "0x1p1024", "0x1p-2000", "0X1P-2000", "0xap-2000", "0XAP-2000"],
)
def test_a_number_that_stod_refuses(text: str) -> None:
    with pytest.raises(NotANumber) as caught:
        stod(text)
    assert caught.value.args == ("stod",)


@pytest.mark.parametrize(
    ("environ", "policy"),
    [
        ({}, "repair"),
        ({"F5_ALLOC_CONF_POLICY": ""}, "repair"),
        ({"F5_ALLOC_CONF_POLICY": " drop\n"}, "drop"),
        ({"F5_ALLOC_CONF_POLICY": "fail"}, "fail"),
        ({"F5_ALLOC_CONF_POLICY": "guess"}, "repair"),
    ],
)
def test_policy(environ: dict[str, str], policy: str) -> None:
    assert policy_of(environ) == policy


@pytest.mark.parametrize(
    ("version", "found"),
    [("2.99.0", "torch '2.99.0' was never measured"), (None, "no torch was found")],
)
def test_an_unmeasured_torch_is_said(version: str | None, found: str) -> None:
    words = f"{found}; the value was judged by the rules of torch 2.15"
    assert check(GOOD, version).problems == (Problem("warning", "", words),)


@pytest.mark.parametrize(
    ("version", "environ", "name", "words"),
    [
        ("2.9.1", {ANY: GOOD}, ANY, f"has no effect on CUDA in torch 2.9 and was removed; use {CUDA}"),
        ("2.10.0", {HIP: GOOD}, HIP, f"is for AMD GPUs and was removed; use {CUDA}"),
        (
            "2.10.0",
            {CUDA: "", ANY: GOOD},
            ANY,
            f"was removed: torch reads {CUDA} where both are set, even if it is empty",
        ),
    ],
)
def test_a_variable_that_torch_does_not_read(version: str, environ: dict[str, str], name: str, words: str) -> None:
    resolved = resolve_environment(environ, version)
    assert resolved.problems == (Problem("warning", name, f"{name}={GOOD!r} {words}"),)
    assert resolved.verdict.verdict == "ok"
    assert resolved.export is None
    assert name in resolved.unset
    resolved.apply({})  # a variable may be gone by then


def test_a_value_that_is_kept_is_not_unset() -> None:
    resolved = resolve_environment({CUDA: GOOD}, "2.10.0")
    assert (resolved.verdict.effective, resolved.export, resolved.unset) == (GOOD, GOOD, ())
