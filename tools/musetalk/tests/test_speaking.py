"""The networks that speak as one module, folded and compiled.

One test compiles for the CPU, which takes a C++ compiler and a minute or two.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import tempfile
import unittest
import warnings
from pathlib import Path

import torch

from musetalk import compile_for_gpu, gpu_levers
from musetalk.fold import fold_time_embedding
from musetalk.manifest import sha256_of
from musetalk.networks import unet_network
from musetalk.networks.random import random_unet
from musetalk.presets import PRESETS
from musetalk.speaking import RgbGenerator, random_speaking

SEED = 20240401


def setUpModule() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")


class Folding(unittest.TestCase):
    def test_the_time_embedding_goes_into_the_biases(self) -> None:
        unet = random_unet(PRESETS["tiny"], SEED).eval()
        folded = copy.deepcopy(unet)
        self.assertEqual(fold_time_embedding(folded), 22)
        self.assertFalse([key for key in folded.state_dict() if "time_emb" in key])
        whole, network = unet_network(unet), unet_network(folded)
        inputs = whole.example(2, torch.Generator().manual_seed(1))
        (expected,), (got,) = whole.run(*inputs), network.run(*inputs)
        self.assertLessEqual(float((got - expected).abs().max()), 1e-5)
        # The embedding does something: without it, and without what was folded, the result is another.
        for block in unet.modules():
            if getattr(block, "time_emb_proj", None) is not None:
                block.time_emb_proj.weight.data.zero_()
                block.time_emb_proj.bias.data.zero_()
        self.assertGreater(float((whole.run(*inputs)[0] - expected).abs().max()), 1e-2)


class Generator(unittest.TestCase):
    def test_frames_are_rgb_bytes_and_values_that_are_not_finite_are_told(self) -> None:
        parts = random_speaking("nano", SEED, "sd-vae").place("cpu", torch.float32, channels_last=True)
        generator = RgbGenerator(parts).eval()
        inputs = parts.unet.example(2, torch.Generator().manual_seed(1))
        (latent,) = parts.unet.run(*inputs)
        (image,) = parts.decoder.run(latent)
        with torch.no_grad():
            frames, finite = generator(*inputs)
        self.assertEqual((frames.dtype, list(frames.shape)), (torch.uint8, [2, 256, 256, 3]))
        self.assertTrue(frames.is_contiguous())
        self.assertEqual(finite.tolist(), [True, True])
        off = (frames.float() - 255 * image.permute(0, 2, 3, 1)).abs().max()
        self.assertLessEqual(float(off), 0.5 + 1e-4)
        inputs[1][0, 0, 0] = torch.inf
        with torch.no_grad():
            self.assertEqual(generator(*inputs)[1].tolist(), [False, False])


class Compiling(unittest.TestCase):
    def test_a_package_gives_what_the_networks_give(self) -> None:
        with tempfile.TemporaryDirectory() as home:
            bundle = Path(home) / "bundle"
            levers = ["--fold-time-embedding", "--decoder", "taesd"]
            target = ["--device", "cpu", "--dtype", "fp32", "--batches", "2"]
            status, said = run("--random", "nano", "--bundle", str(bundle), *target, *levers)
            self.assertEqual(status, 0, said)
            compiled = json.loads((bundle / "compiled.json").read_text())
            name = compiled["packages"]["2"]
            self.assertEqual(name, "generator.b2.fp32.pt2")
            self.assertEqual({p.name for p in bundle.iterdir()}, {name, "compiled.json"})
            self.assertEqual(compiled["files"][name]["sha256"], sha256_of(bundle / name))
            told = [compiled[key] for key in ("torch", "decoder", "dtype", "weights")]
            self.assertEqual(told, [torch.__version__, "taesd", "fp32", {"preset": "nano", "seed": SEED}])

            parts = random_speaking("nano", SEED, "taesd")
            inputs = parts.unet.example(2, torch.Generator().manual_seed(2))
            with torch.no_grad():
                expected, _ = RgbGenerator(parts).eval()(*inputs)
                frames, finite = torch._inductor.aoti_load_package(str(bundle / name))(*inputs)
            self.assertEqual(finite.tolist(), [True, True])
            off = (frames.int() - expected.int()).abs()
            self.assertLessEqual(int(off.max()), 1)
            self.assertLessEqual(float((off > 0).float().mean()), 1e-3)

    def test_a_bundle_of_other_weights_is_left_alone(self) -> None:
        with tempfile.TemporaryDirectory() as home:
            manifest = Path(home) / "manifest.json"
            manifest.write_text(json.dumps({"preset": "nano", "seed": SEED + 1}))
            status, said = run("--random", "nano", "--bundle", home, "--device", "cpu", "--batches", "1")
            self.assertEqual(status, 1)
            self.assertIn(f"its seed is {SEED + 1}, not {SEED}", said)
            self.assertEqual(list(Path(home).iterdir()), [manifest])


class Levers(unittest.TestCase):
    def test_sections_print_rows_and_a_failure_leaves_the_others_alone(self) -> None:
        with tempfile.TemporaryDirectory() as home:
            report = Path(home) / "rows.json"
            stdout = io.StringIO()
            sections = ["--sections", "matrix,channels-last,graphs,compiled,taesd"]
            how = ["--compiler", "eager", "--json", str(report)]
            with contextlib.redirect_stdout(stdout):
                status = gpu_levers.main(
                    ["--device", "cpu", "--dtype", "fp32", "--preset", "nano", "--quick", *sections, *how]
                )
            rows = json.loads(report.read_text())
            self.assertEqual(status, 1)
            self.assertEqual(len(rows["failures"]), 1, rows["failures"])
            self.assertIn("graphs: RuntimeError: CUDA graphs need a GPU", stdout.getvalue())
            variants = [(row["variant"], row["batch"]) for row in rows["rows"]]
            expected = [("channels-last", 1), ("channels-last", 2), ("compiled", 2)]
            expected += [(f"TAESD, {name}", batch) for name, batch in expected]
            self.assertEqual(variants, expected)
            self.assertTrue(all(row["fps"] > 0 for row in rows["rows"]))
            self.assertGreater(rows["matrix_tflops"], 0)


def run(*arguments: str) -> tuple[int, str]:
    """Runs the compiler's program; its status and what it said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = compile_for_gpu.main(arguments)
    return status, said.getvalue()


if __name__ == "__main__":
    unittest.main()
