//! The networks of one bundle on one device.

use std::collections::BTreeMap;
use std::thread::available_parallelism;

use lipcast_musetalk::bundle::Bundle;
use lipcast_musetalk::networks::{self, FACE, FACE_BYTES, FEATURES, LATENT, LATENTS, MELS, Network, TOKENS};
use lipcast_musetalk::settings::RuntimeSettings;
use lipcast_musetalk::{NetworkError, Networks, Tensor};
use lipcast_torch_native::{heap, torch_version};
use tch::{Cuda, Device, Kind};

use crate::compiled::Packages;
use crate::device;
use crate::frames::{Generated, Landing};
use crate::options::Options;
use crate::script::{self, Script, Source};
use crate::tensors::{shape, to_device, to_host, wave};

/// Batch sizes on a GPU unless they are set.
const GPU_BATCHES: [usize; 4] = [1, 4, 8, 16];
/// Runs of a batch size before it is served: TorchScript looks at the first, rewrites its graph in the second, and is
/// as fast as it gets from the third on.
const FIRST_RUNS: usize = 2;
/// Mel frames of the first run of Whisper: two seconds.
const FIRST_MELS: usize = 200;

/// The networks of a bundle on libtorch.
#[derive(Debug)]
pub struct TorchNetworks {
    device: Device,
    /// Of UNet, Whisper and the autoencoder.
    kind: Kind,
    buckets: Vec<usize>,
    scripts: BTreeMap<Network, Slot>,
    packages: Packages,
    landing: Landing,
}

/// A network that the bundle has.
#[derive(Debug)]
enum Slot {
    /// It is loaded when it is first run.
    Closed(Source),
    Open(Script),
}

impl Networks for TorchNetworks {
    const ID: &'static str = "lipcast.musetalk.torch";
    const NAME: &'static str = "MuseTalk on libtorch";
    const FORMAT: &'static str = script::FORMAT;

    fn open(bundle: &Bundle, settings: &RuntimeSettings, log: &dyn Fn(&str)) -> Result<Self, NetworkError> {
        let options = Options::read(&settings.options)?;
        let device = device::choose(&settings.device, &settings.library, log)?;
        let kind = choose_kind(&settings.precision, device, bundle, log)?;
        let buckets = choose_batches(&settings.batches, device)?;
        prepare_process(device, settings.threads, &options);

        let sources = Network::ALL.into_iter().filter_map(|network| {
            let source = script::source(bundle, network, kind, device, options.channels_last)?;
            Some((network, Slot::Closed(source)))
        });
        let packages = if options.compiled {
            Packages::open(bundle.folder(), device, kind, settings.decoder, &buckets, log)
        } else {
            Packages::default()
        };
        let mut networks =
            Self { device, kind, buckets, scripts: sources.collect(), packages, landing: Landing::default() };
        networks.first_runs()?;
        log(&networks.to_string());
        Ok(networks)
    }

    fn device(&self) -> networks::Device {
        networks::Device {
            name: device::name(self.device),
            runtime: format!("libtorch {}", torch_version()),
            precision: script::precision(self.kind).to_owned(),
            buckets: self.buckets.clone(),
        }
    }

    fn has(&self, network: Network) -> bool {
        self.scripts.contains_key(&network)
    }

    fn run(&mut self, network: Network, inputs: &[Tensor]) -> Result<Vec<Tensor>, NetworkError> {
        network.check(inputs)?;
        let _off = tch::no_grad_guard();
        let script = self.script(network)?;
        let inputs = inputs
            .iter()
            .map(|input| to_device(&input.data, &shape(&input.shape), script.device, script.kind))
            .collect::<Result<_, _>>()?;
        let outputs = script.run(inputs)?.iter().map(to_host).collect::<Result<Vec<_>, _>>()?;
        if outputs.iter().any(|output| output.data.iter().any(|value| !value.is_finite())) {
            return Err(NetworkError::BadOutput(format!("{} gave NaN or infinity", network.name())));
        }
        Ok(outputs)
    }

    fn generate(&mut self, latents: &[f32], audio: &[f32], frames: &mut [u8]) -> Result<(), NetworkError> {
        let batch = frames.len() / FACE_BYTES;
        let lengths = (latents.len(), audio.len(), frames.len());
        if lengths != (batch * LATENTS, batch * TOKENS * FEATURES, batch * FACE_BYTES) || batch == 0 {
            return Err(NetworkError::Runtime(format!(
                "{} latents, {} audio values and {} bytes of frames are no batch",
                lengths.0, lengths.1, lengths.2
            )));
        }
        let _off = tch::no_grad_guard();
        let side = LATENT as i64;
        let (device, kind, count) = (self.device, self.kind, batch as i64);
        let latents = to_device(latents, &[count, 8, side, side], device, kind)?;
        let audio = to_device(audio, &[count, TOKENS as i64, FEATURES as i64], device, kind)?;
        let generated = match self.packages.run(batch, &latents, &audio) {
            Some(generated) => generated?,
            None => self.generate_by_scripts(latents, audio)?,
        };
        self.landing.fetch(&generated, frames)
    }
}

