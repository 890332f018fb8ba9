"""Makes a bundle, which the backends run, of the weights that MuseTalk's authors publish.

    python3.11 -m venv .venv && .venv/bin/pip install -r tools/musetalk/requirements.txt
    .venv/bin/python tools/musetalk/export_musetalk.py --models models --out bundle
    .venv/bin/python tools/musetalk/export_musetalk.py --models models --out bundle --version v1 --dtype fp32

In: the folder ``models`` as MuseTalk's own scripts fill it; ``tools/musetalk/README.md`` lists its files.
Nothing is fetched. Out: a new folder with each network as ONNX and TorchScript, goldens, and
``manifest.json``. It appears when every file was run and agrees with PyTorch; when anything fails, nothing is
left. Files of weights are read without running code in them.

With everything on, the bundle takes 12 GB, and the export 12 GB of memory and some 20 GB of disk meanwhile.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import torch

if not __package__:
    # Run by its path: the folder above is where the package is found.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from musetalk import adopt, golden, official, sources
from musetalk.checkpoint import CheckpointError, overflows_half
from musetalk.formats import FORMATS, GRAPH_FORMATS, PRECISIONS, ExportOptions, export_network, format_key
from musetalk.manifest import model_entry, write_manifest
from musetalk.networks import (
    MODEL_NAMES,
    Network,
    face_detector_network,
    face_parsing_network,
    half,
    landmarks_network,
    taesd_decoder_network,
    unet_network,
    vae_decoder_network,
    vae_encoder_network,
    whisper_network,
)
from musetalk.networks.interface import FIRST_MODELS
from musetalk.sources import Models

#: Seed of the golden inputs.
GOLDEN_SEED = 20240401
#: Batch sizes that files are compared at; the first is the golden's. Graphs are traced with two.
BATCHES = (2, 1, 3)
#: How far the networks that look for the face may be off in fp32, in deviations of the output: they add up
#: more rounding than the others, and what they say is only compared and thresholded.
FACE_TOLERANCE = 1e-3
#: How far the stacked hidden states may be from those that transformers gives.
LIBRARY_LARGEST = 1e-3
#: Disk space for goldens and the graphs themselves.
EXTRA_BYTES = 300 << 20


class ExportError(Exception):
    """Why there is no bundle."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What is made."""

    formats: Sequence[str] = GRAPH_FORMATS
    precisions: Sequence[str] = PRECISIONS
    opset: int = 17
    #: Networks that are made in fp32, whatever the precisions.
    fp32_only: Sequence[str] = ()
    #: Takes a landmark graph that is not the published file.
    any_dwpose: bool = False

    def precisions_of(self, network: str) -> Sequence[str]:
        """Those that a network is made in."""
        return ["fp32"] if network in self.fp32_only else self.precisions


@dataclasses.dataclass
class Collection:
    """The networks that the official files gave."""

    networks: dict[str, Network]
    #: Sizes of each, for the manifest.
    configs: dict[str, Any]
    #: DWPose's own graph, where it is there.
    pose_onnx: adopt.PublishedPose | None
    #: Optional files that are not there.
    absent: list[sources.Source]


def export(
    models: Models, out: Path, options: Options = Options(), say: Callable[[str], None] = print
) -> None:
    """Makes the bundle ``out``, which must not exist; raises ``ExportError`` or ``CheckpointError``, and
    leaves nothing."""
    if out.exists():
        raise ExportError(f"{out}: exists already")
    collection = collect(models, options)
    for source in collection.absent:
        say(f"left out: {source}")
    for network in collection.networks.values():
        if "fp16" in options.precisions_of(network.name):
            insist_on_half(network)
    out.parent.mkdir(parents=True, exist_ok=True)
    insist_on_space(collection, out.parent, options)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        write_bundle(collection, models, draft, options, say)
        draft.chmod(0o755)
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def collect(models: Models, options: Options) -> Collection:
    """Reads every official file that is there. The required ones are looked for first, so that one error
    names all."""
    models.require(*sources.required(models.version))
    whisper, whisper_config = official.load_whisper(models)
    unet, unet_config = official.load_unet(models)
    vae, vae_config = official.load_vae(models)
    networks = [
        unet_network(unet, fold_time=True),
        vae_decoder_network(vae),
        vae_encoder_network(vae),
        whisper_network(whisper),
    ]
    configs = {"unet": unet_config, "vae": vae_config, "whisper": whisper_config}
    absent = []
    for name, source, load, make in (
        ("taesd", sources.TAESD, official.load_taesd, taesd_decoder_network),
        ("face_parsing", sources.PARSING, official.load_bisenet, face_parsing_network),
        ("landmarks", sources.POSE_WEIGHTS, official.load_pose, landmarks_network),
        ("face_detector", sources.DETECTOR, official.load_s3fd, face_detector_network),
    ):
        if path := models.find(source):
            module, configs[name] = load(path)
            networks.append(make(module))
        else:
            absent.append(source)
    pose_onnx = None
    if "onnx" in options.formats and (path := models.find(sources.POSE_ONNX)):
        pose_onnx = adopt.PublishedPose(path, options.any_dwpose)
        if "torchscript" not in options.formats and sources.POSE_WEIGHTS in absent:
            absent.remove(sources.POSE_WEIGHTS)
    elif "onnx" in options.formats and "landmarks" not in configs:
        absent.append(sources.POSE_ONNX)
    return Collection({network.name: network for network in networks}, configs, pose_onnx, absent)


