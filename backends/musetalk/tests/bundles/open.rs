//! Bundles in order are opened; each thing that can be wrong is refused by the name of its file.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::made_up::MadeUp;
use lipcast_musetalk::bundle::{Bundle, BundleError, Manifest, examine};
use lipcast_musetalk::networks::Network;
use lipcast_musetalk::settings::{Decoder, PrecisionChoice};
use lipcast_plugins_api::author::{Code, Error};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

fn refusal(bundle: &MadeUp) -> Error {
    match Bundle::open(bundle.folder(), "onnx") {
        Ok(_) => panic!("a bundle was opened that should have been refused"),
        Err(error) => error.into(),
    }
}

/// Changes the manifest by `change`, and expects a refusal of `code` with all of `words`.
#[track_caller]
fn refused(change: impl FnOnce(&mut Value), code: Code, words: &[&str]) {
    let mut bundle = MadeUp::new();
    change(&mut bundle.manifest);
    bundle.write();
    let error = refusal(&bundle);
    assert_eq!(error.code, code, "{error}");
    assert_eq!(error.message.lines().count(), 1, "{error}");
    for word in ["manifest.json"].iter().chain(words) {
        assert!(error.message.contains(word), "{word:?} is not in: {error}");
    }
}

#[test]
fn files_are_found_by_network_format_and_precision() {
    let made = MadeUp::new();
    let bundle = Bundle::open(made.folder(), "onnx").unwrap();
    assert_eq!(bundle.folder(), made.folder());
    let file = |network, format, precision| {
        let path = bundle.file(network, format, precision)?;
        Some(path.strip_prefix(made.folder()).unwrap().to_str().unwrap().to_owned())
    };
    assert_eq!(file(Network::Unet, "onnx", "fp32").as_deref(), Some("unet.onnx"));
    assert_eq!(file(Network::Unet, "onnx", "fp16").as_deref(), Some("fp16/unet.onnx"));
    assert_eq!(file(Network::Unet, "torchscript", "fp32").as_deref(), Some("unet.pt"));
    assert_eq!(file(Network::Unet, "torchscript", "fp16"), None);
    assert_eq!(file(Network::Unet, "aoti", "fp32"), None);
    assert!(Network::ALL.into_iter().all(|network| bundle.has(network)));
}

#[test]
fn one_rule_says_which_file_and_which_precision_is_run() {
    let made = MadeUp::new();
    let bundle = Bundle::open(made.folder(), "onnx").unwrap();
    let told = RefCell::new(Vec::new());
    let precision = |bundle: &Bundle, choice, gpu| {
        bundle.precision(choice, gpu, &|line| told.borrow_mut().push(line.to_owned()))
    };
    // Only the UNet is there in fp16.
    assert_eq!(precision(&bundle, PrecisionChoice::Auto, false), Ok("fp32"));
    assert!(told.borrow().is_empty());
    assert_eq!(precision(&bundle, PrecisionChoice::Auto, true), Ok("fp32"));
    let line = told.borrow_mut().pop().expect("a GPU would take fp16");
    assert!(line.contains("fp32, since") && line.contains("no vae_decoder as onnx in fp16"), "{line}");
    let error = precision(&bundle, PrecisionChoice::Fp16, true).unwrap_err().to_string();
    assert!(error.starts_with("precision = \"fp16\"") && error.contains("no vae_decoder"), "{error}");
    assert!(error.ends_with("precision = \"fp32\" would do"), "{error}");

    let mut made = MadeUp::new();
    for (model, file) in [("vae_decoder", "vae_decoder.onnx"), ("face_parsing", "face_parsing.onnx")] {
        made.manifest["models"][model]["formats"]["onnx_fp16"] = json!([file]);
    }
    made.manifest["models"]["face_parsing"]["formats"].as_object_mut().unwrap().remove("onnx");
    made.write();
    let bundle = Bundle::open(made.folder(), "onnx").unwrap();
    assert_eq!(precision(&bundle, PrecisionChoice::Auto, true), Ok("fp16"));
    let chosen = |network, precision| bundle.chosen(network, precision).map(|(_, precision)| precision);
    assert_eq!(chosen(Network::Unet, "fp16"), Some("fp16"));
    // Beside them these may be there in full precision alone.
    assert_eq!(chosen(Network::WhisperEncoder, "fp16"), Some("fp32"));
    assert_eq!(chosen(Network::VaeEncoder, "fp16"), Some("fp32"));
    // What decides runs in full precision or not at all.
    assert_eq!(chosen(Network::FaceParsing, "fp16"), None);
    assert_eq!(bundle.passed_over("fp16").collect::<Vec<_>>(), [Network::FaceParsing]);
    assert_eq!(bundle.passed_over("fp32").collect::<Vec<_>>(), [Network::FaceParsing]);

    // Whisper in fp16 alone serves no fp32 UNet.
    let whisper = made.manifest["models"]["whisper_encoder"]["formats"].as_object_mut().unwrap();
    let file = whisper.remove("onnx").unwrap();
    whisper.insert("onnx_fp16".to_owned(), file);
    made.write();
    let bundle = Bundle::open(made.folder(), "onnx").unwrap();
    let error = precision(&bundle, PrecisionChoice::Auto, false).unwrap_err().to_string();
    assert!(error.contains("no whisper_encoder as onnx in fp32; precision = \"fp16\" would do"), "{error}");
}

