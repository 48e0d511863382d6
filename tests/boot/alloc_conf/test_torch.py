"""The parser against that of the installed torch, on random strings. Neither needs a GPU.

What torch refuses at its first use of CUDA is asked of the function behind `torch.cuda.memory`; what ends the process
of `import torch`, of the library alone, in a process for each string.
"""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from f5_worker.boot.alloc_conf.check import installed_torch_version
from f5_worker.boot.alloc_conf.options import MODERN, OPTIONS, release_of
from f5_worker.boot.alloc_conf.parser import judge

RELEASE, _ = release_of(installed_torch_version())
TORCH = importlib.util.find_spec("torch")
HAS_CUDA = TORCH is not None and Path(str(TORCH.origin)).with_name("lib").joinpath("libc10_cuda.so").exists()
CASES = 400
KEYS = [*OPTIONS, "foo", "", "max_split_size", "Backend"]
WORDS = (
    "True False true 1 0 20 19 21 512 -1 +5 007 1e3 0.5 .5 1.0 nan inf 0x10 0x1p-2 8 128 256 3 native cudaMallocAsync "
    '40G 10 11 99999999999999999999 2147483648 "5" 5; 5] [5] 1e-310 1e400 -0.5 [] [256:1,512:2,>:4] [256:0] [:2] '
    "[256:1 [256:1,] [256:1]] [>:3] [a:1] [64:8,>:2,128:4] [131072:1] [64:8:2] [64,8]"
)
VALUES = [*WORDS.split(), " 5", "5 5", "\t7", "5\r", "[ 64 : 8 ]"]

# Reads the strings from stdin and prints what became of each: ok, reject or abort. Forked: a string may end a process,
# and leaves its values in the library.
PROGRAM = """
import ctypes, glob, json, os, site, sys
how, outcomes = sys.argv[1], []
if how == "parse":
    import torch
    act = torch._C._accelerator_setAllocatorSettings
else:
    root = site.getsitepackages()[0]
    for path in glob.glob(root + "/nvidia/**/libcudart.so*", recursive=True):
        ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
    ctypes.CDLL(root + "/torch/lib/libc10.so", ctypes.RTLD_GLOBAL)
    def act(text):
        os.environ["PYTORCH_CUDA_ALLOC_CONF"] = text
        ctypes.CDLL(root + "/torch/lib/libc10_cuda.so")
for text in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            act(text)
        except BaseException:
            os._exit(1)
        os._exit(0)
    outcomes.append({0: "ok", 1: "reject", -6: "abort"}[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])])
print(json.dumps(outcomes))
"""


def strings() -> list[str]:
    """Strings of one to three pairs, some with a character too many or too few."""
    draw = random.Random(0)
    found: set[str] = set()
    while len(found) < CASES:
        colon = draw.choice([*":" * 15, "=", "::", " : ", ","])
        pairs = [draw.choice(KEYS) + colon + draw.choice(VALUES) for _ in range(draw.choice((1, 1, 2, 3)))]
        text = draw.choice([*"," * 12, ";", " ", ":", ",,", "\n"]).join(pairs) + draw.choice(("",) * 9 + (",",))
        if draw.random() < 0.2:
            at = draw.randrange(len(text) + 1)
            text = text[:at] + draw.choice(("", *',:[] "\tx')) + text[at + draw.randrange(2) :]
        found.add(text)
    return sorted(found)


def outcomes(how: str, texts: list[str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], input=json.dumps(texts), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not HAS_CUDA, reason="torch is built without CUDA")
@pytest.mark.skipif(RELEASE < MODERN, reason="older releases read the string at their first use of a GPU")
@pytest.mark.parametrize("how", ["parse", "load"])
def test_torch_says_the_same(how: str) -> None:
    texts = strings()
    verdicts = [judge(text, RELEASE).verdict for text in texts]
    if how == "parse":  # the library was loaded without the string: what would have ended it is refused
        expected = ["ok" if verdict == "ok" else "reject" for verdict in verdicts]
    else:
        expected = ["abort" if verdict == "abort" else "ok" for verdict in verdicts]
        assert 20 < expected.count("abort") < CASES - 20
    found = outcomes(how, texts)
    assert [pair for pair in zip(texts, found, expected, strict=True) if pair[1] != pair[2]] == []
