"""Norms of an ONNX graph, so that runtimes average exactly over pictures with large areas of one colour.

ONNX Runtime on a CPU sums a norm's values one after the other in single precision. Of many equal values,
like those of a black half, every addition is rounded the same way: the mean drifts, by a hundred times what
PyTorch's does, and where values vary little the quotient is off by thousandths. Means of short rows, and then
of those, stay exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

#: Values that are averaged at once. Every norm of the encoder is over a multiple of 32×32.
ROW = 256


def split_norms(model: Any) -> int:
    """Write each ``InstanceNormalization`` of ``model`` as means of rows; return how many there were.

    They come from group norms: of values ``[B, groups, n]``, without a scale and a bias of their own.
    """
    from onnx import numpy_helper

    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    nodes = list(model.graph.node)
    known = {array.name: numpy_helper.to_array(array) for array in model.graph.initializer}
    for node in nodes:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            known[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    written = []
    count = 0
    for node in nodes:
        if node.op_type != "InstanceNormalization":
            written.append(node)
            continue
        scale, bias = (known.get(name) for name in node.input[1:])
        if scale is None or bias is None or (scale != 1).any() or bias.any():
            raise ValueError(f"{node.name}: a norm with a scale or a bias of its own")
        written += Norm(node, f"norm{count}", opset).nodes()
        count += 1
    used = {name for node in written for name in node.input} | {port.name for port in model.graph.output}
    # The scales and biases of the norms that were: runtimes warn of constants that nobody reads.
    written = [node for node in written if node.op_type != "Constant" or node.output[0] in used]
    del model.graph.node[:]
    model.graph.node.extend(written)
    kept = [array for array in model.graph.initializer if array.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return count


class Norm:
    """The nodes of one norm."""

    def __init__(self, node: Any, name: str, opset: int) -> None:
        self.node, self.name, self.opset = node, name, opset
        self.made: list[Any] = []

    def nodes(self) -> list[Any]:
        """``(x - mean) / sqrt(mean of squares + epsilon)``, in rows."""
        epsilon = next((float(a.f) for a in self.node.attribute if a.name == "epsilon"), 1e-5)
        rows = self.add("Reshape", "rows", self.node.input[0], self.constant("split", [0, 0, -1, ROW]))
        centred = self.add("Sub", "centred", rows, self.mean("mean", rows))
        variance = self.mean("variance", self.add("Mul", "square", centred, centred))
        padded = self.add("Add", "padded", variance, self.constant("epsilon", np.float32(epsilon)))
        normal = self.add("Div", "normal", centred, self.add("Sqrt", "deviation", padded))
        self.add("Reshape", None, normal, self.constant("join", [0, 0, -1]))
        return self.made

    def mean(self, name: str, values: str) -> str:
        """The mean of each group of ``values`` ``[B, groups, rows, ROW]``: of rows, then of their means."""
        for axis, part in ((3, f"{name}.rows"), (2, name)):
            if self.opset < 18:
                values = self.add("ReduceMean", part, values, axes=[axis], keepdims=1)
            else:
                axes = self.constant(f"{part}.axis", [axis])
                values = self.add("ReduceMean", part, values, axes, keepdims=1)
        return values

    def constant(self, name: str, value: Any) -> str:
        """A constant, of whole numbers where it is a list."""
        from onnx import numpy_helper

        array = np.array(value, np.int64 if isinstance(value, list) else None)
        return self.add("Constant", name, value=numpy_helper.from_array(array))

    def add(self, kind: str, name: str | None, *inputs: str, **attributes: Any) -> str:
        """A node with one output, the norm's own where it has no name; return the output."""
        from onnx import helper

        output = f"{self.name}.{name}" if name else self.node.output[0]
        self.made.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output
