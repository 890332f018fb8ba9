"""Exports of small synthetic files in the official formats: what comes out, and what is refused.

    .venv/bin/python -m unittest discover -s tools/musetalk/tests -t tools

Some minutes on one core: every network is written in every format and run by both runtimes.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import shutil
import tempfile
import unittest
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable
from unittest import mock

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from musetalk import export_musetalk, golden
from musetalk.adopt import landmarks_ports
from musetalk.checkpoint import CheckpointError
from musetalk.export_musetalk import ExportError, Options
from musetalk.manifest import sha256_of
from musetalk.networks import landmarks_network
from musetalk.networks.interface import FIRST_MODELS, MODEL_NAMES
from musetalk.networks.random_faces import random_taesd
from musetalk.sources import Models
from musetalk.tests import synthetic

#: Networks against library calls on the same weights, both fp32, different runtimes.
CLOSE = 2e-4


def setUpModule() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")


class WholeExport(unittest.TestCase):
    """Everything from one folder: v1.5, both formats, both precisions."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.home = tempfile.TemporaryDirectory()
        root = Path(cls.home.name)
        cls.models = root / "models"
        cls.bundle = root / "bundle"
        cls.modules = synthetic.write_models(cls.models)
        cls.lines: list[str] = []
        export_musetalk.export(Models(cls.models), cls.bundle, say=cls.lines.append)
        cls.manifest = json.loads((cls.bundle / "manifest.json").read_text())

    @classmethod
    def tearDownClass(cls) -> None:
        cls.home.cleanup()

    def test_every_network_comes_in_every_format_and_precision(self) -> None:
        self.assertEqual(set(self.manifest["models"]), set(MODEL_NAMES))
        for name, entry in self.manifest["models"].items():
            keys = {"onnx", "torchscript", "onnx_fp16", "torchscript_fp16"}
            self.assertEqual(set(entry["formats"]), keys, name)
            self.assertIn(entry["golden"], self.manifest["files"])

    def test_the_manifest_lists_every_file_with_its_hash_and_what_it_was_made_of(self) -> None:
        files = {p.relative_to(self.bundle).as_posix() for p in self.bundle.rglob("*") if p.is_file()}
        self.assertEqual(files, set(self.manifest["files"]) | {"manifest.json"})
        for name, entry in self.manifest["files"].items():
            self.assertEqual(entry["sha256"], sha256_of(self.bundle / name))
            self.assertEqual(entry["bytes"], (self.bundle / name).stat().st_size)
        self.assertEqual((self.manifest["weights"], self.manifest["version"]), ("official", "v15"))
        sources = {p.relative_to(self.models).as_posix() for p in self.models.rglob("*") if p.is_file()}
        self.assertEqual(set(self.manifest["sources"]), sources)
        unet = self.models / "musetalkV15" / "unet.pth"
        self.assertEqual(self.manifest["sources"]["musetalkV15/unet.pth"]["sha256"], sha256_of(unet))
        self.assertEqual(self.manifest["configs"]["unet"]["block_out_channels"], [8, 8, 8, 8])
        self.assertEqual(self.manifest["configs"]["landmarks"]["blocks"], [1, 2, 1, 1])

    def test_files_compute_what_the_libraries_compute_from_the_same_weights(self) -> None:
        for name, (inputs, expected) in self.library_calls().items():
            for key, files in self.manifest["models"][name]["formats"].items():
                with self.subTest(name, format=key):
                    found = self.check(name, files[0], inputs, expected)
                    precision = "fp16" if key.endswith("fp16") else "fp32"
                    # On noise, which is nothing like a face, half precision is less exact than on goldens.
                    tolerance = {"fp32": 1e-3, "fp16": 5e-2}[precision]
                    self.assertIsNone(golden.fault_of(found, precision, expected, tolerance))

    def test_goldens_are_what_the_files_give(self) -> None:
        for name in FIRST_MODELS:  # The others' goldens hold parts of the outputs.
            entry = self.manifest["models"][name]
            tensors = load_file(self.bundle / entry["golden"])
            inputs = [tensors[f"in.{port['name']}"] for port in entry["inputs"]]
            expected = [tensors[f"out.{port['name']}"] for port in entry["outputs"]]
            found = self.check(name, entry["formats"]["onnx"][0], inputs, expected)
            self.assertIsNone(golden.fault_of(found, "fp32", expected, None), name)

    def test_a_second_export_does_not_touch_what_is_there(self) -> None:
        before = (self.bundle / "manifest.json").stat().st_mtime_ns
        with self.assertRaisesRegex(ExportError, "exists already"):
            export_musetalk.export(Models(self.models), self.bundle)
        self.assertEqual((self.bundle / "manifest.json").stat().st_mtime_ns, before)

    def check(self, name: str, file: str, inputs: list[Tensor], expected: list[Tensor]) -> golden.Difference:
        """How far a file of the bundle is from ``expected``, by the ports that its manifest names."""
        entry = self.manifest["models"][name]
        ports = {
            side: [SimpleNamespace(name=p["name"]) for p in entry[side]] for side in ("inputs", "outputs")
        }
        return golden.check_file(self.bundle / file, SimpleNamespace(**ports), inputs, expected)

    def library_calls(self) -> dict[str, tuple[list[Tensor], list[Tensor]]]:
        """Inputs of each network, and outputs by the libraries' own calls and the pipeline's formulas."""
        rng = torch.Generator().manual_seed(11)
        latents = torch.randn(2, 8, 32, 32, generator=rng)
        audio = torch.randn(2, 50, 384, generator=rng)
        latent = torch.randn(2, 4, 32, 32, generator=rng)
        image = torch.rand(2, 3, 256, 256, generator=rng) * 2 - 1
        mel = torch.randn(1, 80, 3000, generator=rng)
        parsed = torch.randn(1, 3, 512, 512, generator=rng)
        pose = torch.randn(2, 3, 384, 288, generator=rng)
        frame = torch.rand(1, 3, 160, 200, generator=rng) * 255 - 110
        unet, vae, taesd = self.modules["unet"], self.modules["vae"], self.modules["taesd"]
        with torch.no_grad():
            step = unet(latents, 0, encoder_hidden_states=audio + positions()).sample
            picture = (vae.decode(latent / 0.18215).sample / 2 + 0.5).clamp(0, 1)
            posterior = vae.encode(image).latent_dist
            states = self.modules["whisper"](mel, output_hidden_states=True).hidden_states
            tiny = (taesd.decode(latent).sample / 2 + 0.5).clamp(0, 1)
            return {
                "unet": ([latents, audio], [step]),
                "vae_decoder": ([latent], [picture]),
                "vae_encoder": ([image], [0.18215 * posterior.mean, 0.18215 * posterior.std]),
                "whisper_encoder": ([mel], [torch.stack(states, dim=2)]),
                "taesd_decoder": ([latent], [tiny]),
                "face_parsing": ([parsed], [self.modules["face_parsing"](parsed)]),
                "landmarks": ([pose], list(self.modules["landmarks"](pose))),
                "face_detector": ([frame], list(self.modules["face_detector"](frame))),
            }


