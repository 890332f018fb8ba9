"""The networks that speak as one module, folded and compiled.

One test compiles for the CPU, which takes a C++ compiler and a minute or two.
"""

from __future__ import annotations

import argparse
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
from musetalk.speaking import random_speaking

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


class Compiling(unittest.TestCase):
    def test_a_package_gives_what_the_networks_give(self) -> None:
        with tempfile.TemporaryDirectory() as home:
            bundle = Path(home) / "bundle"
            levers = ["--fold-time-embedding", "--decoder", "taesd"]
            target = ["--device", "cpu", "--dtype", "fp32", "--batches", "2"]
            status, said = run("--random", "nano", "--bundle", str(bundle), *target, *levers)
            self.assertEqual(status, 0, said)
            compiled = json.loads((bundle / "compiled.json").read_text())
            names = {name: files["2"] for name, files in compiled["packages"].items()}
            expected = {"unet": "unet.b2.fp32.pt2", "vae_decoder": "taesd_decoder.b2.fp32.pt2"}
            self.assertEqual(names, expected)
            self.assertEqual({p.name for p in bundle.iterdir()}, {*names.values(), "compiled.json"})
            for name in names.values():
                self.assertEqual(compiled["files"][name]["sha256"], sha256_of(bundle / name))
            told = [compiled[key] for key in ("torch", "decoder", "dtype", "weights")]
            self.assertEqual(told, [torch.__version__, "taesd", "fp32", {"preset": "nano", "seed": SEED}])

            parts = random_speaking("nano", SEED, "taesd")
            for network, name in ((parts.unet, names["unet"]), (parts.decoder, names["vae_decoder"])):
                inputs = network.example(2, torch.Generator().manual_seed(2))
                (expected,) = network.run(*inputs)
                with torch.no_grad():
                    got = torch._inductor.aoti_load_package(str(bundle / name))(*inputs)
                self.assertLessEqual(float((got - expected).abs().max()), 1e-4)

    def test_only_what_is_asked_for_is_compiled(self) -> None:
        self.assertEqual(compile_for_gpu.network_list("vae_decoder"), ["vae_decoder"])
        with self.assertRaisesRegex(argparse.ArgumentTypeError, "no network vae_encoder"):
            compile_for_gpu.network_list("vae_encoder,unet")

    def test_what_is_too_far_off_is_refused(self) -> None:
        expected = torch.linspace(-1, 1, 1000)
        compile_for_gpu.compare("unet", expected + 0.001, expected, 0.01)
        with self.assertRaisesRegex(compile_for_gpu.CompileError, "unet is off"):
            compile_for_gpu.compare("unet", expected + 0.1, expected, 0.01)
        with self.assertRaisesRegex(compile_for_gpu.CompileError, "unet is off"):
            compile_for_gpu.compare("unet", expected * torch.nan, expected, 0.01)

    def test_a_bundle_of_other_weights_is_left_alone(self) -> None:
        others = [({"seed": SEED + 1}, f"its seed is {SEED + 1}, not {SEED}")]
        others += [({"drawn_on": "cuda"}, "its drawn_on is cuda, not None")]
        for other, words in others:
            with tempfile.TemporaryDirectory() as home:
                manifest = Path(home) / "manifest.json"
                manifest.write_text(json.dumps({"preset": "nano", "seed": SEED} | other))
                status, said = run("--random", "nano", "--bundle", home, "--device", "cpu", "--batches", "1")
                self.assertEqual(status, 1)
                self.assertIn(words, said)
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
