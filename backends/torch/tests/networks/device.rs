//! What is asked for and what is had: device, precision, batch sizes, options.

use std::cell::RefCell;

use lipcast_musetalk::bundle::Bundle;
use lipcast_musetalk::settings::{DeviceChoice, PrecisionChoice, RuntimeSettings};
use lipcast_musetalk::{NetworkError, Networks};
use lipcast_torch::TorchNetworks;

use crate::common::{folder, open, settings};

fn error(settings: &RuntimeSettings) -> NetworkError {
    open(&folder("nano"), settings).expect_err("it was opened")
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_when_it_was_asked_for() {
    // A folder without libtorch's GPU half, wherever the tests run.
    let library = tempfile::tempdir().unwrap();
    let half = library.path().join("libtorch_cuda.so");
    for device in ["cuda", "cuda:1"] {
        let settings = RuntimeSettings {
            device: device.parse().unwrap(),
            library: library.path().to_owned(),
            ..settings()
        };
        let expected =
            format!("device = \"{device}\": {} is not there; this libtorch is for the CPU", half.display());
        assert_eq!(error(&settings), NetworkError::Unsupported(expected));
    }
}

#[test]
fn auto_says_why_it_takes_the_cpu() {
    let lines = RefCell::new(Vec::new());
    let bundle = Bundle::open(&folder("nano"), TorchNetworks::FORMAT).unwrap();
    let library = tempfile::tempdir().unwrap();
    let settings = RuntimeSettings {
        device: DeviceChoice::Auto,
        library: library.path().to_owned(),
        batches: Vec::new(),
        ..settings()
    };
    let log = |line: &str| lines.borrow_mut().push(line.to_owned());
    let device = TorchNetworks::open(&bundle, &settings, &log).unwrap().device();
    assert_eq!((device.name.as_str(), device.precision.as_str()), ("cpu", "fp32"));
    assert_eq!(device.buckets, [1]);
    assert_eq!(device.runtime, "libtorch 2.11.0");
    let lines = lines.into_inner();
    assert!(
        lines[0].starts_with("device auto: cpu, since ") && lines[0].contains("libtorch_cuda.so"),
        "{lines:?}"
    );
}

#[test]
fn settings_that_make_no_sense_are_named() {
    for (settings, words) in [
        (
            RuntimeSettings { precision: PrecisionChoice::Fp16, ..settings() },
            "has no unet as torchscript in fp16",
        ),
        (RuntimeSettings { options: serde_json::json!({ "compile": 1 }), ..settings() }, "`options.compile`"),
    ] {
        let NetworkError::Unsupported(message) = error(&settings) else { panic!("another kind of error") };
        assert!(message.contains(words), "{message}");
    }
}