#[test]
fn a_bundle_of_half_precision_has_its_plain_formats_in_it() {
    let mut made = MadeUp::smallest();
    made.manifest["dtype"] = json!("fp16");
    made.manifest["models"]["whisper_encoder"]["dtype"] = json!("fp32");
    made.write();
    let bundle = Bundle::open(made.folder(), "torchscript").unwrap();
    assert!(bundle.file(Network::VaeDecoder, "torchscript", "fp16").is_some());
    assert!(bundle.file(Network::VaeDecoder, "torchscript", "fp32").is_none());
    assert!(bundle.file(Network::WhisperEncoder, "torchscript", "fp32").is_some());
    assert!(!bundle.has(Network::Landmarks));
}

#[test]
fn the_decoder_is_chosen_and_its_absence_named() {
    let mut made = MadeUp::new();
    let bundle = Bundle::open(made.folder(), "onnx").unwrap();
    let bundle = bundle.with_decoder(Decoder::Taesd).unwrap();
    assert_eq!(bundle.file(Network::VaeDecoder, "onnx", "fp32"), Some(made.path("taesd_decoder.onnx")));

    made.drop_model("vae_decoder");
    made.write();
    let bundle = Bundle::open(made.folder(), "onnx").unwrap();
    assert!(!bundle.has(Network::VaeDecoder));
    let error = bundle.clone().with_decoder(Decoder::SdVae).unwrap_err().to_string();
    assert!(error.contains("no vae_decoder") && error.contains("decoder = \"taesd\" would do"), "{error}");
    assert!(bundle.with_decoder(Decoder::Taesd).unwrap().has(Network::VaeDecoder));
}

#[test]
fn what_is_no_bundle_is_called_so() {
    let made = MadeUp::new();
    for (folder, code, words) in [
        (Path::new(""), Code::InvalidArg, "this setting names a folder"),
        (&made.path("nowhere"), Code::ModelMissing, "no such folder"),
        (&made.path("unet.onnx"), Code::InvalidArg, "unet.onnx: a file, where a bundle is a folder"),
        (&made.path("fp16"), Code::ModelMissing, "manifest.json: not there"),
    ] {
        let error = Error::from(Bundle::open(folder, "onnx").unwrap_err());
        assert!(error.code == code && error.message.contains(words), "{error}");
    }
    fs::create_dir(made.path("fp16/musetalkV15")).unwrap();
    let error = Bundle::open(&made.path("fp16"), "onnx").unwrap_err().to_string();
    assert!(error.contains("export_musetalk.py"), "{error}");

    for (text, words) in [
        (&b"\xff\xfe"[..], "UTF-8"),
        (b"", "not a JSON object: EOF"),
        (b"7", "not a JSON object: invalid type"),
        (b"{\"kind\": \"musetalk\", \"manifest_version\": 1", "line 1 column"),
        (b"{\"kind\": \"musetalk\", \"manifest_version\": 1}", "missing field `pipeline`"),
    ] {
        fs::write(made.path("manifest.json"), text).unwrap();
        let error = refusal(&made);
        assert!(error.code == Code::ModelCorrupt && error.message.contains(words), "{error}");
    }
    fs::write(made.path("manifest.json"), vec![b' '; 5 << 20]).unwrap();
    assert!(refusal(&made).message.contains("more than 4194304 bytes"));
}

