//! What is asked for and what is had: device, precision, batch sizes, library.

use std::cell::RefCell;

use lipcast_musetalk::NetworkError;
use lipcast_musetalk::bundle::Bundle;
use lipcast_musetalk::networks::Networks;
use lipcast_musetalk::settings::{DeviceChoice, PrecisionChoice, RuntimeSettings};
use lipcast_onnx::OnnxNetworks;

use crate::common::{folder, library, nano, open, settings};

fn error(settings: &RuntimeSettings) -> NetworkError {
    open(&folder("nano"), settings).err().expect("it was opened")
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_when_it_was_asked_for() {
    // The library of the tests is built for CPUs, wherever they run.
    for device in ["cuda", "cuda:1"] {
        let NetworkError::Unsupported(message) =
            error(&RuntimeSettings { device: device.parse().unwrap(), ..settings() })
        else {
            panic!("another kind of error")
        };
        assert!(message.contains(&format!("device = \"{device}\"")) && message.contains("CUDA"), "{message}");
    }
}

#[test]
fn auto_says_why_it_takes_the_cpu() {
    let lines = RefCell::new(Vec::new());
    let bundle = Bundle::open(&folder("nano"), OnnxNetworks::FORMAT).unwrap();
    let settings = RuntimeSettings { device: DeviceChoice::Auto, batches: Vec::new(), ..settings() };
    let log = |line: &str| lines.borrow_mut().push(line.to_owned());
    let device = OnnxNetworks::open(&bundle, &settings, &log).unwrap().device();
    assert_eq!((device.name.as_str(), device.precision.as_str()), ("cpu", "fp32"));
    assert_eq!(device.buckets, [1]);
    assert!(device.runtime.starts_with("ONNX Runtime 1."), "{}", device.runtime);
    let lines = lines.into_inner();
    let [why, what] = &lines[..] else { panic!("{lines:?}") };
    assert!(why.contains("run on the CPU") && why.contains("CUDA"), "{why}");
    assert!(what.starts_with("ONNX Runtime 1.") && what.ends_with(" on cpu, fp32, batches [1]"), "{what}");
}

#[test]
fn settings_that_make_no_sense_are_named() {
    for (settings, words) in [
        (RuntimeSettings { precision: PrecisionChoice::Fp16, ..settings() }, "has no unet as onnx in fp16"),
        (RuntimeSettings { options: serde_json::json!({ "trt": 1 }), ..settings() }, "`options.trt`"),
    ] {
        let NetworkError::Unsupported(message) = error(&settings) else { panic!("another kind of error") };
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_process_has_one_runtime() {
    drop(nano());
    let other = tempfile::tempdir().unwrap();
    let NetworkError::Missing(message) =
        error(&RuntimeSettings { library: other.path().to_owned(), ..settings() })
    else {
        panic!("another kind of error")
    };
    assert!(message.contains(other.path().to_str().unwrap()), "{message}");

    let file = std::fs::read_dir(library())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_str().unwrap().contains("libonnxruntime.so"))
        .unwrap();
    let copy = other.path().join(file.file_name().unwrap());
    std::fs::copy(&file, &copy).unwrap();
    let NetworkError::Unsupported(message) =
        error(&RuntimeSettings { library: other.path().to_owned(), ..settings() })
    else {
        panic!("another kind of error")
    };
    assert!(message.contains(copy.to_str().unwrap()) && message.contains("isolation"), "{message}");
}
