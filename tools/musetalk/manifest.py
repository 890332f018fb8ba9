"""``manifest.json``: what a bundle holds, for readers that know nothing else.

Layout, version 1: ``pipeline`` has the constants; ``models`` has for each network its ports, the files of
each format key (``onnx``, ``torchscript``, ``onnx_fp16``, …; graph first, side files after), its golden and
the largest difference found; ``files`` has size and SHA-256 of every file. Keys may be added within a
version, so readers skip what they do not know.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Iterable, Mapping

from .networks import Network
from .networks import interface as sizes

#: Raise it when a reader would have to change.
MANIFEST_VERSION = 1
#: Libraries that shape the files.
LIBRARIES = (
    "torch",
    "diffusers",
    "transformers",
    "onnx",
    "onnxruntime",
    "numpy",
    "opencv-python-headless",
    "Pillow",
)


def pipeline_constants() -> dict[str, Any]:
    """Sizes that hold for every bundle, and what is inside the graphs."""
    return {
        "image_size": sizes.IMAGE_SIZE,
        "latent_channels": sizes.LATENT_CHANNELS,
        "latent_size": sizes.LATENT_SIZE,
        "scaling_factor": sizes.SCALING_FACTOR,
        "feature_dim": sizes.FEATURE_DIM,
        "hidden_states": sizes.HIDDEN_STATES,
        "window_steps": sizes.WINDOW_STEPS,
        "features_per_second": sizes.FEATURES_PER_SECOND,
        "unet_timestep": sizes.UNET_TIMESTEP,
        "folded": ["timestep", "audio_positions", "scaling_factor", "image_range"],
    }


def model_entry(network: Network, files: Mapping[str, list[Path]]) -> dict[str, Any]:
    """What ``models`` says of one network whose ``files`` were written by ``export_network``."""
    return {
        "inputs": [dataclasses.asdict(port) for port in network.inputs],
        "outputs": [dataclasses.asdict(port) for port in network.outputs],
        "formats": {key: [path.name for path in paths] for key, paths in files.items()},
    }


def write_manifest(
    folder: Path, head: Mapping[str, Any], models: Mapping[str, Any], files: Iterable[Path]
) -> dict[str, Any]:
    """Write ``folder``/``manifest.json``, with hashes of ``files``, and return it.

    ``head`` says where the weights come from: ``weights``, ``dtype``, ``opset``, ``configs`` and what else is
    worth knowing.
    """
    manifest: dict[str, Any] = {
        "manifest_version": MANIFEST_VERSION,
        "kind": "musetalk",
        **head,
        "pipeline": pipeline_constants(),
        "models": dict(models),
        "files": {},
    }
    for path in files:
        path.chmod(0o644)  # safetensors writes owner-only files
        name = path.relative_to(folder).as_posix()
        manifest["files"][name] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    manifest["made_with"] = versions()
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return manifest


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """The versions of the libraries that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
