"""The Python side of `cargo xtask bench-percall`: the same networks, inputs and answers as the Rust side.

    bench_percall.py BUNDLE onnx|torchscript

Lines on standard input, `NETWORK BATCH` or `generate BATCH`, are answered with `SECONDS MEAN`: processor time of the
process during the call, and the mean of all values that came out. `backends/musetalk/src/percall.rs` says more.
"""

import json
import pathlib
import sys
import time

import numpy as np

FREE = 200  # the length of a free axis, as on the Rust side


class Onnx:
    """ONNX Runtime as it comes, but for its threads."""

    def __init__(self):
        import onnxruntime

        self.runtime = onnxruntime
        self.name = f"ONNX Runtime {onnxruntime.__version__}"

    def load(self, path):
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = 1
        session = self.runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [port.name for port in session.get_inputs()]
        return lambda *inputs: session.run(None, dict(zip(names, inputs)))


class TorchScript:
    """TorchScript under `inference_mode`, NumPy arrays in and out."""

    def __init__(self):
        import torch

        torch.set_num_threads(1)
        self.torch = torch
        self.name = f"libtorch {torch.__version__}"

    def load(self, path):
        module = self.torch.jit.load(str(path), map_location="cpu").eval()

        def run(*inputs):
            with self.torch.inference_mode():
                outputs = module(*(self.torch.from_numpy(values) for values in inputs))
            outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
            return [output.numpy() for output in outputs]

        return run


def example(shape, batch):
    """Knuth's multiplicative hash of the index, its upper 24 bits, as -1…1."""
    lengths = [axis if isinstance(axis, int) else batch if axis == "batch" else FREE for axis in shape]
    index = np.arange(np.prod(lengths), dtype=np.uint32)
    values = (index * np.uint32(2654435761) >> np.uint32(8)).astype(np.float32)
    return (values / np.float32(1 << 23) - np.float32(1)).reshape(lengths)


def generate(unet, decoder):
    """UNet, decoder and rounding, as the reference does them."""

    def run(latents, audio):
        (latent,) = unet(latents, audio)
        (image,) = decoder(latent)
        return [(image.transpose(0, 2, 3, 1) * 255).round().astype(np.uint8)]

    return run


def main(bundle, format):
    bundle = pathlib.Path(bundle)
    models = json.loads((bundle / "manifest.json").read_text())["models"]
    runtime = {"onnx": Onnx, "torchscript": TorchScript}[format]()
    loaded = {}

    def network(name):
        if name not in loaded:
            loaded[name] = runtime.load(bundle / models[name]["formats"][format][0])
        return loaded[name]

    print(f"{runtime.name}, Python {sys.version.split()[0]}", flush=True)
    for line in sys.stdin:
        name, batch = line.split()
        if name == "generate":
            call, ports = generate(network("unet"), network("vae_decoder")), models["unet"]["inputs"]
        else:
            call, ports = network(name), models[name]["inputs"]
        inputs = [example(port["shape"], int(batch)) for port in ports]
        started = time.process_time()
        outputs = call(*inputs)
        seconds = time.process_time() - started
        values = np.concatenate([output.ravel() for output in outputs])
        print(seconds, values.mean(dtype=np.float64), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
