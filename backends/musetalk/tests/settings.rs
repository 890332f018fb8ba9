//! Settings are read key by key; what is wrong is named with what would be right.

use lipcast_musetalk::settings::{
    Compat, Decoder, DeviceChoice, MaskMode, PrecisionChoice, RuntimeSettings, Settings,
};
use lipcast_plugins_api::author::Code;
use serde_json::{Value, json};

#[test]
fn what_is_not_set_stays_at_its_default() {
    assert_eq!(Settings::read(Value::Null).unwrap(), Settings::default());
    assert_eq!(Settings::read(json!({})).unwrap(), Settings::default());
    let set = Settings::read(json!({ "mask": "raw", "compat": { "no_flip": true } })).unwrap();
    let compat = Compat { no_flip: true, ..Compat::default() };
    assert_eq!(set, Settings { mask: MaskMode::Raw, compat, ..Settings::default() });
}

#[test]
fn every_key_is_read() {
    let set = Settings::read(json!({
        "bundle": "/models/musetalk",
        "device": "cuda:1",
        "precision": "fp16",
        "threads": 3,
        "batches": [1, 2, 16],
        "decoder": "taesd",
        "library": "lib/libx.so",
        "verify": false,
        "options": { "of the runtime": [1] },
        "mask": "neck",
        "extra_margin": 12,
        "cheeks": [80, 0],
        "smooth": false,
        "refine": true,
        "context": 28,
        "compat": {
            "sample": 7,
            "reference_window": true,
            "drop_last_frame": true,
            "shift_latents": true,
            "unclamped_box": true,
            "offline_blur": true,
            "no_positions": true,
            "window_maximum": true,
            "no_flip": true,
            "bbox_shift": -7,
        },
    }));
    let expected = Settings {
        runtime: RuntimeSettings {
            bundle: "/models/musetalk".into(),
            device: DeviceChoice::Cuda(1),
            precision: PrecisionChoice::Fp16,
            threads: 3,
            batches: vec![1, 2, 16],
            decoder: Decoder::Taesd,
            library: "lib/libx.so".into(),
            verify: false,
            options: json!({ "of the runtime": [1] }),
        },
        mask: MaskMode::Neck,
        extra_margin: 12,
        cheeks: [80, 0],
        smooth: false,
        refine: true,
        context: 28.0,
        compat: Compat {
            sample: Some(7),
            reference_window: true,
            drop_last_frame: true,
            shift_latents: true,
            unclamped_box: true,
            offline_blur: true,
            no_positions: true,
            window_maximum: true,
            no_flip: true,
            bbox_shift: -7,
        },
    };
    assert_eq!(set.unwrap(), expected);
}

#[test]
fn each_wrong_value_is_named_with_what_its_key_takes() {
    let device = r#"device: "auto", "cpu", "cuda", or "cuda:1" and the like is expected, not "#;
    let batches = "batches: a list of rising whole numbers from 1 to 16 is expected, not ";
    for (key, values, sentence) in [
        ("bundle", vec![json!(7), json!("a\0b")], "bundle: a path is expected, not "),
        (
            "device",
            vec![
                json!("gpu"),
                json!("cuda:"),
                json!("cuda:x"),
                json!("cuda:+1"),
                json!("cuda:01"),
                json!("cuda:256"),
                json!("CPU"),
                json!(0),
                json!(null),
            ],
            device,
        ),
        (
            "precision",
            vec![json!("half"), json!(16)],
            r#"precision: one of "auto", "fp32", "fp16" is expected, not "#,
        ),
        (
            "threads",
            vec![json!(-1), json!(1025), json!(1.5), json!("all")],
            "threads: a whole number from 0 to 1024 is expected, not ",
        ),
        (
            "batches",
            vec![json!(4), json!([0]), json!([17]), json!([4, 1]), json!([4, 4]), json!(["1"]), json!([1.5])],
            batches,
        ),
        ("decoder", vec![json!("vae")], r#"decoder: one of "sd-vae", "taesd" is expected, not "#),
        ("verify", vec![json!("yes"), json!(1)], "verify: true or false is expected, not "),
        ("options", vec![json!("fast"), json!([])], "options: a table is expected, not "),
        ("mask", vec![json!("chin"), json!("Jaw")], r#"mask: one of "jaw", "neck", "raw" is expected, not "#),
        (
            "extra_margin",
            vec![json!(-1), json!(513)],
            "extra_margin: a whole number from 0 to 512 is expected, not ",
        ),
        (
            "cheeks",
            vec![json!(90), json!([90]), json!([90, 257]), json!([90, -1]), json!([1, 2, 3])],
            "cheeks: two whole numbers from 0 to 256 is expected, not ",
        ),
        (
            "context",
            vec![json!(0.4), json!(28.1), json!("2s")],
            "context: a number from 0.5 to 28 is expected, not ",
        ),
        ("compat", vec![json!(true), json!("all")], "compat: a table is expected, not "),
    ] {
        for value in values {
            let error = Settings::read(json!({ key: value })).unwrap_err();
            assert_eq!(error.code, Code::InvalidArg);
            assert_eq!(error.message, format!("{sentence}{value}"));
        }
    }
    for (key, value, sentence) in [
        ("sample", json!(-1), "compat.sample: a whole number from 0 on is expected, not -1"),
        ("no_flip", json!("no"), "compat.no_flip: true or false is expected, not \"no\""),
        ("bbox_shift", json!(513), "compat.bbox_shift: a whole number from -512 to 512 is expected, not 513"),
    ] {
        let error = Settings::read(json!({ "compat": { key: value } })).unwrap_err();
        assert_eq!(error.message, sentence);
    }
    let error = Settings::read(json!([])).unwrap_err();
    assert_eq!(error.message, "a backend's settings: a table is expected, not []");
}

#[test]
fn unknown_keys_are_refused_with_what_was_meant() {
    for (config, sentence) in [
        (json!({ "devise": "cpu" }), "there is no setting `devise`; did you mean `device`?"),
        (json!({ "cheek": [90, 90] }), "there is no setting `cheek`; did you mean `cheeks`?"),
        (json!({ "fps": 25 }), "there is no setting `fps`"),
        (
            json!({ "compat": { "noflip": true } }),
            "there is no setting `compat.noflip`; did you mean `compat.no_flip`?",
        ),
        // One of the runtime's beside others, as the table is flat.
        (json!({ "runtime": { "device": "cpu" } }), "there is no setting `runtime`"),
    ] {
        let error = Settings::read(config).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::InvalidArg, sentence));
    }
}

#[test]
fn a_long_value_is_not_repeated_in_full() {
    let error = Settings::read(json!({ "precision": "x".repeat(5000) })).unwrap_err();
    assert!(error.message.len() < 200 && error.message.ends_with('…'), "{error}");
    let error = Settings::read(json!({ "y".repeat(5000): 1 })).unwrap_err();
    assert!(error.message.len() < 200, "{error}");
}
