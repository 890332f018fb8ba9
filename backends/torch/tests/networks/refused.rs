//! Files that are not what the manifest says they are.

use std::fs;

use lipcast_musetalk::networks::{FACE, Network};
use lipcast_musetalk::settings::RuntimeSettings;
use lipcast_musetalk::{NetworkError, Networks};

use crate::common::{Copy, folder, noise, open, settings};

/// The first error of opening a bundle and of its encoder, which is loaded when an avatar is prepared.
fn refusal(copy: &Copy) -> NetworkError {
    let encoded = open(copy.folder.path(), &settings())
        .and_then(|mut networks| networks.run(Network::VaeEncoder, &[noise(1, &[1, 3, FACE, FACE])]));
    encoded.expect_err("all of it was taken")
}

#[test]
fn another_network_under_a_name_is_refused_by_file() {
    for (file, other) in [
        ("unet.pt", "vae_decoder.pt"),
        ("vae_decoder.pt", "vae_encoder.pt"),
        ("vae_encoder.pt", "vae_decoder.pt"),
        ("whisper_encoder.pt", "unet.pt"),
    ] {
        let copy = Copy::of("nano");
        copy.put(file, &fs::read(folder("nano").join(other)).unwrap());
        let NetworkError::Corrupt(message) = refusal(&copy) else { panic!("another kind of error") };
        assert!(message.starts_with(&copy.path(file).display().to_string()), "{message}");
        assert!(!message.contains('\n') && !message.contains("Traceback"), "{message}");
    }
}

#[test]
fn a_file_that_is_cut_or_no_model_is_refused_by_name() {
    for file in ["whisper_encoder.pt", "unet.pt", "vae_encoder.pt"] {
        let whole = fs::read(folder("nano").join(file)).unwrap();
        for bytes in [&whole[..whole.len() / 2], b"no model at all", b""] {
            let copy = Copy::of("nano");
            copy.put(file, bytes);
            let error = refusal(&copy);
            assert!(matches!(error, NetworkError::Corrupt(_)), "{error:?}");
            assert!(error.to_string().starts_with(&copy.path(file).display().to_string()), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
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
    let path = copy.path("vae_encoder.pt");
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

#[test]
fn weights_that_are_no_numbers_are_refused_by_their_file() {
    let copy = Copy::of("nano");
    let (path, other) = (copy.path("unet.pt"), copy.path("other.pt"));
    let module = tch::CModule::load(&path).unwrap();
    let (_, mut weight) = module.named_parameters().unwrap().swap_remove(0);
    tch::no_grad(|| drop(weight.fill_(f64::NAN)));
    module.save(&other).unwrap();
    copy.put("unet.pt", &fs::read(other).unwrap());
    let error = open(copy.folder.path(), &settings()).expect_err("it was opened");
    let NetworkError::Corrupt(message) = error else { panic!("{error:?}") };
    assert!(message.starts_with(&format!("{}: unet gave NaN", path.display())), "{message}");
}

#[test]
fn a_network_that_was_traced_for_one_item_is_refused_when_it_is_given_more() {
    let copy = Copy::of("nano");
    let other = copy.path("other.pt");
    let latent = tch::Tensor::zeros([1, 4, 32, 32], (tch::Kind::Float, tch::Device::Cpu));
    let mut one_picture = |inputs: &[tch::Tensor]| {
        let level = inputs[0].mean(tch::Kind::Float);
        vec![tch::Tensor::zeros([1, 3, 256, 256], (tch::Kind::Float, tch::Device::Cpu)) + level]
    };
    let module = tch::CModule::create_by_tracing("Decoder", "forward", &[latent], &mut one_picture).unwrap();
    module.save(&other).unwrap();
    copy.put("vae_decoder.pt", &fs::read(other).unwrap());
    let error = open(copy.folder.path(), &settings()).expect_err("it was opened");
    let NetworkError::Corrupt(message) = error else { panic!("{error:?}") };
    let path = copy.path("vae_decoder.pt");
    assert!(message.starts_with(&path.display().to_string()), "{message}");
    assert!(message.contains("for a batch of 3, and gives [1, 3, 256, 256]"), "{message}");
}
