"""Rebuild the image model of the npm package ``nsfwjs`` as one ONNX file.

::

    npm pack nsfwjs@4.3.0 && tar -xzf nsfwjs-4.3.0.tgz
    python tools/build_classifier.py package uploadsvc/verify/data/nsfw_mobilenet_v2.onnx

The package holds a Keras MobileNetV2 as two minified scripts: the layers with a list of weights,
and the weights themselves as base64, eight bits each with a scale and a minimum per tensor. The
kernels stay eight bits wide here and are widened by nodes of the graph (Cast, Mul, Add), which
onnxruntime folds away once, when it loads the file; DequantizeLinear it would by default keep
and run for every picture. The vectors (biases, normalisation) are small and written as float32:
widening each at load took longer than reading it.

The graph takes ``image``, uint8 [1, 224, 224, 3] RGB, and gives ``scores``, float32 [1, 5], in
the order of LABELS. Division by 255, which ``nsfwjs`` does in front of its model, is part of it.
``tools/compare_classifier.py`` shows that both give the same scores. Needs ``onnx``, which the
service itself does not.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LABELS = ("drawing", "hentai", "neutral", "porn", "sexy")
FOLDER = Path("dist/models/mobilenet_v2")
OPSET = 17


def exported(script: str) -> str:
    """The one expression a browserify bundle assigns to ``exports``."""
    found = re.search(
        r"^.*\.exports=(.*)\},\{\}\]\},\{\},\[1\]\)\(1\)\}\);?\s*$", script, re.S
    )
    if found is None:
        raise ValueError("not a bundle with a single export")
    return found[1]


def as_json(literal: str) -> Any:
    """Read a minified object literal: bare keys, ``!0`` for true, ``.5`` for 0.5."""
    text = re.sub(r"([{,])([A-Za-z_$][\w$]*):", r'\1"\2":', literal)
    text = re.sub(r"([:,\[]-?)(\.\d)", r"\g<1>0\2", text)
    return json.loads(text.replace("!0", "true").replace("!1", "false"))


class Graph:
    """Nodes and tensors as they are emitted; every method gives the name of what it made."""

    def __init__(self, specs: list[dict[str, Any]], content: bytes) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.stored: dict[str, tuple[Any, Any]] = {}
        offset = 0
        for spec in specs:
            size = int(np.prod(spec["shape"]))
            raw = np.frombuffer(content, np.uint8, size, offset).reshape(spec["shape"])
            self.stored[spec["name"]] = raw, spec["quantization"]
            offset += size
        if offset != len(content):
            raise ValueError(
                f"{len(content) - offset} bytes of weights nobody asked for"
            )

    def node(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, value: Any) -> str:
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def weight(self, name: str, axes: tuple[int, ...] | None = None) -> str:
        """A stored tensor as float32: what TF.js makes of it, ``q * scale + min``."""
        raw, q = self.stored.pop(name)
        if raw.ndim == 1:
            wide = raw.astype(np.float32) * np.float32(q["scale"]) + np.float32(
                q["min"]
            )
            return self.constant(name, wide)
        stored = self.constant(
            f"{name}:q", raw if axes is None else raw.transpose(axes)
        )
        scale = self.constant(f"{name}:scale", np.float32(q["scale"]))
        least = self.constant(f"{name}:min", np.float32(q["min"]))
        wide = self.node("Cast", f"{name}:wide", stored, to=TensorProto.FLOAT)
        return self.node(
            "Add", name, self.node("Mul", f"{name}:scaled", wide, scale), least
        )

    def layer(
        self, kind: str, name: str, config: dict[str, Any], inputs: list[str]
    ) -> str:
        """Emit one Keras layer. Tensors are N x C x H x W here, N x H x W x C there."""
        match kind:
            case "InputLayer":
                wide = self.node("Cast", "wide", "image", to=TensorProto.FLOAT)
                full = self.constant("full", np.float32(255))
                shares = self.node("Div", "shares", wide, full)
                return self.node("Transpose", name, shares, perm=[0, 3, 1, 2])
            case "ZeroPadding2D":
                (top, bottom), (left, right) = config["padding"]
                pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
                return self.node(
                    "Pad", name, *inputs, self.constant(f"{name}:pads", pads)
                )
            case "Conv2D" | "DepthwiseConv2D":
                return self.convolution(kind, name, config, inputs[0])
            case "BatchNormalization":
                parts = ("gamma", "beta", "moving_mean", "moving_variance")
                weights = [self.weight(f"{name}/{part}") for part in parts]
                epsilon = config["epsilon"]
                return self.node(
                    "BatchNormalization", name, *inputs, *weights, epsilon=epsilon
                )
            case "ReLU":
                least = self.constant(f"{name}:least", np.float32(0))
                most = self.constant(f"{name}:most", np.float32(config["max_value"]))
                return self.node("Clip", name, *inputs, least, most)
            case "Add":
                return self.node("Add", name, *inputs)
            case "AveragePooling2D":
                size, strides = config["pool_size"], config["strides"]
                return self.node(
                    "AveragePool", name, *inputs, kernel_shape=size, strides=strides
                )
            case "Flatten":
                return self.node("Flatten", name, *inputs)
            case "Dropout":
                return inputs[0]
            case "Dense":
                weights = [self.weight(f"{name}/{part}") for part in ("kernel", "bias")]
                sums = self.node("Gemm", f"{name}:sums", *inputs, *weights)
                activation = {"relu": "Relu", "softmax": "Softmax"}[
                    config["activation"]
                ]
                return self.node(activation, name, sums)
        raise ValueError(f"{name} is a {kind}, which is not known here")

    def convolution(
        self, kind: str, name: str, config: dict[str, Any], image: str
    ) -> str:
        plain = ("linear", False, [1, 1])
        if (config["activation"], config["use_bias"], config["dilation_rate"]) != plain:
            raise ValueError(f"{name} is no plain convolution")
        size, strides = config["kernel_size"], config["strides"]
        if config["padding"] == "same" and strides != [1, 1]:
            raise ValueError(f"{name} would need uneven padding")
        pad = [(side - 1) // 2 if config["padding"] == "same" else 0 for side in size]
        if kind == "Conv2D":
            groups, kernel = 1, self.weight(f"{name}/kernel", (3, 2, 0, 1))
        else:
            stored = f"{name}/depthwise_kernel"
            groups = self.stored[stored][0].shape[2]
            kernel = self.weight(stored, (2, 3, 0, 1))
        shape = {"strides": strides, "pads": pad * 2, "group": groups}
        return self.node("Conv", name, image, kernel, **shape)


def sources(layer: dict[str, Any], made: dict[str, str]) -> Iterator[str]:
    for node in layer["inbound_nodes"]:
        for name, *_ in node:
            yield made[name]


def build(package: Path) -> onnx.ModelProto:
    """The ONNX model of an unpacked ``nsfwjs``. Raises ValueError if it is built otherwise."""
    described = as_json(exported((package / FOLDER / "model.min.js").read_text()))
    bundle = exported((package / FOLDER / "group1-shard1of1.min.js").read_text())
    specs = [
        spec for group in described["weightsManifest"] for spec in group["weights"]
    ]
    graph = Graph(specs, base64.b64decode(bundle.strip('"')))
    config = described["modelTopology"]["model_config"]["config"]
    made: dict[str, str] = {}
    for layer in config["layers"]:
        name, inputs = layer["name"], list(sources(layer, made))
        made[name] = graph.layer(layer["class_name"], name, layer["config"], inputs)
    if graph.stored:
        raise ValueError(f"weights of no layer: {', '.join(graph.stored)}")
    graph.node("Identity", "scores", made[config["output_layers"][0][0]])

    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 224, 224, 3])
    scores = helper.make_tensor_value_info(
        "scores", TensorProto.FLOAT, [1, len(LABELS)]
    )
    body = helper.make_graph(graph.nodes, "nsfwjs", [image], [scores], graph.tensors)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(body, opset_imports=opset, ir_version=8)
    version = json.loads((package / "package.json").read_text())["version"]
    model.producer_name, model.producer_version = "nsfwjs-mobilenet-v2", version
    model.doc_string = (
        "MIT License, (c) 2019 Infinite Red, Inc., (c) 2020 The nsfw_model Developers"
    )
    name = f"nsfwjs-mobilenet-v2@{version}"
    helper.set_model_props(model, {"name": name, "labels": ",".join(LABELS)})
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> int:
    if len(sys.argv) != 3:
        print("usage: build_classifier.py PACKAGE_DIR OUT.onnx", file=sys.stderr)
        return 2
    content = build(Path(sys.argv[1])).SerializeToString(deterministic=True)
    Path(sys.argv[2]).write_bytes(content)
    print(f"{sys.argv[2]}: {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
