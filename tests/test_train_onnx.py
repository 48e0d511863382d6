"""Kokoro's graph run with torch: the operators give what ONNX Runtime gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scripts.train_tiny.onnx_torch import OnnxGraph

onnx = pytest.importorskip("onnx", reason="only making training speech needs it")
ort = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(1)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def values(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


# Nodes from `x` [2 3 8] to `y`: operator, further inputs, attributes.
CHAINS: dict[str, list[tuple[str, list[Any], dict[str, Any]]]] = {
    "convolution": [
        ("Conv", [values(4, 3, 3), values(4)],
         {"pads": [1, 1], "strides": [1], "dilations": [1], "group": 1, "kernel_shape": [3]}),
        ("LeakyRelu", [], {"alpha": 0.1}),
        ("ConvTranspose", [values(4, 2, 4), values(2)],
         {"pads": [1, 1], "strides": [2], "dilations": [1], "group": 1, "kernel_shape": [4]}),
    ],
    "shapes": [
        ("Transpose", [], {"perm": [0, 2, 1]}),
        ("Slice", [ints(1), ints(7), ints(1), ints(2)], {}),
        ("Unsqueeze", [ints(0)], {}),
        ("Squeeze", [ints(0)], {}),
        ("Gather", [ints(1, -1)], {"axis": 1}),
        ("Reshape", [ints(0, -1)], {}),
    ],
    "reductions": [
        ("ReduceMean", [ints(-1)], {"keepdims": 1}),
        ("Pow", [np.float32(2)], {}),
        ("Sqrt", [], {}),
        ("Expand", [ints(2, 3, 5)], {}),
        ("CumSum", [np.int64(2)], {}),
        ("Softmax", [], {"axis": 1}),
    ],
    "resizing": [
        ("Pad", [ints(0, 0, 2, 0, 0, 3)], {"mode": "reflect"}),
        ("Resize", [np.array([], np.float32), np.array([1, 1, 2], np.float32)],
         {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}),
        ("Clip", [np.float32(-0.5), np.float32(0.5)], {}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_operators_give_what_onnx_runtime_gives(name: str, tmp_path: Path) -> None:
    nodes, constants, at = [], [], "x"
    for index, (op, more, attributes) in enumerate(CHAINS[name]):
        names = [f"c{index}.{i}" for i in range(len(more))]
        constants += [onnx.numpy_helper.from_array(np.asarray(v), n) for v, n in zip(more, names, strict=True)]
        nodes.append(onnx.helper.make_node(op, [at, *names], [f"t{index}"], **attributes))
        at = f"t{index}"
    signature = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in ("x", at)]
    graph = onnx.helper.make_graph(nodes, "chain", signature[:1], signature[1:], constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, str(tmp_path / "chain.onnx"))
    x = values(2, 3, 8)
    (theirs,) = ort.InferenceSession(str(tmp_path / "chain.onnx")).run(None, {"x": x})
    (ours,) = OnnxGraph(tmp_path / "chain.onnx", [at], torch.device("cpu"))({"x": torch.from_numpy(x)})
    assert ours.shape == theirs.shape
    assert np.allclose(ours.numpy(), theirs, atol=1e-5)