def insist_on_half(network: Network) -> None:
    """Refuses a network whose weights, or whose values on the golden input, do not fit into 16-bit floats."""
    reason = overflows_half(network.module.state_dict())
    if reason is None:
        inputs = [tensor.half() for tensor in network.example(1, torch.Generator().manual_seed(GOLDEN_SEED))]
        outputs = half(network).run(*inputs)
        bad = [
            port.name
            for port, tensor in zip(network.outputs, outputs, strict=True)
            if not bool(torch.isfinite(tensor).all())
        ]
        reason = f"{', '.join(bad)} becomes infinite or NaN in a first run" if bad else None
    if reason:
        raise ExportError(
            f"{network.name} cannot be made in fp16: {reason}; "
            f"--fp32-only {network.name} makes it in fp32 alone"
        )


def insist_on_space(collection: Collection, folder: Path, options: Options) -> None:
    """Refuses to begin what the disk has no room for: the files, and a second copy of the largest while it is
    written."""
    need, largest = EXTRA_BYTES, 0
    for name, network in collection.networks.items():
        size = 4 * sum(tensor.numel() for tensor in network.module.state_dict().values())
        copies = sum({"fp32": 1.0, "fp16": 0.5}[precision] for precision, _ in graphs(name, options))
        weights_alone = len([fmt for fmt in options.formats if fmt not in GRAPH_FORMATS])
        need += int(size * (copies + weights_alone))
        largest = max(largest, size)
    need += 2 * largest
    free = shutil.disk_usage(folder).free
    if free < need:
        raise ExportError(
            f"{folder}: has {free / 1e9:.1f} GB left on its disk, and the export needs {need / 1e9:.1f}"
        )


def write_bundle(
    collection: Collection, models: Models, folder: Path, options: Options, say: Callable[[str], None]
) -> None:
    """Writes and checks every file, and the manifest last."""
    entries: dict[str, Any] = {}
    files: list[Path] = []
    for name, network in collection.networks.items():
        clock = time.monotonic()
        written = write_network(collection, network, folder, options)
        entries[name] = model_entry(network, written)
        files += [path for paths in written.values() for path in paths]
        files.append(check(network, written, folder, entries[name], options))
        off = ", ".join(f"{key} {far:.1e}" for key, far in entries[name]["max_abs_diff"].items())
        say(f"{name}: {time.monotonic() - clock:.0f} s; largest difference: {off}")
    if collection.pose_onnx and "landmarks" not in collection.networks:
        files += write_published_pose(collection.pose_onnx, folder, entries)
        say("landmarks: onnx, the published graph, in fp32")
    tensors = golden.pipeline_golden(collection.networks, GOLDEN_SEED)
    files += golden.write_golden(folder / "golden", "pipeline", tensors, {})
    head = {
        "weights": "official",
        "version": models.version,
        "dtype": "fp32",  # Of the formats that do not name theirs.
        "precisions": list(options.precisions),
        "opset": options.opset,
        "configs": collection.configs,
        "sources": models.hashes(),
        "left_out": [source.paths[0] for source in collection.absent],
    }
    manifest = write_manifest(folder, head, entries, files)
    say(f"{len(files)} files, {sum(item['bytes'] for item in manifest['files'].values()) / 1e6:.0f} MB")


def write_network(
    collection: Collection, network: Network, folder: Path, options: Options
) -> dict[str, list[Path]]:
    """The files of one network, by format key. The published landmark graph takes the place of ours in
    fp32."""
    how = ExportOptions(opset=options.opset)
    precisions = options.precisions_of(network.name)
    written = export_network(network, options.formats, precisions, folder, how)
    if network.name == "landmarks" and collection.pose_onnx and "fp32" in precisions:
        collection.pose_onnx.write(written["onnx"][0])
    return written


