//! Where the authors of each network publish its weights. Said to people; nothing here is ever fetched.

use serde::Serialize;

use super::model::Model;
use crate::networks::Network;

/// A file of weights as its authors publish it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// Its name, with the folder where MuseTalk's own scripts put it.
    pub file: &'static str,
    /// Where it is published.
    pub published: &'static str,
    /// Its SHA-256 in hexadecimal digits, where one was published.
    pub sha256: Option<&'static str>,
}

const UNET: Checkpoint =
    Checkpoint { file: "musetalkV15/unet.pth", published: "Hugging Face, TMElyralab/MuseTalk", sha256: None };
const VAE: Checkpoint = Checkpoint {
    file: "sd-vae/diffusion_pytorch_model.bin",
    published: "Hugging Face, stabilityai/sd-vae-ft-mse",
    sha256: None,
};
const WHISPER: Checkpoint = Checkpoint {
    file: "whisper/pytorch_model.bin",
    published: "Hugging Face, openai/whisper-tiny",
    sha256: None,
};
const PARSING: Checkpoint = Checkpoint {
    file: "face-parse-bisent/79999_iter.pth",
    published: "the BiSeNet project face-parsing.PyTorch, and Hugging Face, ManyOtherFunctions/face-parse-bisent",
    sha256: None,
};
const LANDMARKS: Checkpoint = Checkpoint {
    file: "dwpose/dw-ll_ucoco_384.onnx",
    published: "Hugging Face, yzd-v/DWPose",
    sha256: Some("724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843"),
};
const DETECTOR: Checkpoint = Checkpoint {
    file: "s3fd-619a316812.pth",
    published: "adrianbulat.com, from where the face-alignment project takes it",
    sha256: None,
};
const TAESD: Checkpoint = Checkpoint {
    file: "taesd/taesd_decoder.pth",
    published: "GitHub and Hugging Face, madebyollin/taesd",
    sha256: None,
};

/// What `model` is made of, and what it is for.
pub(super) fn of(model: Model) -> (Checkpoint, &'static str) {
    match model {
        Model::Network(Network::WhisperEncoder) => (WHISPER, "hears the speech"),
        Model::Network(Network::Unet) | Model::Generator => (UNET, "moves the mouth"),
        Model::Network(Network::VaeDecoder) => (VAE, "makes the picture"),
        Model::Network(Network::VaeEncoder) => (VAE, "prepares avatars"),
        Model::Network(Network::FaceParsing) => (PARSING, "finds what the mask may cover"),
        Model::Network(Network::Landmarks) => (LANDMARKS, "finds the face as the reference does"),
        Model::Network(Network::FaceDetector) => (DETECTOR, "finds the face where landmarks fail"),
        Model::TaesdDecoder => (TAESD, "makes the picture with a fraction of the arithmetic"),
    }
}
