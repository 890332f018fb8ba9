//! The networks of one bundle on one device.

use std::collections::BTreeMap;
use std::thread::available_parallelism;

use lipcast_musetalk::bundle::Bundle;
use lipcast_musetalk::networks::{
    self, FACE_BYTES, FEATURES, LATENT, LATENT_CHANNELS, LATENTS, MELS, Network, TOKENS, all_finite,
};
use lipcast_musetalk::settings::RuntimeSettings;
use lipcast_musetalk::{NetworkError, Networks, Tensor};
use lipcast_torch_native::heap::{self, Kept};
use lipcast_torch_native::{Package, SideStream, inference, inference_alone, torch_version};
use tch::{Cuda, Device, Kind};

use crate::compiled;
use crate::device;
use crate::error::{failed, said};
use crate::frames::{self, Generated, Landing};
use crate::options::Options;
use crate::recorded::Recorded;
use crate::script::{self, Script, Source};
use crate::tensors::{shape, to_device, to_host, wave};

/// Mel frames of the first run of Whisper: two seconds.
const FIRST_MELS: usize = 200;

/// The networks of a bundle on libtorch.
#[derive(Debug)]
pub struct TorchNetworks {
    device: Device,
    /// Of UNet and decoder.
    kind: Kind,
    buckets: Vec<usize>,
    /// By batch size; none on a CPU. Before the slots, whose memory and code it uses.
    recorded: BTreeMap<usize, Recorded>,
    slots: BTreeMap<Network, Slot>,
    landing: Landing,
    /// The last field, dropped when the memory of all others is free.
    _kept: Option<Kept>,
}

/// A network that the bundle has.
#[derive(Debug)]
struct Slot {
    source: Source,
    /// What was compiled for this device, by batch size; it is run instead.
    packages: BTreeMap<usize, Package>,
    /// Loaded when it is first run.
    script: Option<Script>,
    /// Whether it has run: until then, an error of libtorch's tells of the file.
    proven: bool,
}

impl Networks for TorchNetworks {
    const ID: &'static str = "lipcast.musetalk.torch";
    const NAME: &'static str = "MuseTalk on libtorch";
    const FORMAT: &'static str = script::FORMAT;

    fn open(bundle: &Bundle, settings: &RuntimeSettings, log: &dyn Fn(&str)) -> Result<Self, NetworkError> {
        let options = Options::read(&settings.options)?;
        let device = device::choose(settings.device, &settings.library, log)?;
        let precision = bundle.precision(settings.precision, device.is_cuda(), log)?;
        let kind = script::kind(precision);
        let buckets = settings.batches_on(device.is_cuda());
        let kept = prepare_process(device, settings.threads, &options);

        let mut packages = if options.compiled {
            compiled::open(bundle.folder(), device, kind, settings.decoder, &buckets, settings.verify, log)
        } else {
            compiled::Packages::new()
        };
        let slots: BTreeMap<_, _> = Network::ALL
            .into_iter()
            .filter_map(|network| {
                let (file, precision) = bundle.chosen(network, precision)?;
                let (kind, channels_last) = (script::kind(precision), options.channels_last);
                let listed =
                    (settings.verify && Network::PREPARING.contains(&network)).then(|| bundle.clone());
                let source = Source { network, file, kind, device, channels_last, listed };
                let packages = packages.remove(&network).unwrap_or_default();
                Some((network, Slot { source, packages, script: None, proven: false }))
            })
            .collect();
        let (recorded, landing) = (BTreeMap::new(), Landing::default());
        let mut networks = Self { device, kind, buckets, slots, recorded, landing, _kept: kept };
        networks.first_runs()?;
        if options.cuda_graphs
            && let Device::Cuda(index) = device
        {
            networks.record(index, log)?;
        }
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
        self.slots.contains_key(&network)
    }

