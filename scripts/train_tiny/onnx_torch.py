"""Run Kokoro's int8 ONNX export with torch, so that a GPU speaks a hundred times faster than a CPU core.

Weights stay as they are in the file; activations are not quantized. Shapes and token numbers stay on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Values = list[Any]
_TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool}


class OnnxGraph:
    """A graph of the operators that Kokoro's export has."""

    def __init__(self, model: Path, outputs: list[str], device: torch.device) -> None:
        import onnx
        from onnx import helper, numpy_helper

        graph = onnx.load(str(model)).graph
        self.device, self.outputs = device, outputs or [o.name for o in graph.output]
        self.constants: dict[str, Tensor] = {}
        for initializer in graph.initializer:
            value = torch.from_numpy(numpy_helper.to_array(initializer).copy())
            # Single numbers stay on the CPU, where reading them does not wait for the GPU.
            self.constants[initializer.name] = value.to(device) if value.is_floating_point() and value.ndim else value
        self.nodes = []
        for node in graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "ConstantOfShape":
                attributes["value"] = torch.from_numpy(numpy_helper.to_array(attributes["value"]).copy())
            self.nodes.append((node.op_type, list(node.input), list(node.output), attributes))
        self.cache: dict[str, Any] = {}
        self._fold()

    def _fold(self) -> None:
        """Compute what depends on nothing, drop what no output needs, and note where each value is used last."""
        kept = []
        for op, inputs, outputs, attributes in self.nodes:
            if all(not name or name in self.constants for name in inputs) and op != "DynamicQuantizeLSTM":
                self._store(self.constants, op, inputs, outputs, attributes)
            else:
                kept.append((op, inputs, outputs, attributes))
        needed, self.nodes = set(self.outputs), []
        for op, inputs, outputs, attributes in reversed(kept):
            if needed & set(outputs):
                self.nodes.append(
                    (op, inputs, outputs, attributes, [i for i in dict.fromkeys(inputs) if i not in needed])
                )
                needed |= set(inputs)
        self.nodes.reverse()

    @torch.inference_mode()
    def __call__(self, feeds: dict[str, Tensor]) -> list[Tensor]:
        values = dict(feeds)
        for op, inputs, outputs, attributes, spent in self.nodes:
            self._store(values, op, inputs, outputs, attributes)
            for name in spent:
                values.pop(name, None)
        return [values[name] for name in self.outputs]

    def _store(self, values: dict[str, Any], op: str, inputs: list[str], outputs: list[str], attributes: Any) -> None:
        arguments = [None if not i else values[i] if i in values else self.constants[i] for i in inputs]
        if op in ("MatMulInteger", "ConvInteger"):
            arguments = [arguments[0].to(self.device), self._weight(inputs[1], inputs[3])]
        elif op == "DynamicQuantizeLSTM":
            result = self._lstm(inputs, arguments)
            values.update(zip(outputs, result, strict=False))
            return
        elif op not in _KEEP_APART:
            arguments = _together(arguments, self.device, numbers_too=op == "Where")
        result = OPERATORS[op](arguments, attributes)
        if isinstance(result, tuple):
            values.update(zip(outputs, result, strict=False))
        else:
            values[outputs[0]] = result

    def _weight(self, name: str, zero: str) -> Tensor:
        if name not in self.cache:
            weight = self.constants[name].float() - self.constants[zero].float()
            self.cache[name] = weight.to(self.device)
        return self.cache[name]

    def _lstm(self, inputs: list[str], arguments: Values) -> tuple[Tensor, ...]:
        if inputs[1] not in self.cache:
            w, r, b = arguments[1].float(), arguments[2].float(), arguments[3]
            w, r = ((t - z.float().view(-1, 1, 1)) * s.cpu().view(-1, 1, 1) for t, s, z in (
                (w, arguments[8], arguments[9]), (r, arguments[10], arguments[11])))  # fmt: skip
            size = r.shape[1]
            lstm = torch.nn.LSTM(w.shape[1], size, bidirectional=True)
            order = torch.cat([torch.arange(k * size, (k + 1) * size) for k in (0, 2, 3, 1)])  # iofc -> ifco
            with torch.no_grad():
                for d, suffix in enumerate(("", "_reverse")):
                    getattr(lstm, f"weight_ih_l0{suffix}").copy_(w[d].T[order])
                    getattr(lstm, f"weight_hh_l0{suffix}").copy_(r[d].T[order])
                    getattr(lstm, f"bias_ih_l0{suffix}").copy_(b[d, : 4 * size].cpu()[order])
                    getattr(lstm, f"bias_hh_l0{suffix}").copy_(b[d, 4 * size :].cpu()[order])
            self.cache[inputs[1]] = lstm.to(self.device).eval()
        x = arguments[0].to(self.device)
        y, (h, c) = self.cache[inputs[1]](x)
        return y.view(*y.shape[:2], 2, -1).transpose(1, 2), h, c


