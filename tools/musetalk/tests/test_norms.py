"""Norms as ONNX: equal to PyTorch's on a picture whose lower half is black."""

import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch

from musetalk.formats import export_network
from musetalk.networks.random import build_random_networks
from musetalk.presets import PRESETS

try:
    import onnxruntime
except ImportError:
    onnxruntime = None


@unittest.skipIf(onnxruntime is None, "ONNX Runtime is not installed")
class Norms(unittest.TestCase):
    def test_a_black_half_leaves_the_mean_exact(self) -> None:
        torch.set_num_threads(1)
        encoder = build_random_networks(PRESETS["nano"], 5, ["vae_encoder"])["vae_encoder"]
        image = encoder.pictures.batch(2)
        image[:, :, 128:] = -1
        wanted = encoder.run(image)
        with tempfile.TemporaryDirectory() as folder:
            (path,) = export_network(encoder, ["onnx"], ["fp32"], Path(folder))["onnx"]
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for count in (2, 1):
            found = session.run(None, {"image": image[:count].numpy()})
            for ours, theirs in zip(found, wanted, strict=True):
                theirs = theirs[:count].numpy()
                self.assertLess(float(np.abs(ours - theirs).max() / theirs.std()), 1e-4)

    def test_no_constant_is_left_that_nobody_reads(self) -> None:
        import onnx

        encoder = build_random_networks(PRESETS["nano"], 5, ["vae_encoder"])["vae_encoder"]
        with tempfile.TemporaryDirectory() as folder:
            (path,) = export_network(encoder, ["onnx"], ["fp32"], Path(folder))["onnx"]
            graph = onnx.load(str(path)).graph
        read = {name for node in graph.node for name in node.input} | {port.name for port in graph.output}
        made = [name for node in graph.node for name in node.output]
        made += [array.name for array in graph.initializer]
        self.assertEqual([name for name in made if name not in read], [])


if __name__ == "__main__":
    unittest.main()