def check(
    network: Network, written: dict[str, list[Path]], folder: Path, entry: dict[str, Any], options: Options
) -> Path:
    """Writes the golden of ``network`` and runs each file on its inputs; too large a distance is an error."""
    entry["max_abs_diff"] = {}
    small = network.name not in FIRST_MODELS
    for batch in BATCHES:
        inputs, outputs = golden.golden_for(network, batch, GOLDEN_SEED, small)
        if not all(bool(torch.isfinite(tensor).all()) for tensor in outputs):
            raise ExportError(f"{network.name} gives values that are not finite")
        if batch == BATCHES[0]:
            (path,) = golden.write_model_golden(folder / "golden", network, inputs, outputs, small)
            entry["golden"] = f"golden/{path.name}"
        for precision, fmt in graphs(network.name, options):
            key = format_key(fmt, precision)
            found = golden.check_file(written[key][0], network, inputs, outputs)
            entry["max_abs_diff"][key] = max(found.largest, entry["max_abs_diff"].get(key, 0.0))
            tolerance = FACE_TOLERANCE if small and precision == "fp32" else None
            if fault := golden.fault_of(found, precision, outputs, tolerance):
                raise ExportError(
                    f"{network.name} as {key} is not what PyTorch computes: {fault}, batch {batch}"
                )
    if network.name == "whisper_encoder":
        worst = entry["max_abs_diff"]["transformers"] = golden.check_against_library(network)
        if not worst <= LIBRARY_LARGEST:
            raise ExportError(f"whisper_encoder is not what transformers computes: off by {worst:.3g}")
    return path


def write_published_pose(pose: adopt.PublishedPose, folder: Path, entries: dict[str, Any]) -> list[Path]:
    """The landmarks from the published graph alone; its golden is made by ONNX Runtime, from the file
    itself."""
    network = adopt.landmarks_ports()
    target = folder / "landmarks.onnx"
    pose.write(target)
    inputs = [network.pictures.batch(BATCHES[0])]
    outputs = [torch.from_numpy(array) for array in golden.run_onnx(target, network, inputs)]
    made = golden.write_model_golden(folder / "golden", network, inputs, outputs, small=True)
    entry = model_entry(network, {"onnx": [target]})
    entries[network.name] = entry | {"golden": f"golden/{made[0].name}"}
    return [target, *made]


def graphs(network: str, options: Options) -> Iterator[tuple[str, str]]:
    """Precision and format of each graph of a network."""
    for precision in options.precisions_of(network):
        for fmt in options.formats:
            if fmt in GRAPH_FORMATS:
                yield precision, fmt


def subset(choices: Sequence[str]) -> Callable[[str], list[str]]:
    """An argparse type: some of ``choices``, separated by commas, in their order."""

    def parse(text: str) -> list[str]:
        asked = text.split(",")
        if unknown := [item for item in asked if item not in choices]:
            raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}; there are {', '.join(choices)}")
        return [item for item in choices if item in asked]

    return parse


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="the folder of official weights")
    parser.add_argument("--out", type=Path, required=True, help="the bundle to make; must not exist")
    parser.add_argument("--version", choices=sources.VERSIONS, default=sources.VERSIONS[0])
    parser.add_argument(
        "--formats",
        type=subset(FORMATS),
        default=list(Options.formats),
        help=f"some of {','.join(FORMATS)}; default {','.join(Options.formats)}",
    )
    parser.add_argument(
        "--dtype", type=subset(PRECISIONS), default=list(PRECISIONS), help="fp32, fp16, or both, the default"
    )
    parser.add_argument("--opset", type=int, default=Options.opset, help="ONNX operator set")
    parser.add_argument(
        "--fp32-only",
        type=subset(MODEL_NAMES),
        default=[],
        help="networks that are not made in fp16, where one cannot be",
    )
    parser.add_argument(
        "--any-dwpose", action="store_true", help="take a dw-ll_ucoco_384.onnx that is not the published file"
    )
    parser.add_argument("--threads", type=int, default=0, help="PyTorch's threads (0: its own choice)")
    parsed = parser.parse_args(arguments)
    if not set(parsed.formats) & set(GRAPH_FORMATS):
        parser.error(f"--formats needs one of {', '.join(GRAPH_FORMATS)}: nothing can run weights alone")
    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = parse_arguments(arguments)
    if parsed.threads:
        torch.set_num_threads(parsed.threads)
    # Tracing warns of every size that becomes a constant; they are the fixed ones, and files are run at other
    # batches.
    warnings.filterwarnings("ignore")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: stopped"))
    options = Options(parsed.formats, parsed.dtype, parsed.opset, parsed.fp32_only, parsed.any_dwpose)
    try:
        export(Models(parsed.models, parsed.version), parsed.out, options)
    except (CheckpointError, ExportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