class OtherForms(unittest.TestCase):
    """What else the official files look like, exported to TorchScript alone."""

    def setUp(self) -> None:
        torch.manual_seed(20240401)
        self.home = tempfile.TemporaryDirectory()
        self.addCleanup(self.home.cleanup)
        self.root = Path(self.home.name)
        self.models = self.root / "models"
        synthetic.write_whisper(self.models / "whisper")

    def export(self, version: str = "v15", **options: Any) -> dict[str, Any]:
        """Exports to ``bundle`` and returns its manifest."""
        options = {"formats": ["torchscript"], "precisions": ["fp32"]} | options
        self.lines: list[str] = []
        bundle = self.root / "bundle"
        export_musetalk.export(Models(self.models, version), bundle, Options(**options), self.lines.append)
        return json.loads((bundle / "manifest.json").read_text())

    def test_version_1_with_todays_names_in_safetensors_and_nothing_optional(self) -> None:
        synthetic.write_unet(self.models / "musetalk" / "pytorch_model.bin", seed=8)
        vae = synthetic.write_vae(self.models / "sd-vae-ft-mse", old_names=False, safetensors=True)
        shutil.rmtree(self.models / "whisper")
        synthetic.write_whisper(self.models / "whisper", safetensors=True)
        manifest = self.export("v1", precisions=["fp32", "fp16"], fp32_only=["vae_encoder"])
        self.assertEqual(manifest["version"], "v1")
        self.assertEqual(set(manifest["models"]["vae_encoder"]["formats"]), {"torchscript"})
        self.assertEqual(set(manifest["models"]["unet"]["formats"]), {"torchscript", "torchscript_fp16"})
        self.assertEqual(set(manifest["models"]), {"unet", "vae_decoder", "vae_encoder", "whisper_encoder"})
        self.assertIn("sd-vae-ft-mse/diffusion_pytorch_model.safetensors", manifest["sources"])
        for absent in ("face-parse-bisent/79999_iter.pth", "s3fd-619a316812.pth", "taesd/taesd_decoder.pth"):
            self.assertIn(absent, manifest["left_out"])
            self.assertTrue(any(absent in line and "published on" in line for line in self.lines), absent)
        decoder = torch.jit.load(str(self.root / "bundle" / "vae_decoder.pt"))
        latent = torch.randn(1, 4, 32, 32)
        with torch.no_grad():
            expected = (vae.decode(latent / 0.18215).sample / 2 + 0.5).clamp(0, 1)
            self.assertLessEqual(float((decoder(latent) - expected).abs().max()), CLOSE)

    def test_the_published_landmark_graph_gets_our_ports_and_any_batch(self) -> None:
        synthetic.write_unet(self.models / "musetalkV15" / "unet.pth")
        synthetic.write_vae(self.models / "sd-vae")
        pose = synthetic.write_pose(self.root / "pose.pth")
        names = {"input": "x", "simcc_x": "first", "simcc_y": "second"}
        path = self.models / "dwpose" / "dw-ll_ucoco_384.onnx"
        synthetic.write_onnx(path, random_taesd(synthetic.NANO, 1))
        with self.assertRaisesRegex(CheckpointError, r"inputs latent \[1, 4, 32, 32\], expected input"):
            self.export(formats=["onnx"], any_dwpose=True)
        synthetic.write_onnx(path, landmarks_network(pose), names)
        with self.assertRaisesRegex(CheckpointError, "SHA-256.*724f4ff2439e.*--any-dwpose"):
            self.export(formats=["onnx"])
        self.assertEqual(sorted(p.name for p in self.root.iterdir()), ["models", "pose.pth"])
        manifest = self.export(formats=["onnx"], any_dwpose=True)
        entry = manifest["models"]["landmarks"]
        self.assertEqual([port["name"] for port in entry["outputs"]], ["simcc_x", "simcc_y"])
        image = torch.randn(3, 3, 384, 288)
        path = self.root / "bundle" / entry["formats"]["onnx"][0]
        with torch.no_grad():
            expected = list(pose(image))
        found = golden.check_file(path, landmarks_ports(), [image], expected)
        self.assertIsNone(golden.fault_of(found, "fp32", expected, None))

    def test_counters_of_batch_norms_may_be_missing(self) -> None:
        path = self.models / "face-parse-bisent" / "79999_iter.pth"
        bisenet = synthetic.write_bisenet(path)
        state = {key: value for key, value in bisenet.state_dict().items() if "num_batches" not in key}
        synthetic.save(state, path, old_layout=True)
        from musetalk.official import load_bisenet

        module, config = load_bisenet(path)
        image = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            self.assertTrue(torch.equal(module(image), bisenet(image)))
        self.assertEqual(config, {"width": synthetic.NANO.parsing_width})