_KEEP_APART = frozenset(
    "Shape Gather Reshape Slice Expand Unsqueeze Squeeze Split Resize Pad ConstantOfShape STFT ReduceMean ReduceSum "
    "CumSum Cast ScatterND".split()
)


def _together(arguments: Values, device: torch.device, *, numbers_too: bool) -> Values:
    """Move what is on the CPU to the GPU, where one argument is there; single numbers may stay."""
    if all(a is None or a.device.type == "cpu" for a in arguments):
        return arguments
    return [a if a is None or (a.ndim == 0 and not numbers_too) else a.to(device) for a in arguments]


def _ints(value: Tensor) -> list[int]:
    return [int(v) for v in value.reshape(-1).tolist()]


def _cast(a: Values, k: Any) -> Tensor:
    wanted = _TYPES[k["to"]]
    value = a[0] if a[0].dtype == wanted else a[0].to(wanted)
    return value.cpu() if wanted == torch.int64 else value  # lengths and positions


def _gather(a: Values, k: Any) -> Tensor:
    axis, (data, index) = k.get("axis", 0), a
    index = index.to(data.device)
    index = torch.where(index < 0, index + data.shape[axis], index)
    if index.ndim == 0:
        return data.select(axis, int(index))
    found = data.index_select(axis, index.reshape(-1))
    return found.reshape(*data.shape[:axis], *index.shape, *data.shape[axis + 1 :])


def _reshape(a: Values, k: Any) -> Tensor:
    wanted = [a[0].shape[i] if size == 0 else size for i, size in enumerate(_ints(a[1]))]
    return a[0].reshape(wanted)