impl TorchNetworks {
    fn generate_by_scripts(
        &mut self,
        latents: tch::Tensor,
        audio: tch::Tensor,
    ) -> Result<Generated, NetworkError> {
        let mut latent = self.script(Network::Unet)?.run(vec![latents, audio])?;
        let [latent] = &mut latent[..] else { unreachable!("its outputs were counted") };
        let image = self.script(Network::VaeDecoder)?.run(vec![latent.shallow_clone()])?;
        Generated::new(latent, &image[0])
    }

    /// The network, loaded if it was not.
    fn script(&mut self, network: Network) -> Result<&Script, NetworkError> {
        let slot = self.scripts.get_mut(&network).ok_or_else(|| {
            NetworkError::Missing(format!("the bundle has no {} for TorchScript", network.name()))
        })?;
        if let Slot::Closed(source) = slot {
            *slot = Slot::Open(Script::load(source)?);
        }
        match slot {
            Slot::Open(script) => Ok(script),
            Slot::Closed(_) => unreachable!("it was opened above"),
        }
    }

    /// Runs everything that speech needs, so that what is broken is refused now, and no frame waits for what the first
    /// runs of a shape cost.
    fn first_runs(&mut self) -> Result<(), NetworkError> {
        let unusable = |error| match error {
            NetworkError::BadOutput(text) => NetworkError::Corrupt(format!(
                "{text} for a plain input; its weights are damaged, or too large for fp16"
            )),
            other => other,
        };
        for (network, shape) in [
            (Network::WhisperEncoder, vec![1, MELS, FIRST_MELS]),
            (Network::VaeEncoder, vec![1, 3, FACE, FACE]),
        ] {
            if self.has(network) {
                let input = Tensor::new(shape.clone(), wave(shape.iter().product()));
                self.run(network, &[input]).map_err(unusable)?;
            }
        }
        for batch in self.buckets.clone() {
            let latents = wave(batch * LATENTS);
            let audio = wave(batch * TOKENS * FEATURES);
            let mut frames = vec![0; batch * FACE_BYTES];
            for _ in 0..FIRST_RUNS {
                self.generate(&latents, &audio, &mut frames).map_err(unusable)?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for TorchNetworks {
    /// One line for the log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let device = self.device();
        write!(
            f,
            "{} on {}, {}, batches {:?}",
            device.runtime, device.name, device.precision, device.buckets
        )?;
        let compiled: Vec<_> = self.packages.batches().collect();
        if compiled.is_empty() { Ok(()) } else { write!(f, ", compiled for {compiled:?}") }
    }
}

fn choose_kind(
    wanted: &str,
    device: Device,
    bundle: &Bundle,
    log: &dyn Fn(&str),
) -> Result<Kind, NetworkError> {
    let lacks = |kind| {
        let lacking = [Network::Unet, Network::VaeDecoder]
            .into_iter()
            .find(|network| bundle.file(*network, script::FORMAT, script::precision(kind)).is_none())?;
        let (folder, network) = (bundle.folder().display(), lacking.name());
        Some(format!("{folder} has no {network} for TorchScript in {}", script::precision(kind)))
    };
    let kind = match wanted {
        "fp32" => Kind::Float,
        "fp16" => Kind::Half,
        "auto" if !device.is_cuda() => Kind::Float,
        "auto" => match lacks(Kind::Half) {
            None => Kind::Half,
            Some(reason) => {
                log(&format!("precision auto: fp32, since {reason}"));
                Kind::Float
            }
        },
        other => {
            return Err(NetworkError::Unsupported(format!(
                "precision: `fp32`, `fp16` or `auto`, not `{other}`"
            )));
        }
    };
    if let Some(reason) = lacks(kind) {
        return Err(NetworkError::Unsupported(format!("precision = \"{wanted}\": {reason}")));
    }
    if kind == Kind::Half && !device.is_cuda() {
        log("precision fp16 on a CPU is many times slower than fp32");
    }
    Ok(kind)
}

fn choose_batches(wanted: &[usize], device: Device) -> Result<Vec<usize>, NetworkError> {
    if wanted.is_empty() {
        return Ok(if device.is_cuda() { GPU_BATCHES.to_vec() } else { vec![1] });
    }
    let rising = wanted[0] > 0 && wanted.is_sorted_by(|a, b| a < b);
    if rising {
        Ok(wanted.to_vec())
    } else {
        Err(NetworkError::Unsupported(format!("batches: rising numbers from 1 on, not {wanted:?}")))
    }
}

/// Sets what holds for the whole process or thread, before the first operator runs.
fn prepare_process(device: Device, threads: usize, options: &Options) {
    if options.keep_memory && !device.is_cuda() {
        heap::keep_freed_blocks();
    }
    let threads = if threads > 0 { threads } else { available_parallelism().map_or(1, usize::from) };
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    tch::jit::set_graph_executor_optimize(options.optimize);
    if device.is_cuda() {
        Cuda::cudnn_set_benchmark(options.cudnn_benchmark);
    }
}