class Refusals(unittest.TestCase):
    """Bad files: refused in one line that names file and key, and nothing is left behind."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.good = tempfile.TemporaryDirectory()
        synthetic.write_models(Path(cls.good.name))

    @classmethod
    def tearDownClass(cls) -> None:
        cls.good.cleanup()

    def refused(
        self, change: Callable[[Path], None], *words: str, dtype: str = "fp32", options: Any = ()
    ) -> None:
        """Runs the program on files after ``change``; its error has to have all of ``words``."""
        with tempfile.TemporaryDirectory() as home:
            root = Path(home)
            shutil.copytree(self.good.name, root / "models")
            change(root / "models")
            arguments = ["--models", str(root / "models"), "--out", str(root / "out" / "bundle")]
            stderr = io.StringIO()
            with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
                status = export_musetalk.main([*arguments, "--dtype", dtype, *options])
            said = stderr.getvalue()
            self.assertEqual(status, 1, said)
            self.assertEqual(said.count("\n"), 1, said)
            for word in words:
                self.assertIn(word, said)
            left = [path for path in (root / "out").rglob("*")] if (root / "out").exists() else []
            self.assertEqual(left, [])

    def test_missing_files_are_all_named_with_where_they_are_published(self) -> None:
        def change(models: Path) -> None:
            (models / "musetalkV15" / "unet.pth").unlink()
            shutil.rmtree(models / "sd-vae")

        self.refused(
            change,
            "musetalkV15/unet.pth",
            "TMElyralab/MuseTalk",
            "sd-vae/diffusion_pytorch_model.bin",
            "stabilityai/sd-vae-ft-mse",
        )

    def test_missing_extra_and_misshapen_keys(self) -> None:
        for name, file, key in (
            ("unet", "musetalkV15/unet.pth", "mid_block.attentions.0.proj_in.weight"),
            ("vae", "sd-vae/diffusion_pytorch_model.bin", "decoder.conv_in.weight"),
            ("whisper", "whisper/pytorch_model.bin", "model.encoder.layers.3.fc1.weight"),
            ("bisenet", "face-parse-bisent/79999_iter.pth", "ffm.conv1.weight"),
            ("s3fd", "s3fd-619a316812.pth", "fc7.bias"),
            ("taesd", "taesd/taesd_decoder.pth", "3.conv.0.weight"),
        ):
            inner = key.removeprefix("model.encoder.").removeprefix("3.")
            with self.subTest(name, fault="missing"):
                self.refused(edit(file, lambda s, key=key: s.pop(key)), file, "lacks", inner)
            with self.subTest(name, fault="shape"):
                self.refused(
                    edit(file, lambda s, key=key: s.update({key: torch.zeros(5, 7)})),
                    file,
                    inner,
                    "[5, 7]",
                    "expected [",
                )
        with self.subTest("extra"):
            file = "musetalkV15/unet.pth"
            extra = {f"add_embedding.{number}.weight": torch.zeros(1) for number in range(9)}
            self.refused(
                edit(file, lambda s: s.update(extra)), file, "unknown", "add_embedding.0.weight", "5 more"
            )

    def test_configurations_that_the_pipeline_was_not_made_for(self) -> None:
        for file, key, value, words in (
            ("musetalkV15/musetalk.json", "in_channels", 4, ("in_channels is 4", "expected 8")),
            ("musetalkV15/musetalk.json", "cross_attention_dim", 768, ("is 768", "expected 384")),
            ("musetalkV15/musetalk.json", "cross_attention", 1, ("does not know", "cross_attention")),
            ("musetalkV15/musetalk.json", "block_out_channels", [8, 8], ("no network that can be built",)),
            ("sd-vae/config.json", "scaling_factor", 0.13025, ("scaling_factor is 0.13025", "0.18215")),
            ("whisper/config.json", "d_model", 512, ("d_model is 512", "expected 384")),
            ("whisper/preprocessor_config.json", "feature_size", 128, ("feature_size is 128", "expected 80")),
        ):
            with self.subTest(file, key=key):
                self.refused(edit_json(file, {key: value}), file, *words)
        with self.subTest("not JSON"):
            self.refused(
                lambda models: (models / "sd-vae" / "config.json").write_text("<html>"),
                "sd-vae/config.json",
                "no JSON",
            )

    def test_the_wrong_musetalk_json_of_march_2025(self) -> None:
        change = edit_json("musetalkV15/musetalk.json", {"in_channels": 32, "out_channels": 16})
        self.refused(change, "musetalkV15/musetalk.json", "32", "16", "March 2025")

    def test_weights_of_another_size_than_the_configuration_tells(self) -> None:
        change = edit_json("musetalkV15/musetalk.json", {"block_out_channels": [16, 16, 16, 16]})
        self.refused(change, "unet.pth", "has shape [8", "expected [16")

    def test_files_that_want_code_to_run_are_not_run(self) -> None:
        for file in (
            "musetalkV15/unet.pth",
            "face-parse-bisent/79999_iter.pth",
            "dwpose/dw-ll_ucoco_384.pth",
        ):
            for old_layout in (False, True):
                with self.subTest(file, old_layout=old_layout), tempfile.TemporaryDirectory() as home:
                    trace = Path(home) / "was-run"

                    def change(
                        models: Path, file: str = file, trace: Path = trace, old: bool = old_layout
                    ) -> None:
                        content = {"state_dict": {}, "w": Command(f"touch {trace}")}
                        torch.save(content, models / file, _use_new_zipfile_serialization=not old)

                    self.refused(change, file, "system to be called")
                    self.assertFalse(trace.exists())

    def test_a_module_instead_of_its_weights(self) -> None:
        def change(models: Path) -> None:
            torch.save(nn.Linear(2, 2), models / "musetalkV15" / "unet.pth")

        self.refused(change, "unet.pth", "torch.nn.modules.linear.Linear")

    def test_truncated_files(self) -> None:
        for file in (
            "musetalkV15/unet.pth",
            "sd-vae/diffusion_pytorch_model.bin",
            "s3fd-619a316812.pth",
            "face-parse-bisent/79999_iter.pth",
        ):
            for part in (0.99, 0.5, 0.0):
                with self.subTest(file, part=part):

                    def change(models: Path, file: str = file, part: float = part) -> None:
                        content = (models / file).read_bytes()
                        (models / file).write_bytes(content[: int(part * len(content))])

                    self.refused(change, file, "cut short")

    def test_pointers_of_git_lfs_and_web_pages(self) -> None:
        for text, words in (
            ("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", ("Git LFS",)),
            ("<!DOCTYPE html><html>", ("not a file of plain tensors",)),
        ):
            self.refused(
                lambda models, text=text: (models / "musetalkV15" / "unet.pth").write_text(text),
                "unet.pth",
                *words,
            )

    def test_values_that_are_not_finite(self) -> None:
        for value, word in ((math.nan, "NaN"), (math.inf, "infinite")):
            for file, key in (
                ("musetalkV15/unet.pth", "conv_out.bias"),
                ("sd-vae/diffusion_pytorch_model.bin", "decoder.mid_block.attentions.0.query.bias"),
                ("face-parse-bisent/79999_iter.pth", "cp.resnet.bn1.running_var"),
            ):
                with self.subTest(file, value=value):
                    change = edit(file, lambda s, key=key, value=value: s[key].view(-1)[0].fill_(value))
                    self.refused(change, file, key.replace("query", "to_q"), word)

    def test_weights_that_overflow_in_half_precision(self) -> None:
        file, key = "musetalkV15/unet.pth", "conv_in.bias"
        change = edit(file, lambda s: s[key].fill_(7e4))
        self.refused(
            change, "unet cannot be made in fp16", key, "70000", "--fp32-only unet", dtype="fp32,fp16"
        )

    def test_activations_that_overflow_in_half_precision(self) -> None:
        def change(state: dict[str, Tensor]) -> None:
            state["decoder.conv_in.weight"].mul_(3e4)
            state["decoder.conv_in.bias"].fill_(6e4)

        self.refused(
            edit("sd-vae/diffusion_pytorch_model.bin", change),
            "vae_decoder cannot be made in fp16",
            "infinite or NaN",
            dtype="fp16",
        )

    def test_no_room_on_the_disk(self) -> None:
        with mock.patch("shutil.disk_usage", return_value=mock.Mock(free=1 << 20)):
            self.refused(lambda _: None, "0.0 GB left", "needs")

    def test_a_file_that_is_not_what_pytorch_computes(self) -> None:
        with mock.patch.dict(golden.TOLERANCES, fp32=-1.0):
            self.refused(
                lambda _: None,
                "unet as torchscript is not what PyTorch computes",
                options=["--formats", "torchscript"],
            )


class Command:
    """Pickles as a call of a shell command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def edit(file: str, change: Callable[[dict[str, Tensor]], Any]) -> Callable[[Path], None]:
    """A change of the tensors in ``file``, which keeps its layout."""

    def apply(models: Path) -> None:
        path = models / file
        state = torch.load(path, weights_only=True)
        change(state)
        synthetic.save(state, path, old_layout=file.startswith(("face", "s3fd")))

    return apply


def edit_json(file: str, changes: dict[str, Any]) -> Callable[[Path], None]:
    """A change of keys of a JSON object."""

    def apply(models: Path) -> None:
        content = json.loads((models / file).read_text())
        synthetic.write_json(models / file, content | changes)

    return apply


def positions() -> Tensor:
    """The position code [50, 384] of the audio tokens: pairs of sine and cosine, as the pipeline defines
    it."""
    table = torch.zeros(50, 384)
    for token in range(50):
        for column in range(0, 384, 2):
            angle = token * math.exp(-math.log(10_000.0) * column / 384)
            table[token, column], table[token, column + 1] = math.sin(angle), math.cos(angle)
    return table


if __name__ == "__main__":
    unittest.main()
