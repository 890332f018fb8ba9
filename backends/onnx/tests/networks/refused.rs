//! Files that are not what the manifest says they are.

use std::fs;

use lipcast_musetalk::networks::{FACE, Network};
use lipcast_musetalk::settings::RuntimeSettings;
use lipcast_musetalk::{NetworkError, Networks};

use crate::common::{Copy, folder, noise, open, settings};

#[test]
fn a_model_with_other_ports_is_refused_by_file_and_port() {
    // The encoder is opened late, yet looked at when the others are opened.
    for (file, other, words) in [
        (
            "unet.onnx",
            "vae_decoder.onnx",
            "expected input latents [B, 8, 32, 32], got latent [?, 4, 32, 32] of f32",
        ),
        (
            "vae_decoder.onnx",
            "vae_encoder.onnx",
            "expected input latent [B, 4, 32, 32], got image [?, 3, 256, 256]",
        ),
        (
            "vae_encoder.onnx",
            "vae_decoder.onnx",
            "expected input image [B, 3, 256, 256], got latent [?, 4, 32, 32]",
        ),
    ] {
        let copy = Copy::of("nano");
        copy.put(file, &fs::read(folder("nano").join(other)).unwrap());
        let Err(NetworkError::Corrupt(message)) = open(copy.folder.path(), &settings()) else {
            panic!("{file} was taken, or refused as something else")
        };
        let path = copy.path(file).display().to_string();
        assert!(message.starts_with(&path) && message.contains(words), "{message}");
    }
}

#[test]
fn a_file_that_is_cut_or_no_model_is_refused_by_name() {
    for file in ["whisper_encoder.onnx", "unet.onnx", "vae_encoder.onnx"] {
        let whole = fs::read(folder("nano").join(file)).unwrap();
        for bytes in [&whole[..whole.len() / 2], b"no model at all", b""] {
            let copy = Copy::of("nano");
            copy.put(file, bytes);
            let Err(error) = open(copy.folder.path(), &settings()) else { panic!("{file} was taken") };
            assert!(matches!(error, NetworkError::Corrupt(_)), "{error:?}");
            assert!(error.to_string().starts_with(&copy.path(file).display().to_string()), "{error}");
        }
    }
}

#[test]
fn a_file_that_was_replaced_is_refused_when_it_is_opened_again() {
    let copy = Copy::of("nano");
    let settings = RuntimeSettings { verify: true, ..settings() };
    let mut networks = open(copy.folder.path(), &settings).unwrap();
    let mut encode = || {
        networks.release();
        networks.run(Network::VaeEncoder, &[noise(1, &[1, 3, FACE, FACE])])
    };
    let path = copy.path("vae_encoder.onnx");
    let whole = fs::read(&path).unwrap();
    let before = encode().unwrap();
    let mut other = whole.clone();
    other[whole.len() / 2] ^= 1;
    for (content, word) in [(other, "sha256"), ([&whole[..], b"more"].concat(), "bytes")] {
        fs::write(&path, content).unwrap();
        let Err(NetworkError::Corrupt(message)) = encode() else { panic!("it was taken") };
        assert!(message.starts_with(&path.display().to_string()) && message.contains(word), "{message}");
    }
    fs::write(&path, whole).unwrap();
    assert_eq!(encode().unwrap(), before);
}
