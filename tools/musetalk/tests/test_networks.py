"""The networks that are written here: names and sizes of the published checkpoints, and equality after
folding."""

import tempfile
import unittest
from pathlib import Path

import torch

from musetalk.formats import export_torchscript
from musetalk.networks import MODEL_NAMES, BiSeNet, RtmPose, S3fd
from musetalk.networks.random import build_random_networks
from musetalk.presets import PRESETS


def entries(module: torch.nn.Module) -> tuple[int, int]:
    state = module.state_dict()
    return len(state), sum(tensor.numel() for tensor in state.values())


class Published(unittest.TestCase):
    def test_face_parsing(self) -> None:
        self.assertEqual(entries(BiSeNet()), (191, 13_313_119))

    def test_landmarks(self) -> None:
        count, values = entries(RtmPose())
        self.assertEqual(count, 470)
        self.assertAlmostEqual(values / 1e6, 33.65, delta=0.005)

    def test_face_detector(self) -> None:
        self.assertEqual(entries(S3fd())[1], 22_459_110)

    def test_the_detectors_grids_at_720p(self) -> None:
        maps = S3fd(1)(torch.zeros(1, 3, 720, 1280))
        grids = [tuple(each.shape[2:]) for each in maps[::2]]
        self.assertEqual(grids, [(180, 320), (90, 160), (45, 80), (26, 44), (13, 22), (7, 11)])


class Random(unittest.TestCase):
    def setUp(self) -> None:
        torch.set_num_threads(1)
        self.networks = build_random_networks(PRESETS["nano"], 5, ["unet", "face_parsing", "landmarks"])

    def test_folding_changes_nothing(self) -> None:
        for name in ("face_parsing", "landmarks"):
            network = self.networks[name]
            inputs = network.pictures.batch(1)
            with torch.no_grad():
                wanted = network.checkpoint(inputs)
            wanted = wanted if isinstance(wanted, tuple) else (wanted,)
            for found, expected in zip(network.run(inputs), wanted, strict=True):
                self.assertLess(float((found - expected).abs().max() / expected.std()), 1e-4)

    def test_many_classes_win(self) -> None:
        (logits,) = self.networks["face_parsing"].run(self.networks["face_parsing"].pictures.batch(1))
        self.assertGreater(len(logits.argmax(1).unique()), 6)

    def test_a_folded_time_step_changes_nothing(self) -> None:
        unet = self.networks["unet"]
        inputs = unet.example(3, torch.Generator().manual_seed(1))
        (wanted,) = unet.run(*inputs)
        unet.module.fold_time()
        torch.testing.assert_close(unet.run(*inputs)[0], wanted, rtol=0, atol=1e-5)

    def test_no_length_goes_to_the_device(self) -> None:
        # Whole numbers that are tensors would be copied to a GPU with the weights, and waited for in each call.
        for name, network in build_random_networks(PRESETS["nano"], 1, MODEL_NAMES).items():
            inputs = network.example(2, torch.Generator().manual_seed(1))
            with tempfile.TemporaryDirectory() as home:
                (path,) = export_torchscript(network, Path(home) / f"{name}.pt", inputs)
                script = torch.jit.load(str(path))
            graph = script.inlined_graph  # Its nodes live as long as it does.
            nodes = graph.findAllNodes("prim::Constant")
            nodes = [n for n in nodes if "value" in n.attributeNames() and n.kindOf("value") == "t"]
            constants = [node.t("value") for node in nodes]
            self.assertEqual([c for c in constants if c.dim() == 0 and c.dtype == torch.int64], [], name)
            # A batch of another size than it was traced with.
            more = network.example(3, torch.Generator().manual_seed(2))
            got = script(*more)
            got = got if isinstance(got, (tuple, list)) else (got,)
            for found, expected in zip(got, network.run(*more), strict=True):
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


if __name__ == "__main__":
    unittest.main()
