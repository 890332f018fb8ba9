//! Parity with goldens: what is equal passes; each way of being wrong is found where it is.

use std::collections::HashMap;
use std::fs;

use crate::made_up::MadeUp;
use crate::toy::{Toy, outputs, packed};
use lipcast_musetalk::networks::{Network, Tensor};
use lipcast_musetalk::parity::{ParityError, Worst, run};
use lipcast_musetalk::settings::{Decoder, PrecisionChoice, RuntimeSettings};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

/// A bundle with the goldens of the toy.
fn made() -> MadeUp {
    made_of(&Network::ALL)
}

/// A bundle with the goldens of some networks, of the pipeline and of the generator.
fn made_of(networks: &[Network]) -> MadeUp {
    let made = MadeUp::new();
    fs::create_dir(made.path("golden")).unwrap();
    for (network, shapes) in [
        (Network::WhisperEncoder, vec![vec![2, 80, 8]]),
        (Network::Unet, vec![vec![2, 8, 32, 32], vec![2, 50, 384]]),
        (Network::VaeEncoder, vec![vec![2, 3, 256, 256]]),
        (Network::VaeDecoder, vec![vec![2, 4, 32, 32]]),
        (Network::FaceParsing, vec![vec![1, 3, 512, 512]]),
        (Network::Landmarks, vec![vec![3, 3, 384, 288]]),
        (Network::FaceDetector, vec![vec![2, 3, 40, 50]]),
    ] {
        if !networks.contains(&network) {
            continue;
        }
        let inputs: Vec<Tensor> = shapes.iter().map(|shape| noise(shape)).collect();
        let found = outputs(network, &inputs);
        let ports = network.interface();
        let names = ports.inputs.iter().map(|port| format!("in.{}", port.name));
        let names = names.chain(ports.outputs.iter().map(|port| format!("out.{}", port.name)));
        let tensors: Vec<_> = names.zip(inputs.iter().chain(&found)).collect();
        write(&made, network.name(), &tensors, &[]);
    }
    pipeline(&made);
    made
}

fn pipeline(made: &MadeUp) {
    let count = 3;
    let (mel, latents) = (noise(&[1, 80, 12]), noise(&[count, 8, 32, 32]));
    let features = outputs(Network::WhisperEncoder, std::slice::from_ref(&mel)).remove(0);
    // Rows 2 f - 4 to 2 f + 5 of frame f, nothing before the first of the six and behind the last.
    let row = 5 * 384;
    let mut audio = Vec::new();
    for frame in 0..count as i64 {
        for at in 2 * frame - 4..2 * frame + 6 {
            match usize::try_from(at).ok().filter(|at| *at < 6) {
                Some(at) => audio.extend_from_slice(&features.data[at * row..][..row]),
                None => audio.extend(vec![0.0; row]),
            }
        }
    }
    let audio = Tensor::new([count, 50, 384], audio);
    let latent = outputs(Network::Unet, &[latents.clone(), audio.clone()]).remove(0);
    let mut frames = packed(&outputs(Network::VaeDecoder, std::slice::from_ref(&latent)).remove(0));
    frames.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
    let floats = [("mel", &mel), ("latents", &latents), ("audio", &audio), ("latent", &latent)]
        .map(|(n, t)| (n.to_owned(), t));
    write(made, "pipeline", &floats, &[("frames", vec![count, 256, 256, 3], &frames)]);
    let floats = [("in.latents", &latents), ("in.audio", &audio)].map(|(n, t)| (n.to_owned(), t));
    write(made, "generator", &floats, &[("out.frames", vec![count, 256, 256, 3], &frames)]);
}

fn noise(shape: &[usize]) -> Tensor {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    Tensor::new(shape, (0..shape.iter().product()).map(|_| next()).collect())
}

fn write(made: &MadeUp, name: &str, floats: &[(String, &Tensor)], bytes: &[(&str, Vec<usize>, &[u8])]) {
    write_with(made, name, floats, bytes, None);
}