    fn run(&mut self, network: Network, inputs: &[Tensor]) -> Result<Vec<Tensor>, NetworkError> {
        network.check(inputs)?;
        let slot = slot(&mut self.slots, network)?;
        let (device, kind) = (slot.source.device, slot.source.kind);
        let outputs = inference(|| {
            let inputs = inputs
                .iter()
                .map(|input| to_device(&input.data, &shape(&input.shape), device, kind))
                .collect::<Result<_, _>>()?;
            slot.run(inputs)?.iter().map(to_host).collect::<Result<Vec<_>, _>>()
        })?;
        if !outputs.iter().all(|output| all_finite(&output.data)) {
            return Err(NetworkError::BadOutput(format!("{} gave NaN or infinity", network.name())));
        }
        Ok(outputs)
    }

    fn generate(&mut self, latents: &[f32], audio: &[f32], frames: &mut [u8]) -> Result<(), NetworkError> {
        let batch = frames.len() / FACE_BYTES;
        if !self.buckets.contains(&batch) {
            return Err(NetworkError::Runtime(format!(
                "a batch of {batch} frames; the batch sizes are {:?}",
                self.buckets
            )));
        }
        let lengths = [latents.len(), audio.len(), frames.len()];
        if lengths != [batch * LATENTS, batch * TOKENS * FEATURES, batch * FACE_BYTES] {
            return Err(NetworkError::Runtime(format!("{lengths:?} values for a batch of {batch} frames")));
        }
        let Self { device, kind, slots, recorded, landing, .. } = self;
        inference(|| {
            if let Some(recorded) = recorded.get_mut(&batch) {
                return landing.fetch(recorded.run(latents, audio)?, frames);
            }
            let (count, side, channels) = (batch as i64, LATENT as i64, 2 * LATENT_CHANNELS as i64);
            let latents = to_device(latents, &[count, channels, side, side], *device, *kind)?;
            let audio = to_device(audio, &[count, TOKENS as i64, FEATURES as i64], *device, *kind)?;
            let (latent, image) = speak(slots, &latents, &audio)?;
            if *device == Device::Cpu {
                return frames::round(&latent, &image, frames);
            }
            landing.fetch(&Generated::new(&latent, &image)?, frames)
        })
    }

    fn release(&mut self) {
        for network in Network::PREPARING {
            if let Some(slot) = self.slots.get_mut(&network) {
                slot.script = None;
            }
        }
    }
}

/// What the UNet makes of a batch, and what the decoder makes of that, on the device.
fn speak(
    slots: &mut BTreeMap<Network, Slot>,
    latents: &tch::Tensor,
    audio: &tch::Tensor,
) -> Result<(tch::Tensor, tch::Tensor), NetworkError> {
    let inputs = vec![latents.shallow_clone(), audio.shallow_clone()];
    let latent = slot(slots, Network::Unet)?.run(inputs)?.swap_remove(0);
    let image = slot(slots, Network::VaeDecoder)?.run(vec![latent.shallow_clone()])?.swap_remove(0);
    Ok((latent, image))
}

fn slot(slots: &mut BTreeMap<Network, Slot>, network: Network) -> Result<&mut Slot, NetworkError> {
    let missing = || NetworkError::Missing(format!("the bundle has no {} for TorchScript", network.name()));
    slots.get_mut(&network).ok_or_else(missing)
}

impl TorchNetworks {
    /// Runs what speech needs once, so that it is loaded and what is broken is refused now. TorchScript looks at the
    /// first run of each shape, and rewrites its graph in the second.
    fn first_runs(&mut self) -> Result<(), NetworkError> {
        let files: Vec<_> =
            self.slots.iter().map(|(network, slot)| (network.name(), slot.source.file.clone())).collect();
        let unusable = |error| match error {
            NetworkError::BadOutput(text) => {
                // It begins with the network's name.
                let named = files.iter().find(|(name, _)| text.split(' ').next() == Some(name));
                let file = named.map_or_else(String::new, |(_, file)| format!("{}: ", file.display()));
                NetworkError::Corrupt(format!(
                    "{file}{text} in its first run: its weights are damaged, or too large"
                ))
            }
            other => other,
        };
        let mel = Tensor::new([1, MELS, FIRST_MELS], wave(MELS * FIRST_MELS));
        self.run(Network::WhisperEncoder, &[mel]).map_err(unusable)?;
        for batch in self.buckets.clone() {
            let (latents, audio) = (wave(batch * LATENTS), wave(batch * TOKENS * FEATURES));
            self.generate(&latents, &audio, &mut vec![0; batch * FACE_BYTES]).map_err(unusable)?;
        }
        Ok(())
    }

