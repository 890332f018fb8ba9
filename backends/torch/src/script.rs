//! One network as a TorchScript module.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use lipcast_musetalk::NetworkError;
use lipcast_musetalk::bundle::Bundle;
use lipcast_musetalk::networks::Network;
use tch::{CModule, Device, IValue, Kind, TchError};

use crate::device;
use crate::error::failed;

/// What a bundle calls the files.
pub(crate) const FORMAT: &str = "torchscript";

/// Where a network comes from, and how it is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) network: Network,
    pub(crate) file: PathBuf,
    /// What the file's weights are.
    pub(crate) stored: Kind,
    /// What they are to be.
    pub(crate) kind: Kind,
    pub(crate) device: Device,
    /// Whether the weights of convolutions are laid out with their channels together.
    pub(crate) channels_last: bool,
}

/// A network on its device.
#[derive(Debug)]
pub(crate) struct Script {
    network: Network,
    module: CModule,
    /// Of its weights, and of the tensors that it takes.
    pub(crate) kind: Kind,
    pub(crate) device: Device,
    /// Whether the file's weights were of another kind.
    converted: bool,
}

impl Script {
    /// Loads it.
    ///
    /// # Errors
    /// That name the file.
    pub(crate) fn load(source: &Source) -> Result<Self, NetworkError> {
        let name = source.file.display().to_string();
        let read = |device| {
            let mut module = CModule::load_on_device(&source.file, device)?;
            module.f_set_eval()?;
            Ok(module)
        };
        // Unreadable is what a file is said to be unless memory or device are named.
        let refused = |error| match failed(&name)(error) {
            NetworkError::Runtime(text) => NetworkError::Corrupt(text),
            other => other,
        };
        let module = if source.stored == source.kind {
            read(source.device).map_err(refused)?
        } else {
            // Converted here and then copied, so that the device never holds both.
            let mut module = read(Device::Cpu).map_err(refused)?;
            moved(&mut module, &name, Device::Cpu, source.kind)?;
            moved(&mut module, &name, source.device, source.kind)?;
            module
        };
        if source.channels_last {
            channels_last(&module).map_err(failed(&name))?;
        }
        Ok(Self {
            network: source.network,
            module,
            kind: source.kind,
            device: source.device,
            converted: source.stored != source.kind,
        })
    }

    /// Runs it on tensors of its kind and device: outputs as [`Network`] lists them, on the device. Gradients must be
    /// off.
    ///
    /// # Errors
    /// In libtorch's words, or when there are too few outputs.
    pub(crate) fn run(&self, inputs: Vec<tch::Tensor>) -> Result<Vec<tch::Tensor>, NetworkError> {
        let name = self.network.name();
        let ports = self.network.interface().outputs;
        let outputs = if let [_] = ports {
            self.module.forward_ts(&inputs).map(|output| vec![output])
        } else {
            let inputs: Vec<_> = inputs.into_iter().map(IValue::Tensor).collect();
            self.module.forward_is(&inputs).map(flatten)
        };
        let outputs = outputs.map_err(|error| self.refused(error))?;
        let shapes: Vec<Vec<usize>> = outputs
            .iter()
            .map(|output| output.size().iter().map(|&length| length as usize).collect())
            .collect();
        if shapes.len() != ports.len() {
            let (gives, expected) = (shapes.len(), ports.len());
            return Err(NetworkError::Corrupt(format!(
                "{name} gives {gives} outputs, {expected} are expected"
            )));
        }
        match ports.iter().zip(&shapes).find(|(port, shape)| !port.takes(shape)) {
            Some((port, shape)) => {
                Err(NetworkError::Corrupt(format!("{name} should give {port}, and gives {shape:?}")))
            }
            None => Ok(outputs),
        }
    }

    /// Why it did not run. A traced graph remembers types, so that not every fp32 file can be converted.
    fn refused(&self, error: TchError) -> NetworkError {
        match failed(self.network.name())(error) {
            NetworkError::Runtime(text) if self.converted && text.contains("dtype") => {
                NetworkError::Unsupported(format!(
                    "{text}: its fp32 file cannot be converted, so precision fp16 needs a torchscript_fp16 of it"
                ))
            }
            other => other,
        }
    }
}

/// Moves and converts a module in place. Only this call of `tch` panics where the others return an error; what is
/// caught is its panic, between two calls of libtorch, and the module is dropped then.
fn moved(module: &mut CModule, name: &str, device: Device, kind: Kind) -> Result<(), NetworkError> {
    catch_unwind(AssertUnwindSafe(|| module.to(device, kind, false))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map_or("", String::as_str);
        crate::error::said(&format!("{name} to {} as {kind:?}", device::name(device)), text)
    })
}

/// Lays the weights of convolutions out with the channels of each point together, without changing their shapes. The
/// activations follow the weights.
fn channels_last(module: &CModule) -> Result<(), TchError> {
    let _off = tch::no_grad_guard();
    for (_, mut weight) in module.named_parameters()? {
        if weight.dim() == 4 {
            let laid = weight.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?;
            weight.f_set_data(&laid)?;
        }
    }
    Ok(())
}

/// The tensors in a value, in order.
fn flatten(value: IValue) -> Vec<tch::Tensor> {
    match value {
        IValue::Tensor(tensor) => vec![tensor],
        IValue::TensorList(tensors) => tensors,
        IValue::Tuple(values) | IValue::GenericList(values) => values.into_iter().flat_map(flatten).collect(),
        _ => Vec::new(),
    }
}

/// What `precision` is called in a bundle.
pub(crate) fn precision(kind: Kind) -> &'static str {
    if kind == Kind::Half { "fp16" } else { "fp32" }
}

/// The file of `network` when UNet and decoder run as `kind`. They are converted when the bundle has them in fp32
/// alone; the others then stay as they are. Those that look for faces are fp32 in any case: they decide, and are small.
pub(crate) fn source(
    bundle: &Bundle,
    network: Network,
    kind: Kind,
    device: Device,
    channels_last: bool,
) -> Option<Source> {
    let file = |stored, kind| {
        let file = bundle.file(network, FORMAT, precision(stored))?;
        Some(Source { network, file, stored, kind, device, channels_last })
    };
    match network {
        Network::FaceParsing | Network::Landmarks | Network::FaceDetector => file(Kind::Float, Kind::Float),
        Network::WhisperEncoder | Network::VaeEncoder => {
            file(kind, kind).or_else(|| file(Kind::Float, Kind::Float))
        }
        Network::Unet | Network::VaeDecoder => file(kind, kind).or_else(|| file(Kind::Float, kind)),
    }
}