def _slice(a: Values, k: Any) -> Tensor:
    starts, ends = _ints(a[1]), _ints(a[2])
    axes = _ints(a[3]) if len(a) > 3 and a[3] is not None else list(range(len(starts)))
    steps = _ints(a[4]) if len(a) > 4 else [1] * len(starts)
    cut: list[Any] = [slice(None)] * a[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 0:
            raise NotImplementedError("a slice backwards")
        cut[axis] = slice(start, min(end, 1 << 60), step)
    return a[0][tuple(cut)]


def _unsqueeze(a: Values, k: Any) -> Tensor:
    value = a[0]
    for axis in sorted(_ints(a[1])):
        value = value.unsqueeze(axis)
    return value


def _squeeze(a: Values, k: Any) -> Tensor:
    return a[0].squeeze(tuple(_ints(a[1])))


def _resize(a: Values, k: Any) -> Tensor:
    scales = a[2].tolist()[2:]
    if k["mode"] == b"nearest":
        return F.interpolate(a[0], scale_factor=scales, mode="nearest")
    return F.interpolate(a[0], scale_factor=scales, mode="linear", align_corners=False)


def _pad(a: Values, k: Any) -> Tensor:
    pads, value = _ints(a[1]), a[0]
    half = len(pads) // 2
    before, after = pads[half - 1], pads[-1]
    if any(pads[: half - 1]) or any(pads[half:-1]):
        raise NotImplementedError("padding of more than the last dimension")
    flat = value.reshape(1, -1, value.shape[-1])
    return F.pad(flat, (before, after), mode="reflect").reshape(*value.shape[:-1], -1)


def _stft(a: Values, k: Any) -> Tensor:
    signal, step, window, size = a[0], int(a[1]), a[2], int(a[3])
    signal = signal.reshape(signal.shape[0], -1)
    spectrum = torch.stft(signal, size, step, size, window, center=False, onesided=True, return_complex=True)
    parts = torch.view_as_real(spectrum.transpose(1, 2)).clone()
    real = parts[..., 0]
    real[real == 0] = 1e-20  # the graph divides by it
    return parts


def _conv(a: Values, k: Any, bias: Tensor | None = None) -> Tensor:
    pads = k["pads"]
    x = F.pad(a[0], (pads[0], pads[-1])) if pads[0] != pads[-1] else a[0]
    padding = pads[0] if pads[0] == pads[-1] else 0
    return F.conv1d(x, a[1], bias, k["strides"], padding, k["dilations"], k["group"])


def _conv_transpose(a: Values, k: Any) -> Tensor:
    bias = a[2] if len(a) > 2 else None
    extra = k.get("output_padding", [0])
    return F.conv_transpose1d(a[0], a[1], bias, k["strides"], k["pads"][0], extra, k["group"], k["dilations"])


def _scatter(a: Values, k: Any) -> Tensor:
    data = a[0].clone()
    data[tuple(a[1].to(data.device).unbind(-1))] = a[2].to(data.device)
    return data


def _divide(a: Values, k: Any) -> Tensor:
    whole = not a[0].is_floating_point() and not a[1].is_floating_point()
    return torch.div(a[0], a[1], rounding_mode="trunc") if whole else a[0] / a[1]


def _mean(a: Values, k: Any) -> Tensor:
    return a[0].mean(_ints(a[1]), keepdim=bool(k["keepdims"]))


def _range(a: Values, k: Any) -> Tensor:
    return torch.arange(int(a[0]), int(a[1]), int(a[2]))


def _skip_norm(a: Values, k: Any) -> Tensor:
    x = a[0] + a[1]
    return F.layer_norm(x, x.shape[-1:], a[2], a[3], k["epsilon"])


def _quantized(a: Values, k: Any) -> tuple[Tensor, Tensor, Tensor]:
    return a[0], torch.tensor(1.0), torch.tensor(0)


def _dequantized(a: Values, k: Any) -> Tensor:
    return (a[0].float() - a[2].float()).to(a[1].device) * a[1]


def _expand(a: Values, k: Any) -> Tensor:
    return a[0] * torch.ones(_ints(a[1]), dtype=a[0].dtype, device=a[0].device)


def _fused_matmul(a: Values, k: Any) -> Tensor:
    left = a[0].transpose(-1, -2) if k["transA"] else a[0]
    return k["alpha"] * (left @ a[1])


OPERATORS: dict[str, Callable[[Values, Any], Any]] = {
    "Add": lambda a, k: a[0] + a[1],
    "And": lambda a, k: a[0] & a[1],
    "Atan": lambda a, k: a[0].atan(),
    "Cast": _cast,
    "Clip": lambda a, k: a[0].clamp(None if a[1] is None else float(a[1]), None if a[2] is None else float(a[2])),
    "Concat": lambda a, k: torch.cat(a, k["axis"]),
    "ConstantOfShape": lambda a, k: k["value"].expand(_ints(a[0])).clone(),
    "Conv": lambda a, k: _conv(a, k, a[2]),
    "ConvInteger": _conv,
    "ConvTranspose": _conv_transpose,
    "Cos": lambda a, k: a[0].cos(),
    "CumSum": lambda a, k: a[0].cumsum(int(a[1])),
    "DequantizeLinear": _dequantized,
    "Div": _divide,
    "DynamicQuantizeLinear": _quantized,
    "Equal": lambda a, k: a[0] == a[1],
    "Exp": lambda a, k: a[0].exp(),
    "Expand": _expand,
    "FastGelu": lambda a, k: F.gelu(a[0] + a[1], approximate="tanh"),
    "Floor": lambda a, k: a[0].floor(),
    "FusedMatMul": _fused_matmul,
    "Gather": _gather,
    "Greater": lambda a, k: a[0] > a[1],
    "GreaterOrEqual": lambda a, k: a[0] >= a[1],
    "LayerNormalization": lambda a, k: F.layer_norm(a[0], a[0].shape[-1:], a[1], a[2], k["epsilon"]),
    "LeakyRelu": lambda a, k: F.leaky_relu(a[0], k["alpha"]),
    "Less": lambda a, k: a[0] < a[1],
    "MatMul": lambda a, k: a[0] @ a[1],
    "MatMulInteger": lambda a, k: a[0] @ a[1],
    "Mul": lambda a, k: a[0] * a[1],
    "NonZero": lambda a, k: a[0].nonzero().T,
    "Pad": _pad,
    "Pow": lambda a, k: a[0] * a[0] if a[1].ndim == 0 and float(a[1]) == 2 else a[0] ** a[1],
    "Range": _range,
    "ReduceMean": _mean,
    "ReduceSum": lambda a, k: a[0].sum(_ints(a[1]), keepdim=bool(k["keepdims"])),
    "Reshape": _reshape,
    "Resize": _resize,
    "Round": lambda a, k: a[0].round(),
    "STFT": _stft,
    "ScatterND": _scatter,
    "Shape": lambda a, k: torch.tensor(a[0].shape),
    "Sigmoid": lambda a, k: a[0].sigmoid(),
    "Sin": lambda a, k: a[0].sin(),
    "SkipLayerNormalization": _skip_norm,
    "Slice": _slice,
    "Softmax": lambda a, k: a[0].softmax(k["axis"]),
    "Split": lambda a, k: a[0].split(_ints(a[1]), k["axis"]),
    "Sqrt": lambda a, k: a[0].sqrt(),
    "Squeeze": _squeeze,
    "Sub": lambda a, k: a[0] - a[1],
    "Tanh": lambda a, k: a[0].tanh(),
    "Transpose": lambda a, k: a[0].permute(k["perm"]),
    "Unsqueeze": _unsqueeze,
    "Where": lambda a, k: torch.where(*a),
}  # fmt: skip