    /// Records each batch size on the GPU number `index`, the largest first, whose memory the others work in. When one
    /// cannot be, neither it nor those after it are: they are launched operator by operator, which `log` hears.
    fn record(&mut self, index: usize, log: &dyn Fn(&str)) -> Result<(), NetworkError> {
        let Self { device, kind, buckets, slots, recorded, .. } = self;
        // One for all of them: memory belongs to the stream that it was allocated on.
        let stream = SideStream::enter(index).map_err(|text| said("a stream of its own", &text))?;
        for &batch in buckets.iter().rev() {
            let beside = recorded.values().next_back();
            let made = inference_alone(|alone| {
                Recorded::record((alone, &stream), *device, batch, *kind, beside, |latents, audio| {
                    let (latent, image) = speak(slots, latents, audio)?;
                    Generated::new(&latent, &image)
                })
            });
            match made {
                Ok(made) => _ = recorded.insert(batch, made),
                Err(error @ NetworkError::DeviceLost(_)) => return Err(error),
                Err(error) => {
                    log(&format!(
                        "batches of {batch} frames and less are not recorded as CUDA graphs: {error}"
                    ));
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Slot {
    /// Runs it: the package for this batch size if there is one, else the script, loaded if it was not.
    fn run(&mut self, inputs: Vec<tch::Tensor>) -> Result<Vec<tch::Tensor>, NetworkError> {
        let batch =
            inputs.first().and_then(|input| usize::try_from(*input.size().first()?).ok()).unwrap_or(0);
        let network = self.source.network;
        if let Some(package) = self.packages.get_mut(&batch) {
            // It was compiled for values that lie in the order of the shape, and does not look.
            let inputs: Result<Vec<_>, _> = inputs.iter().map(tch::Tensor::f_contiguous).collect();
            let inputs = inputs.map_err(failed(network.name()))?;
            let outputs = package.run(&inputs.iter().collect::<Vec<_>>());
            let outputs = outputs.map_err(|text| said(&format!("{} as compiled", network.name()), &text))?;
            return script::of_its_shapes(network, batch, outputs).map_err(NetworkError::Corrupt);
        }
        let script = match &self.script {
            Some(script) => script,
            None => self.script.insert(Script::load(&self.source)?),
        };
        let corrupt = |text| NetworkError::Corrupt(format!("{}: {text}", self.source.file.display()));
        match script.run(inputs) {
            Ok(outputs) => {
                self.proven = true;
                script::of_its_shapes(network, batch, outputs).map_err(corrupt)
            }
            Err(NetworkError::Runtime(text)) if !self.proven => Err(corrupt(text)),
            Err(error) => Err(error),
        }
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
        for (network, slot) in self.slots.iter().filter(|(_, slot)| !slot.packages.is_empty()) {
            write!(f, ", {} compiled for {:?}", network.name(), slot.packages.keys().collect::<Vec<_>>())?;
        }
        let recorded: Vec<_> = self.recorded.keys().collect();
        if recorded.is_empty() { Ok(()) } else { write!(f, ", recorded for {recorded:?}") }
    }
}

/// Sets what holds for the whole process or thread, before the first operator runs.
fn prepare_process(device: Device, threads: usize, options: &Options) -> Option<Kept> {
    let kept = (options.keep_memory && !device.is_cuda()).then(heap::keep_freed_blocks);
    let threads = if threads > 0 { threads } else { available_parallelism().map_or(1, usize::from) };
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    tch::jit::set_graph_executor_optimize(options.optimize.unwrap_or(!device.is_cuda()));
    if device.is_cuda() {
        Cuda::cudnn_set_benchmark(options.cudnn_benchmark);
    }
    kept
}