/// Writes a golden whose header says `how` inputs are made and outputs taken.
fn write_with(
    made: &MadeUp,
    name: &str,
    floats: &[(String, &Tensor)],
    bytes: &[(&str, Vec<usize>, &[u8])],
    how: Option<Value>,
) {
    let data: Vec<Vec<u8>> = floats
        .iter()
        .map(|(_, tensor)| tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let mut views: Vec<(String, TensorView<'_>)> = floats
        .iter()
        .zip(&data)
        .map(|((name, tensor), data)| {
            (name.clone(), TensorView::new(Dtype::F32, tensor.shape.clone(), data).unwrap())
        })
        .collect();
    for (name, shape, data) in bytes {
        views.push(((*name).to_owned(), TensorView::new(Dtype::U8, shape.clone(), data).unwrap()));
    }
    let header = how.map(|how| HashMap::from([("golden".to_owned(), how.to_string())]));
    let file = safetensors::serialize(views, header).unwrap();
    fs::write(made.path("golden").join(format!("{name}.safetensors")), file).unwrap();
}

fn settings(wrong: &str, how: &str) -> RuntimeSettings {
    RuntimeSettings {
        precision: PrecisionChoice::Fp32,
        batches: vec![1, 2],
        options: json!({ "wrong": wrong, "how": how }),
        ..RuntimeSettings::default()
    }
}

fn compared(made: &MadeUp, settings: &RuntimeSettings) -> (Worst, String) {
    let mut lines = Vec::new();
    let worst = run::<Toy>(made.folder(), settings, &mut lines).unwrap();
    (worst, String::from_utf8(lines).unwrap())
}

/// The lines of the check-points that failed.
fn failed(lines: &str) -> Vec<&str> {
    lines.lines().filter(|line| line.contains("FAILED") && !line.starts_with("worst")).collect()
}

#[test]
fn what_is_equal_passes_at_every_point() {
    let made = made();
    let (worst, lines) = compared(&made, &RuntimeSettings { options: json!(null), ..settings("", "off") });
    assert!(worst.passed(), "{lines}");
    assert!(failed(&lines).is_empty());
    for id in ["G8", "G13", "G15", "G18", "G19", "G20", "G22", "G24", "G26"] {
        assert!(lines.lines().any(|line| line.starts_with(&format!("{id} "))), "no {id} in\n{lines}");
    }
    assert!(lines.contains("a line for the operator"));
    assert!(lines.contains("noise weights") && lines.contains("Toy 1"), "{lines}");
    assert!(lines.trim_end().ends_with(&format!("{} check-points, all ok", worst.points)), "{lines}");
    // Every network's outputs twice, for parsing and landmarks the places of the largest values too; two of the
    // pipeline; frames of pipeline and generator at each batch size.
    assert_eq!(worst.points, 2 * (1 + 1 + 2 + 1 + 2 + 4 + 12) + 2 + 2 + 2);
}

#[test]
fn each_way_of_being_wrong_is_found_where_it_is() {
    for network in Network::ALL {
        let made = made_of(&[network]);
        let (network, output) = (network.name(), network.interface().outputs[0].name);
        for how in ["off", "nan", "fails"] {
            let (worst, lines) = compared(&made, &settings(network, how));
            assert!(!worst.passed(), "{network} {how}\n{lines}");
            let failed = failed(&lines);
            for way in ["together", "one by one"] {
                let found = |line: &&&str| line.contains(&format!("{network}, ")) && line.contains(way);
                let line = failed.iter().find(found).unwrap_or_else(|| panic!("{network} {how}\n{lines}"));
                assert!(line.contains(if how == "fails" { "does not run" } else { output }), "{line}");
            }
            let others = failed.iter().filter(|line| !line.contains(&format!("{network}, ")));
            // What comes behind it in the pipeline may be wrong too; nothing else is.
            assert!(
                others.clone().all(|line| line.contains("pipeline") || line.contains("generator")),
                "{lines}"
            );
            assert_eq!(worst.of_tolerance.is_infinite(), how != "off", "{lines}");
            assert!(lines.contains(&format!("{} of {} check-points FAILED", worst.failed, worst.points)));
        }
    }
}

#[test]
fn a_batch_that_is_not_its_items_is_found() {
    let made = made();
    let (worst, lines) = compared(&made, &settings("vae_encoder", "together"));
    assert_eq!(worst.failed, 1, "{lines}");
    assert_eq!(worst.point, "vae_encoder, 2 together: latent_mean");
    let (_, lines) = compared(&made, &settings("unet", "together"));
    let failed = failed(&lines);
    assert!(failed.iter().any(|line| line.contains("unet, 2 together")), "{lines}");
    assert!(!failed.iter().any(|line| line.contains("one by one")), "{lines}");
}

#[test]
fn frames_may_be_off_by_a_level_and_not_by_two() {
    let made = made();
    let (worst, lines) = compared(&made, &settings("vae_decoder", "levels"));
    let failed = failed(&lines);
    for name in ["pipeline: frames, batches of 1", "pipeline: frames, batches of 2", "generator: frames"] {
        assert!(failed.iter().any(|line| line.contains(name)), "{name} in\n{lines}");
    }
    assert_eq!(worst.of_tolerance, 1000.0, "every pixel, where one of a thousand passes");

    // In half precision the mean counts, and two levels are more than half a one.
    let half = RuntimeSettings { precision: PrecisionChoice::Fp16, ..settings("vae_decoder", "levels") };
    let (_, lines) = compared(&made, &half);
    assert!(
        lines.lines().any(|line| line.contains("generator: frames") && line.contains("FAILED")),
        "{lines}"
    );
    // One value of thousands that is far off is no more than half precision does now and then.
    let half = RuntimeSettings { precision: PrecisionChoice::Fp16, ..settings("unet", "off") };
    let (worst, lines) = compared(&made, &half);
    assert!(worst.passed() && lines.contains("rms"), "{lines}");
}

#[test]
fn what_cannot_be_compared_is_said() {
    let mut made = made();
    fs::remove_file(made.path("golden/unet.safetensors")).unwrap();
    fs::rename(made.path("golden/vae_decoder.safetensors"), made.path("golden/taesd_decoder.safetensors"))
        .unwrap();
    made.drop_model("landmarks");
    made.write();
    let other = RuntimeSettings { decoder: Decoder::Taesd, options: json!(null), ..settings("", "off") };
    let (worst, lines) = compared(&made, &other);
    assert!(worst.passed(), "{lines}");
    for words in [
        "unet: the bundle has no golden of it",
        "landmarks: not compared, the bundle does not have it as onnx",
        "pipeline: frames are not compared",
    ] {
        assert!(lines.contains(words), "{words} in\n{lines}");
    }
    assert!(lines.contains("taesd_decoder, 2 together: image"), "{lines}");

    fs::remove_dir_all(made.path("golden")).unwrap();
    let (worst, lines) = compared(&made, &settings("", "off"));
    assert!(!worst.passed() && lines.contains("nothing was compared: FAILED"), "{lines}");
}

#[test]
fn a_golden_that_is_not_one_is_refused_by_name() {
    let made = made();
    let unet = made.path("golden/unet.safetensors");
    let refused = |words: &str| {
        let error = run::<Toy>(made.folder(), &settings("", "off"), &mut Vec::new()).unwrap_err();
        let ParityError::Golden { file, what } = error else { panic!("{error}") };
        assert!(file == unet && what.contains(words), "{}: {what}", file.display());
    };
    let whole = fs::read(&unet).unwrap();
    fs::write(&unet, &whole[..whole.len() - 4]).unwrap();
    refused("");
    let [latents, audio] = [noise(&[2, 8, 32, 32]), noise(&[2, 50, 384])];
    let mut latent = noise(&[2, 4, 32, 32]);
    let named = |tensors: [&'static str; 3]| tensors.map(str::to_owned);
    let names = named(["in.latents", "in.audio", "out.latent"]);
    let all = |latents: &Tensor, latent: &Tensor| {
        let tensors: Vec<_> =
            names.iter().cloned().zip([latents, &audio, latent].map(|t| t.clone())).collect();
        let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
        write(&made, "unet", &tensors, &[]);
    };
    all(&noise(&[2, 9, 32, 32]), &latent);
    refused("unet takes latents [B, 8, 32, 32], [2, 9, 32, 32] was given");
    latent.data[7] = f32::NAN;
    all(&latents, &latent);
    refused("out.latent holds NaN or infinity");
}

#[test]
fn a_listed_golden_is_as_it_was_listed() {
    let mut made = made();
    made.manifest["files"]["golden/unet.safetensors"] = json!({ "bytes": 7, "sha256": "00".repeat(32) });
    made.write();
    let error = run::<Toy>(made.folder(), &settings("", "off"), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("golden/unet.safetensors") && error.contains("where 7 were expected"), "{error}");
    let mut bytes = fs::read(made.path("unet.onnx")).unwrap();
    bytes[0] ^= 1;
    fs::write(made.path("unet.onnx"), bytes).unwrap();
    let error = run::<Toy>(made.folder(), &settings("", "off"), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("unet.onnx: damaged"), "{error}");
}

#[test]
fn a_small_golden_names_its_picture_and_keeps_a_part() {
    let made = made_of(&[]);
    // The toy sees the sum of its input alone. Of the picture `face_parsing.image.0` that is, made by the tools in
    // Python, 96275974 over all values, before 128 is taken from each and all is divided by 64.
    let mut picture = Tensor::new([1, 3, 512, 512], vec![0.0; 3 * 512 * 512]);
    picture.data[0] = (96_275_974 - 128 * 3 * 512 * 512) as f32 / 64.0;
    let logits = outputs(Network::FaceParsing, &[picture]).remove(0);
    let at = |label: usize, row: usize, column: usize| logits.data[(label * 512 + row) * 512 + column];
    let mut sample = Vec::new();
    for label in 0..19 {
        (0..512)
            .step_by(16)
            .for_each(|row| sample.extend((0..512).step_by(16).map(|column| at(label, row, column))));
    }
    let sample = Tensor::new([1, 19, 32, 32], sample);
    let label =
        |row, column| (0..19).max_by(|&a, &b| at(a, row, column).total_cmp(&at(b, row, column))).unwrap();
    let labels: Vec<u8> = (0..512 * 512)
        .step_by(2)
        .map(|i| (i / 512, i % 512))
        .filter(|(row, _)| row % 2 == 0)
        .map(|(row, column)| label(row, column) as u8)
        .collect();
    let how = json!({
        "in.image": {"picture": "face_parsing.image", "shape": [1, 3, 512, 512], "offset": -128, "scale": 0.015625},
        "out.logits.sample": {"of": "out.logits", "strides": [1, 1, 16, 16]},
        "out.logits.argmax": {"of": "out.logits", "axis": 1, "strides": [1, 2, 2]},
    });
    let golden = |labels: &[u8], how: &Value| {
        let floats = [("out.logits.sample".to_owned(), &sample)];
        let bytes = [("out.logits.argmax", vec![1, 256, 256], labels)];
        write_with(&made, "face_parsing", &floats, &bytes, Some(how.clone()));
    };
    golden(&labels, &how);
    let (worst, lines) = compared(&made, &RuntimeSettings { options: json!(null), ..settings("", "off") });
    assert!(worst.passed(), "{lines}");
    for part in ["face_parsing, 1 together: logits.sample", "face_parsing, one by one: logits.argmax"] {
        assert!(lines.contains(part), "{part} in\n{lines}");
    }

    let mut other = labels.clone();
    other[..100].iter_mut().for_each(|label| *label = (*label + 1) % 19);
    golden(&other, &how);
    let (_, lines) = compared(&made, &settings("", "off"));
    assert!(failed(&lines).iter().all(|line| line.contains("logits.argmax")), "{lines}");
    assert_eq!(failed(&lines).len(), 2, "100 of 65536 are more than one of a thousand\n{lines}");

    // Other strides take other values, other axes are none of it.
    for strides in [json!([1, 1, 16, 15]), json!([1, 1, 8, 16])] {
        let mut how = how.clone();
        how["out.logits.sample"]["strides"] = strides;
        golden(&labels, &how);
        let (_, lines) = compared(&made, &settings("", "off"));
        assert_eq!(failed(&lines).len(), 2, "{lines}");
        assert!(
            failed(&lines)
                .iter()
                .all(|line| line.contains("logits.sample: FAILED") || line.contains("expected"))
        );
    }
    for (key, value, words) in [
        (
            "out.logits.sample",
            json!({"of": "out.logits", "strides": [1, 1, 16]}),
            "4 axes and strides [1, 1, 16]",
        ),
        ("out.logits.sample", json!({"of": "out.logits", "strides": [1, 0, 1, 1]}), "strides [1, 0, 1, 1]"),
        (
            "in.image",
            json!({"picture": "x", "shape": [1, 4, 512, 512], "offset": 0, "scale": 1}),
            "no shape of pictures",
        ),
        (
            "in.image",
            json!({"picture": "x", "shape": [1_u64 << 40, 3, 1_u64 << 40, 512], "offset": 0, "scale": 1}),
            "no shape of pictures",
        ),
        ("in.image", json!("all grey"), "what its header says"),
    ] {
        let mut how = how.clone();
        how[key] = value;
        golden(&labels, &how);
        let error = run::<Toy>(made.folder(), &settings("", "off"), &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("face_parsing.safetensors") && error.contains(words), "{error}");
    }
}