#[test]
fn another_kind_or_version_is_refused() {
    refused(|m| m["kind"] = json!("wav2lip"), Code::InvalidArg, &["kind \"wav2lip\", not \"musetalk\""]);
    refused(|m| m["kind"] = json!(7), Code::InvalidArg, &["`kind` is not \"musetalk\""]);
    refused(|m| m["manifest_version"] = json!(2), Code::InvalidArg, &["2", "reads 1", "updated"]);
    refused(|m| m["manifest_version"] = json!(0), Code::ModelCorrupt, &["manifest_version 0, not 1"]);
    refused(|m| m["manifest_version"] = json!("1"), Code::ModelCorrupt, &["manifest_version \"1\", not 1"]);
}

#[test]
fn constants_of_another_pipeline_are_refused() {
    let corrupt = Code::ModelCorrupt;
    for (key, ours, other) in [
        ("image_size", json!(256), json!(512)),
        ("latent_channels", json!(4), json!(16)),
        ("latent_size", json!(32), json!(64)),
        ("scaling_factor", json!(0.18215), json!(0.13025)),
        ("feature_dim", json!(384), json!(512)),
        ("hidden_states", json!(5), json!(7)),
        ("window_steps", json!(10), json!(16)),
        ("features_per_second", json!(50), json!(25)),
        ("unet_timestep", json!(0), json!(1)),
    ] {
        let sentence = format!("pipeline.{key} is {other}, not {ours}");
        refused(|m| m["pipeline"][key] = other, corrupt, &[&sentence]);
        let sentence = format!("pipeline.{key} is missing; {ours} was expected");
        refused(|m| drop(m["pipeline"].as_object_mut().unwrap().remove(key)), corrupt, &[&sentence]);
    }
    refused(|m| m["pipeline"]["folded"] = json!(["timestep"]), corrupt, &["folded", "audio_positions"]);
    refused(|m| m["pipeline"]["folded"] = json!("all"), corrupt, &["pipeline.folded is not a list"]);
    refused(|m| m["dtype"] = json!("bf16"), corrupt, &["\"bf16\"", "\"fp16\" was expected"]);
}

#[test]
fn the_wrong_configuration_of_march_2025_is_named() {
    let wrong = |m: &mut Value| m["configs"]["unet"] = json!({"in_channels": 32, "out_channels": 16});
    refused(wrong, Code::ModelCorrupt, &["the wrong musetalk.json", "32 channels in and 16 out", "8 and 4"]);
    let other = |m: &mut Value| m["configs"]["unet"]["cross_attention_dim"] = json!(768);
    refused(other, Code::ModelCorrupt, &["configs.unet.cross_attention_dim is 768, not 384"]);
}

#[test]
fn ports_of_another_shape_name_or_type_are_refused() {
    let corrupt = Code::ModelCorrupt;
    let unet = |m: &mut Value, to: Value| m["models"]["unet"]["inputs"][0]["shape"] = to;
    refused(
        |m| unet(m, json!(["batch", 32, 32, 32])),
        corrupt,
        &["models.unet.inputs[0] is latents [batch, 32, 32, 32], where latents [B, 8, 32, 32] was expected"],
    );
    refused(|m| unet(m, json!([1, 8, 32, 32])), corrupt, &["latents [1, 8, 32, 32]"]);
    refused(|m| unet(m, json!(["batch", 8, 32])), corrupt, &["latents [batch, 8, 32]"]);
    refused(
        |m| m["models"]["vae_encoder"]["outputs"][1]["name"] = json!("latent_logvar"),
        corrupt,
        &["models.vae_encoder.outputs[1] is called \"latent_logvar\", not \"latent_std\""],
    );
    refused(
        |m| m["models"]["vae_decoder"]["outputs"][0]["dtype"] = json!("u8"),
        corrupt,
        &["models.vae_decoder.outputs[0] (image) holds \"u8\", not f32 or f16"],
    );
    refused(
        |m| m["models"]["landmarks"]["outputs"].as_array_mut().unwrap().truncate(1),
        corrupt,
        &["models.landmarks.outputs has 1 entries, not 2"],
    );
}

