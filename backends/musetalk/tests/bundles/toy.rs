//! A runtime without a runtime: every output is a plain function of the item's inputs, so that goldens can be
//! made of it, and it can be made wrong on purpose.

use lipcast_musetalk::bundle::Bundle;
use lipcast_musetalk::bundle::ports::Dim;
use lipcast_musetalk::networks::{
    Device, FACE_BYTES, LATENTS, Network, NetworkError, Networks, TOKENS, Tensor,
};
use lipcast_musetalk::settings::RuntimeSettings;

/// What is wrong with it: the setting `options` as `{"wrong": "unet", "how": "nan"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// One value is off by a hundredth.
    Off,
    /// One value is not a number.
    Nan,
    /// One value is off when several items are computed together.
    Together,
    /// The call fails.
    Fails,
    /// Pictures are off by two levels in all pixels; other outputs by as much.
    Levels,
}

/// The runtime.
pub(crate) struct Toy {
    has: Vec<Network>,
    wrong: Option<(String, Wrong)>,
    buckets: Vec<usize>,
    precision: String,
}

impl Networks for Toy {
    const ID: &'static str = "lipcast.toy";
    const NAME: &'static str = "MuseTalk on nothing";
    const FORMAT: &'static str = "onnx";

    fn open(bundle: &Bundle, settings: &RuntimeSettings, log: &dyn Fn(&str)) -> Result<Self, NetworkError> {
        log("a line for the operator");
        let how = settings.options["how"].as_str().map(|how| match how {
            "off" => Wrong::Off,
            "nan" => Wrong::Nan,
            "together" => Wrong::Together,
            "fails" => Wrong::Fails,
            "levels" => Wrong::Levels,
            other => panic!("no such wrong: {other}"),
        });
        let which = settings.options["wrong"].as_str().map(str::to_owned);
        Ok(Self {
            has: Network::ALL.into_iter().filter(|network| bundle.has(*network)).collect(),
            wrong: which.zip(how),
            buckets: if settings.batches.is_empty() { vec![1] } else { settings.batches.clone() },
            precision: settings.precision.to_string(),
        })
    }

    fn device(&self) -> Device {
        Device {
            name: "cpu".to_owned(),
            runtime: "Toy 1".to_owned(),
            precision: self.precision.clone(),
            buckets: self.buckets.clone(),
        }
    }

    fn has(&self, network: Network) -> bool {
        self.has.contains(&network)
    }

    fn run(&mut self, network: Network, inputs: &[Tensor]) -> Result<Vec<Tensor>, NetworkError> {
        let batch = network.check(inputs)?;
        let mut outputs = outputs(network, inputs);
        match self.wrong.as_ref().filter(|(name, _)| name == network.name()) {
            Some((_, Wrong::Off)) => outputs[0].data[5] += 0.01,
            Some((_, Wrong::Nan)) => outputs[0].data[5] = f32::NAN,
            Some((_, Wrong::Together)) if batch > 1 => outputs[0].data[5] += 0.01,
            Some((name, Wrong::Fails)) => return Err(NetworkError::Runtime(format!("{name} does not run"))),
            Some((_, Wrong::Levels)) => outputs[0].data.iter_mut().for_each(|value| *value += 2.0 / 255.0),
            _ => {}
        }
        Ok(outputs)
    }

    fn generate(&mut self, latents: &[f32], audio: &[f32], frames: &mut [u8]) -> Result<(), NetworkError> {
        let count = frames.len() / FACE_BYTES;
        assert!(self.buckets.contains(&count) && latents.len() == count * LATENTS);
        let latents = Tensor::new([count, 8, 32, 32], latents.to_vec());
        let audio = Tensor::new([count, TOKENS, 384], audio.to_vec());
        let latent = self.run(Network::Unet, &[latents, audio])?.remove(0);
        let image = self.run(Network::VaeDecoder, &[latent])?.remove(0);
        frames.copy_from_slice(&packed(&image));
        Ok(())
    }
}

/// What the toy makes of `inputs`: waves whose phase is the sum of the item's values.
pub(crate) fn outputs(network: Network, inputs: &[Tensor]) -> Vec<Tensor> {
    let batch = inputs[0].shape[0];
    let phases: Vec<f64> = (0..batch)
        .map(|item| {
            let values = inputs.iter().flat_map(|input| {
                let size = input.data.len() / batch;
                &input.data[item * size..][..size]
            });
            values.map(|&value| f64::from(value)).sum::<f64>() / 100.0
        })
        .collect();
    let ports = network.interface().outputs;
    let shape = |dims: &[Dim]| -> Vec<usize> {
        let length = |dim: &Dim| match dim {
            Dim::Batch => batch,
            Dim::Fixed(length) => *length,
            // Rows of the encoder are half its columns; maps of the detector have any size.
            Dim::Any if network == Network::WhisperEncoder => inputs[0].shape[2] / 2,
            Dim::Any => 6,
        };
        dims.iter().map(length).collect()
    };
    let wave = |port: usize, shape: Vec<usize>| {
        let size = shape[1..].iter().product::<usize>();
        let value = |i: usize| {
            let along = phases[i / size] + port as f64 + 0.37 * (i % size) as f64;
            let wave = 2.0 * (along - along.floor()) - 1.0;
            // Pictures are within 0 to 1.
            if network == Network::VaeDecoder { 0.5 + 0.4 * wave } else { wave }
        };
        Tensor::new(shape.clone(), (0..batch * size).map(|i| value(i) as f32).collect())
    };
    ports.iter().enumerate().map(|(port, found)| wave(port, shape(found.shape))).collect()
}

/// Pictures `[n, 3, 256, 256]` of 0 to 1 as RGB bytes `[n, 256, 256, 3]`.
pub(crate) fn packed(image: &Tensor) -> Vec<u8> {
    let plane = 256 * 256;
    let pixel = |i: usize, channel: usize| image.data[i / plane * 3 * plane + channel * plane + i % plane];
    (0..image.shape[0] * plane)
        .flat_map(|i| (0..3).map(move |channel| (i, channel)))
        .map(|(i, channel)| (pixel(i, channel) * 255.0).round_ties_even() as u8)
        .collect()
}
