"""verify_child.py without torch and GPU: the same protocol, for the small packages of release_server.py."""

import json
import math


def main() -> dict[str, object]:
    try:
        import flash_attn
        from flash_attn import flash_attn_func, flash_attn_varlen_func
    except Exception as error:  # noqa: BLE001 - as in verify_child.py
        return {"ok": False, "stage": "import", "error": f"{type(error).__name__}: {error}"}
    q, k, v = ([[math.sin(7 * row + 3 * i + start) for i in range(4)] for row in range(5)] for start in (0, 1, 2))

    def expected(q: list[list[float]], k: list[list[float]], v: list[list[float]]) -> list[float]:
        out = []
        for row in q:
            weights = [math.exp(sum(a * b for a, b in zip(row, key, strict=True)) / 2) for key in k]
            out += [sum(w * x[i] for w, x in zip(weights, v, strict=True)) / sum(weights) for i in range(4)]
        return out

    cases = {
        "dense": (flash_attn_func(q, k, v, dropout_p=0.0, causal=False), expected(q, k, v)),
        "varlen": (
            flash_attn_varlen_func(q, k, v, [0, 2, 5], [0, 2, 5], 3, 3),
            expected(q[:2], k[:2], v[:2]) + expected(q[2:], k[2:], v[2:]),
        ),
    }
    for name, (out, wanted) in cases.items():
        worst = max(abs(a - b) for a, b in zip([x for row in out for x in row], wanted, strict=True))
        if not worst < 1e-9:
            return {"ok": False, "stage": "compare", "error": f"{name} is off by {worst:.3g}"}
    return {"ok": True, "stage": "done", "error": None, "version": flash_attn.__version__}


print(json.dumps(main()))