#[test]
fn files_that_are_missing_cut_or_elsewhere_are_refused_by_name() {
    let made = MadeUp::new();
    let size = fs::metadata(made.path("unet.onnx.data")).unwrap().len();

    let data = fs::read(made.path("unet.onnx.data")).unwrap();
    fs::write(made.path("unet.onnx.data"), &data[..100]).unwrap();
    let error = refusal(&made);
    assert_eq!(error.code, Code::ModelCorrupt);
    let sentence = format!("unet.onnx.data: cut: 100 bytes where {size} were expected");
    assert!(error.message.ends_with(&sentence), "{error}");

    fs::write(made.path("unet.onnx.data"), [&data[..], b"more"].concat()).unwrap();
    let sentence = format!("unet.onnx.data: {} bytes where {size} were expected", size + 4);
    assert!(refusal(&made).message.ends_with(&sentence));

    fs::remove_file(made.path("unet.onnx.data")).unwrap();
    let error = refusal(&made);
    assert_eq!(error.code, Code::ModelMissing);
    assert!(error.message.ends_with(&format!("unet.onnx.data: not there; {size} bytes were expected")));

    fs::create_dir(made.path("unet.onnx.data")).unwrap();
    assert!(refusal(&made).message.ends_with("unet.onnx.data: not a file"));

    // The other format has no such file.
    Bundle::open(made.folder(), "torchscript").unwrap();
}

#[test]
fn paths_stay_in_the_folder() {
    for path in
        ["../unet.onnx", "/etc/hostname", "a/../../unet.onnx", "C:\\unet.onnx", "", ".", "a\\b", "a\nb"]
    {
        let change = |m: &mut Value| {
            m["models"]["unet"]["formats"]["onnx"] = json!([path]);
            m["files"][path] = m["files"]["unet.onnx"].clone();
        };
        refused(change, Code::ModelCorrupt, &[&format!("{path:?}"), "not one below the bundle's folder"]);
    }
    let unlisted = |m: &mut Value| drop(m["files"].as_object_mut().unwrap().remove("unet.onnx"));
    refused(unlisted, Code::ModelCorrupt, &["\"unet.onnx\" has no size and hash under `files`"]);
    let short = |m: &mut Value| m["files"]["unet.onnx"]["sha256"] = json!("abc");
    refused(short, Code::ModelCorrupt, &["64 hexadecimal digits", "line"]);
}

#[test]
fn a_network_that_speech_needs_is_missed() {
    for name in ["whisper_encoder", "unet"] {
        let mut made = MadeUp::new();
        made.drop_model(name);
        made.write();
        let error = refusal(&made);
        assert_eq!(error.code, Code::ModelMissing);
        assert!(error.message.contains(&format!("no {name}, which is needed to speak")), "{error}");
    }
    let mut made = MadeUp::smallest();
    made.drop_model("vae_decoder");
    made.write();
    assert!(refusal(&made).message.contains("no vae_decoder"));

    let only_torch =
        |m: &mut Value| m["models"]["unet"]["formats"] = json!({"torchscript": ["unet.pt"], "onnx_fp16": []});
    refused(
        only_torch,
        Code::ModelMissing,
        &["no unet as onnx fp32 or fp16; it is there as torchscript fp32"],
    );
}

