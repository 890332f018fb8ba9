//! Creating the backend: what it says of itself, and what it refuses before anybody waits for it.

mod pipeline;

use lipcast_musetalk::Networks;
use lipcast_musetalk::networks::Network;
use lipcast_plugins_api::types::{Code, HealthState};
use pipeline::arithmetic::Arithmetic;
use pipeline::bundle::{self, FOUR};
use pipeline::stage::{Impatient, create, create_with, plugin, refusal};
use serde_json::{Value, json};

#[test]
fn it_says_what_it_is_and_what_it_runs_on() {
    let plugin = plugin();
    let descriptor = plugin.descriptor();
    assert_eq!((descriptor.id.as_str(), descriptor.name.as_str()), (Arithmetic::ID, Arithmetic::NAME));
    let capabilities = &descriptor.capabilities;
    assert_eq!((capabilities.lookahead_ms, capabilities.max_batch), (140, 16));
    assert!(capabilities.prepare.frames && capabilities.prepare.landmarks);

    let folder = bundle::of(&FOUR);
    let instance = create(&bundle::settings(folder.path(), json!({"batches": [1, 4]}))).unwrap();
    let about = instance.describe().unwrap();
    assert_eq!(about["device"], "cpu");
    assert_eq!(about["precision"], "fp32");
    assert_eq!(about["batches"], json!([1, 4]));
    assert_eq!(about["decoder"], "sd-vae");
    assert_eq!(about["bundle"]["weights"], "arithmetic");
    assert_eq!(about["networks"], json!(["whisper_encoder", "unet", "vae_encoder", "vae_decoder"]));
    assert_eq!(instance.health().state, HealthState::Ok);
}

#[test]
fn progress_only_grows_and_tells_what_is_done() {
    let folder = bundle::of(&Network::ALL);
    let watch = Impatient::after(usize::MAX);
    create_with(&bundle::settings(folder.path(), json!({"batches": [1, 2, 4]})), &watch).unwrap();
    let told = watch.told.into_inner().unwrap();
    assert!(told.is_sorted_by_key(|(permille, _)| *permille), "{told:?}");
    let stages: Vec<&str> = told.iter().map(|(_, stage)| stage.as_str()).collect();
    for stage in ["verifying the bundle", "loading networks", "unet", "face_detector", "warming up"] {
        assert!(stages.contains(&stage), "{stage} in {stages:?}");
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused_by_their_names() {
    for broken in Network::ALL {
        let gain = |network| (network, if network == broken { f32::NAN } else { 1.0 });
        let folder = bundle::with_gains(&Network::ALL.map(gain));
        let (code, message) = refusal(create(&bundle::settings(folder.path(), json!({}))));
        assert_eq!(code, Code::ModelCorrupt, "{message}");
        let file = folder.path().join(format!("{}.f32", broken.name()));
        let expected = format!("{}: {} gives NaN or infinity", file.display(), broken.name());
        assert!(message.starts_with(&expected), "{message}");
    }
}

#[test]
fn numbers_that_overflow_are_refused_too() {
    let gain = |network| (network, if network == Network::Unet { f32::MAX } else { 1.0 });
    let folder = bundle::with_gains(&[gain(FOUR[0]), gain(FOUR[1]), gain(FOUR[2]), (FOUR[3], 1e9)]);
    let (code, message) = refusal(create(&bundle::settings(folder.path(), json!({}))));
    assert_eq!(code, Code::ModelCorrupt, "{message}");
    assert!(message.contains("vae_decoder gives NaN or infinity"), "{message}");

    // What only shows when UNet and decoder run together.
    let folder = bundle::of(&FOUR);
    let settings = bundle::settings(folder.path(), json!({"options": {"overflow": -10.0}}));
    let (code, message) = refusal(create(&settings));
    assert_eq!(code, Code::ModelCorrupt, "{message}");
    assert!(message.contains("unet.f32"), "{message}");
}

#[test]
fn bad_bundles_and_settings_are_refused_by_name() {
    let said = |config: Value| refusal(create(&config));
    let (code, message) = said(json!({}));
    assert_eq!(code, Code::InvalidArg);
    assert!(message.starts_with("bundle: "), "{message}");
    assert_eq!(said(json!({"bundel": "x"})).0, Code::InvalidArg);
    assert_eq!(said(json!({"bundle": "/nowhere/at/all"})).0, Code::ModelMissing);

    let folder = bundle::of(&FOUR);
    let settings = bundle::settings(folder.path(), json!({}));
    let decoder = folder.path().join("vae_decoder.f32");
    std::fs::write(&decoder, 2.0_f32.to_le_bytes()).unwrap();
    let (code, message) = said(settings.clone());
    assert_eq!(code, Code::ModelCorrupt);
    assert!(message.starts_with(&format!("{}: damaged", decoder.display())), "{message}");
    assert!(create(&bundle::settings(folder.path(), json!({"verify": false}))).is_ok());
    std::fs::write(&decoder, [0; 3]).unwrap();
    let (code, message) = said(settings.clone());
    assert!(code == Code::ModelCorrupt && message.contains("cut: 3 bytes where 4"), "{message}");
    std::fs::remove_file(&decoder).unwrap();
    let (code, message) = said(settings);
    assert!(code == Code::ModelMissing && message.contains("vae_decoder.f32"), "{message}");
}

#[test]
fn a_create_that_is_cancelled_ends_wherever_it_is() {
    let folder = bundle::of(&FOUR);
    let settings = bundle::settings(folder.path(), json!({"batches": [1, 2]}));
    let whole = Impatient::after(usize::MAX);
    create_with(&settings, &whole).unwrap();
    let told = whole.told.into_inner().unwrap();
    for after in 0..told.len() {
        let (code, _) = refusal(create_with(&settings, &Impatient::after(after)));
        assert_eq!(code, Code::Cancelled, "after {after} of {} steps", told.len());
    }

    // Also while a runtime loads, which nothing can stop: this one waits for a file that comes later.
    let gate = folder.path().join("gate");
    let settings = bundle::settings(folder.path(), json!({"options": {"open_when": gate}}));
    let loading = told.iter().position(|(_, stage)| stage == "loading networks").unwrap();
    let (code, _) = refusal(create_with(&settings, &Impatient::after(loading + 1)));
    assert_eq!(code, Code::Cancelled);
    std::fs::write(&gate, "").unwrap();
    assert!(create(&settings).is_ok());
}
