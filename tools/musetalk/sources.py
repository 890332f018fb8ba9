"""The official files: where MuseTalk's scripts put them, who publishes them, and which cannot be done
without.

In: the folder that MuseTalk calls `models`. Out: the paths of what is there. Nothing is ever fetched.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from .checkpoint import CheckpointError
from .manifest import sha256_of

#: The two generations of weights; the first is the default.
VERSIONS = ("v15", "v1")


@dataclasses.dataclass(frozen=True)
class Source:
    """One official file."""

    #: What it is for, in words.
    purpose: str
    #: Its path below the folder, and others that are in use; the first that is there counts.
    paths: tuple[str, ...]
    #: Where its authors publish it.
    published: str

    def __str__(self) -> str:
        return f"{self.paths[0]}, {self.purpose} (published on {self.published})"


MUSETALK = "Hugging Face, TMElyralab/MuseTalk"
SD_VAE = "Hugging Face, stabilityai/sd-vae-ft-mse"
WHISPER_TINY = "Hugging Face, openai/whisper-tiny"
DWPOSE = "Hugging Face, yzd-v/DWPose"

UNET_WEIGHTS = {
    "v15": Source("the UNet's weights", ("musetalkV15/unet.pth",), MUSETALK),
    "v1": Source("the UNet's weights", ("musetalk/pytorch_model.bin",), MUSETALK),
}
UNET_CONFIG = {
    "v15": Source("the UNet's sizes", ("musetalkV15/musetalk.json",), MUSETALK),
    "v1": Source("the UNet's sizes", ("musetalk/musetalk.json",), MUSETALK),
}
# MuseTalk's older documents call the folder by the checkpoint's name.
VAE_FOLDERS = ("sd-vae", "sd-vae-ft-mse")
VAE_WEIGHTS = Source(
    "the VAE's weights",
    tuple(f"{d}/diffusion_pytorch_model.{e}" for d in VAE_FOLDERS for e in ("bin", "safetensors")),
    SD_VAE,
)
VAE_CONFIG = Source("the VAE's sizes", tuple(f"{folder}/config.json" for folder in VAE_FOLDERS), SD_VAE)
WHISPER_WEIGHTS = Source(
    "the speech encoder's weights", ("whisper/pytorch_model.bin", "whisper/model.safetensors"), WHISPER_TINY
)
WHISPER_CONFIG = Source("the speech encoder's sizes", ("whisper/config.json",), WHISPER_TINY)
WHISPER_MEL = Source("how its mels are made", ("whisper/preprocessor_config.json",), WHISPER_TINY)

PARSING = Source(
    "face parsing's weights",
    ("face-parse-bisent/79999_iter.pth",),
    "Hugging Face, ManyOtherFunctions/face-parse-bisent",
)
POSE_ONNX = Source("the landmarks' graph", ("dwpose/dw-ll_ucoco_384.onnx",), DWPOSE)
POSE_WEIGHTS = Source("the landmarks' weights", ("dwpose/dw-ll_ucoco_384.pth",), DWPOSE)
DETECTOR = Source(
    "the face detector's weights",
    ("s3fd-619a316812.pth", "s3fd/s3fd-619a316812.pth", "s3fd.pth"),
    "adrianbulat.com, from where the face-alignment project takes it",
)
TAESD = Source(
    "the small decoder's weights",
    ("taesd/taesd_decoder.pth", "taesd/taesd_decoder.safetensors"),
    "GitHub and Hugging Face, madebyollin/taesd",
)


class Models:
    """The official folders of one user, and which of their files were used."""

    def __init__(self, root: Path, version: str = VERSIONS[0]) -> None:
        if not root.is_dir():
            raise CheckpointError(f"{root}: no such folder")
        self.root = root
        self.version = version
        self.used: list[Path] = []

    def find(self, source: Source) -> Path | None:
        """The file, if it is there; it then counts as used."""
        for path in (self.root / name for name in source.paths):
            if path.is_file():
                if path not in self.used:
                    self.used.append(path)
                return path
        return None

    def require(self, *sources: Source) -> list[Path]:
        """The files, all of which have to be there; the error lists each that is not."""
        found = [self.find(source) for source in sources]
        missing = [str(source) for source, path in zip(sources, found, strict=True) if path is None]
        if missing:
            raise CheckpointError(f"{self.root}: lacks {'; '.join(missing)}")
        return [path for path in found if path is not None]

    def hashes(self) -> dict[str, dict[str, int | str]]:
        """Size and SHA-256 of each file that was used, by its path below the folder."""
        return {
            path.relative_to(self.root).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
            for path in self.used
        }


def required(version: str) -> list[Source]:
    """The files without which there is no bundle."""
    return [
        UNET_WEIGHTS[version],
        UNET_CONFIG[version],
        VAE_WEIGHTS,
        VAE_CONFIG,
        WHISPER_WEIGHTS,
        WHISPER_CONFIG,
        WHISPER_MEL,
    ]