/// The refusal once said that a format was there, and was not.
#[test]
fn a_format_without_files_is_not_there() {
    let without = |formats: Value| move |m: &mut Value| m["models"]["unet"]["formats"] = formats;
    let torch = json!({"onnx": [], "torchscript": ["unet.pt"], "torchscript_fp16": ["unet.pt"]});
    let sentence = "no unet as onnx fp32 or fp16; it is there as torchscript fp32, torchscript fp16";
    refused(without(torch), Code::ModelMissing, &[sentence]);
    let nothing = json!({"onnx": [], "torchscript": []});
    refused(without(nothing), Code::ModelMissing, &["no unet, which is needed to speak"]);
    let other = |m: &mut Value| {
        m["models"]["unet"]["dtype"] = json!("bf16");
        m["models"]["unet"]["formats"] = json!({"onnx": ["unet.onnx"]});
    };
    refused(other, Code::ModelMissing, &["no unet as onnx fp32 or fp16; it is there as onnx bf16"]);

    // An empty list of one precision does not hide the files that have it without saying so.
    let mut made = MadeUp::new();
    made.manifest["models"]["unet"]["formats"]["onnx_fp32"] = json!([]);
    made.write();
    let bundle = Bundle::open(made.folder(), "onnx").unwrap();
    assert_eq!(bundle.file(Network::Unet, "onnx", "fp32"), Some(made.path("unet.onnx")));
}

