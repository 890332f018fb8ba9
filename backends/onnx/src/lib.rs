//! The networks of MuseTalk on ONNX Runtime.
//!
//! In: a bundle with `.onnx` files, and ONNX Runtime's own library, which is opened when the first networks are and is not
//! needed to build. Out: an implementation of [`Networks`].
//!
//! ```text
//! library   finds and opens libonnxruntime.so: one environment a process
//! device    CPU, CUDA or TensorRT, never another than the settings say
//! session   one network: its file checked, its calls checked
//! generate  UNet, decoder and `rgb8` in a row on one device
//! ```
#![deny(unsafe_code)]

mod library;

mod device;

mod session;

mod rgb8;

mod generate;

mod error;

use std::collections::BTreeMap;
use std::path::PathBuf;

use lipcast_musetalk::NetworkError;
use lipcast_musetalk::bundle::Bundle;
use lipcast_musetalk::networks::{Device, Network, Networks, Tensor};
use lipcast_musetalk::settings::RuntimeSettings;

pub use device::Options;

use device::{Place, Role, Target};
use generate::Generator;
use session::Opened;

/// MuseTalk on ONNX Runtime, as a host sees it.
pub type OnnxBackend = lipcast_musetalk::MuseTalk<OnnxNetworks>;

/// MuseTalk's networks, opened by ONNX Runtime.
pub struct OnnxNetworks {
    whisper: Opened,
    /// UNet and decoder.
    generator: Generator,
    preparation: BTreeMap<Network, Slot>,
    /// What slots are compared with when they are opened, if that was asked for.
    listed: Option<Bundle>,
    target: Target,
    device: Device,
}

/// A network that only preparation runs: opened when it does.
struct Slot {
    file: PathBuf,
    opened: Option<Opened>,
}

impl Networks for OnnxNetworks {
    const ID: &'static str = "lipcast.musetalk.onnx";
    const NAME: &'static str = "MuseTalk on ONNX Runtime";
    const FORMAT: &'static str = "onnx";

    fn open(bundle: &Bundle, settings: &RuntimeSettings, log: &dyn Fn(&str)) -> Result<Self, NetworkError> {
        let library = library::open(&settings.library)?;
        let target = Target::choose(&library, settings, log)?;
        let gpu = target.place != Place::Cpu;
        let (precision, buckets) =
            (bundle.precision(settings.precision, gpu, log)?, settings.batches_on(gpu));
        let file = |network: Network| bundle.chosen(network, precision).map(|(file, _)| file);
        let mut preparation = BTreeMap::new();
        for network in Network::PREPARING {
            if let Some(file) = file(network) {
                // What is wrong with it is told now, not when somebody waits for an avatar.
                Opened::look(&target, network, &file)?;
                preparation.insert(network, Slot { file, opened: None });
            }
        }
        let open = |network: Network, role: Role<'_>| match file(network) {
            Some(file) => Opened::open(&target, role, network, &file),
            None => Err(missing(bundle, network)),
        };
        let speech = Role::Speech { batches: &buckets, half: precision == "fp16" };
        let whisper = open(Network::WhisperEncoder, Role::Other)?;
        let (unet, decoder) = (open(Network::Unet, speech)?, open(Network::VaeDecoder, speech)?);
        let generator = Generator::open(&target, unet, decoder, &buckets)?;
        let device = Device {
            name: target.name(),
            runtime: format!("ONNX Runtime {}", library::version(&library)),
            precision: precision.to_owned(),
            buckets,
        };
        let Device { name, runtime, precision, buckets } = &device;
        log(&format!("{runtime} on {name}, {precision}, batches {buckets:?}"));
        let listed = settings.verify.then(|| bundle.clone());
        Ok(Self { whisper, generator, preparation, listed, target, device })
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn has(&self, network: Network) -> bool {
        !Network::PREPARING.contains(&network) || self.preparation.contains_key(&network)
    }

    fn run(&mut self, network: Network, inputs: &[Tensor]) -> Result<Vec<Tensor>, NetworkError> {
        match network {
            Network::WhisperEncoder => self.whisper.run(inputs),
            Network::Unet => self.generator.unet.run(inputs),
            Network::VaeDecoder => self.generator.decoder.run(inputs),
            _ => {
                let slot = self
                    .preparation
                    .get_mut(&network)
                    .ok_or_else(|| NetworkError::Missing(format!("the bundle has no {}", network.name())))?;
                let opened = match slot.opened.take() {
                    Some(opened) => opened,
                    None => {
                        if let Some(bundle) = &self.listed {
                            bundle.verify_network(network)?;
                        }
                        Opened::open(&self.target, Role::Other, network, &slot.file)?
                    }
                };
                slot.opened.insert(opened).run(inputs)
            }
        }
    }

    fn generate(&mut self, latents: &[f32], audio: &[f32], frames: &mut [u8]) -> Result<(), NetworkError> {
        self.generator.run(latents, audio, frames)
    }

    fn release(&mut self) {
        self.preparation.values_mut().for_each(|slot| slot.opened = None);
    }
}

fn missing(bundle: &Bundle, network: Network) -> NetworkError {
    NetworkError::Missing(format!("{}: no {} to open", bundle.folder().display(), network.name()))
}