/// A pipe is waited for without end, and a device may have no end.
#[test]
fn a_manifest_that_is_no_file_is_refused_without_waiting() {
    let made = MadeUp::new();
    let manifest = made.path("manifest.json");
    fs::remove_file(&manifest).unwrap();
    mknodat(CWD, &manifest, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let pipe = refusal(&made);
    assert!(examine(made.folder(), None).to_string().contains("manifest.json: not a file"));
    fs::remove_file(&manifest).unwrap();
    symlink("/dev/zero", &manifest).unwrap();
    for error in [pipe, refusal(&made)] {
        assert_eq!(error.code, Code::ModelCorrupt);
        assert!(error.message.ends_with("manifest.json: not a file"), "{error}");
    }
}

#[test]
fn hashes_are_compared_and_the_progress_told() {
    let made = MadeUp::new();
    let bundle = Bundle::open(made.folder(), "onnx").unwrap();
    let told = RefCell::new(Vec::new());
    let tell = |done, all| {
        told.borrow_mut().push((done, all));
        Ok::<_, BundleError>(())
    };
    bundle.verify(&tell).unwrap();
    let sizes: u64 = made.manifest["files"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.contains(".onnx"))
        .map(|(_, file)| file["bytes"].as_u64().unwrap())
        .sum();
    assert!(told.borrow().is_sorted());
    assert_eq!(told.borrow().last(), Some(&(sizes, sizes)));

    let stop = |_, _| Err(Error::cancelled());
    assert_eq!(bundle.verify(&stop).unwrap_err().code, Code::Cancelled);

    // One bit of one file; its size stays.
    let mut bytes = fs::read(made.path("vae_decoder.onnx")).unwrap();
    bytes[1000] ^= 4;
    fs::write(made.path("vae_decoder.onnx"), &bytes).unwrap();
    let error = Bundle::open(made.folder(), "onnx").unwrap().verify(&tell).unwrap_err();
    assert_eq!(error.code(), Code::ModelCorrupt);
    let expected = &made.manifest["files"]["vae_decoder.onnx"]["sha256"].as_str().unwrap()[..12];
    let error = error.to_string();
    assert!(error.contains("vae_decoder.onnx: damaged") && error.contains(expected), "{error}");
    Bundle::open(made.folder(), "torchscript").unwrap().verify(&tell).unwrap();
}

#[test]
fn a_fingerprint_tells_what_avatars_depend_on() {
    let mut made = MadeUp::new();
    let onnx = Bundle::open(made.folder(), "onnx").unwrap();
    let before = onnx.fingerprint(b"jaw");
    assert_eq!(before, Bundle::open(made.folder(), "torchscript").unwrap().fingerprint(b"jaw"));
    assert_ne!(before, onnx.fingerprint(b"neck"));

    let other = json!("00".repeat(32));
    for (name, matters) in [
        ("vae_encoder.onnx", true),
        ("face_parsing.onnx", true),
        ("landmarks.pt", true),
        ("face_detector.onnx", true),
        ("unet.onnx", false),
        ("vae_decoder.onnx", false),
        ("whisper_encoder.pt", false),
    ] {
        let kept = std::mem::replace(&mut made.manifest["files"][name]["sha256"], other.clone());
        made.write();
        let after = Bundle::open(made.folder(), "onnx").unwrap().fingerprint(b"jaw");
        assert_eq!(after != before, matters, "{name}");
        made.manifest["files"][name]["sha256"] = kept;
    }
    made.drop_model("landmarks");
    made.write();
    assert_ne!(Bundle::open(made.folder(), "onnx").unwrap().fingerprint(b"jaw"), before);
}

#[test]
fn a_report_names_everything_at_once() {
    let mut made = MadeUp::new();
    assert!(examine(made.folder(), Some(&|_, _| ())).healthy());

    made.drop_model("landmarks");
    made.drop_model("taesd_decoder");
    made.manifest["pipeline"]["window_steps"] = json!(12);
    made.write();
    fs::remove_file(made.path("vae_encoder.onnx")).unwrap();
    let mut bytes = fs::read(made.path("unet.pt")).unwrap();
    bytes[0] ^= 1;
    fs::write(made.path("unet.pt"), &bytes).unwrap();

    let quick = examine(made.folder(), None);
    assert_eq!(quick.problems.len(), 2, "{quick}");
    let told = RefCell::new((0, 0));
    let report = examine(made.folder(), Some(&|done, all| *told.borrow_mut() = (done, all)));
    let (done, all) = *told.borrow();
    assert!(done == all && all > 0);
    assert!(!report.healthy());
    assert_eq!(
        report.problems.iter().map(|problem| problem.code).collect::<Vec<_>>(),
        ["MODEL_CORRUPT", "MODEL_MISSING", "MODEL_CORRUPT"]
    );
    let text = report.to_string();
    for words in [
        "pipeline.window_steps is 12, not 10",
        "vae_encoder.onnx: not there",
        "unet.pt: damaged",
        "onnx fp32 speaks: whisper_encoder, unet, vae_decoder",
        "torchscript fp32 prepares: whisper_encoder, vae_encoder",
        "optional landmarks",
        "dwpose/dw-ll_ucoco_384.onnx (Hugging Face, yzd-v/DWPose, \
         sha256 724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843)",
        "optional taesd_decoder",
        "3 things are wrong; sizes and hashes were compared",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["variants"][0]["format"], "onnx");
    assert_eq!(json["absent"][0]["model"], "landmarks");
    assert_eq!(json["absent"][0]["checkpoint"]["file"], "dwpose/dw-ll_ucoco_384.onnx");
}

#[test]
fn a_report_of_nothing_says_where_all_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let report = examine(folder.path(), None);
    assert!(!report.healthy());
    let text = report.to_string();
    for words in [
        "manifest.json: not there",
        "missing  unet, which moves the mouth: exported from musetalkV15/unet.pth (Hugging Face, TMElyralab/MuseTalk)",
        "missing  vae_encoder",
        "stabilityai/sd-vae-ft-mse",
        "openai/whisper-tiny",
        "79999_iter.pth",
        "s3fd-619a316812.pth",
        "madebyollin/taesd",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    /// Whatever becomes of a manifest's text, it is read or refused in one line, and never more than that.
    #[test]
    fn damaged_manifests_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let made = MADE.with(|made| serde_json::to_vec_pretty(&made.manifest).unwrap());
        let mut bytes = made;
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        MADE.with(|made| {
            fs::write(made.path("manifest.json"), &bytes).unwrap();
            for format in ["onnx", "torchscript"] {
                if let Err(error) = Bundle::open(made.folder(), format) {
                    prop_assert_eq!(error.to_string().lines().count(), 1, "{}", error);
                }
            }
            let report = examine(made.folder(), None);
            prop_assert!(report.to_string().starts_with("bundle "));
            Ok(())
        })?;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            drop(Manifest::parse(text, Path::new("manifest.json")));
        }
    }
}

thread_local! {
    static MADE: MadeUp = MadeUp::new();
}
