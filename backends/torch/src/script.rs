//! One network as a TorchScript module.

use std::path::PathBuf;

use lipcast_musetalk::NetworkError;
use lipcast_musetalk::bundle::Bundle;
use lipcast_musetalk::networks::Network;
use tch::{CModule, Device, IValue, Kind, TchError};

use crate::error::failed;

/// What a bundle calls the files.
pub(crate) const FORMAT: &str = "torchscript";

/// Where a network comes from, and how it is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) network: Network,
    pub(crate) file: PathBuf,
    /// Of its weights, and of the tensors that it takes.
    pub(crate) kind: Kind,
    pub(crate) device: Device,
    /// Whether the weights of convolutions are laid out with their channels together.
    pub(crate) channels_last: bool,
    /// What the file is compared with before it is loaded, where that is long after all were compared.
    pub(crate) listed: Option<Bundle>,
}

/// A network on its device.
#[derive(Debug)]
pub(crate) struct Script {
    network: Network,
    module: CModule,
}

impl Script {
    /// Loads it.
    ///
    /// # Errors
    /// That name the file.
    pub(crate) fn load(source: &Source) -> Result<Self, NetworkError> {
        if let Some(bundle) = &source.listed {
            bundle.verify_network(source.network)?;
        }
        let name = source.file.display().to_string();
        let read = || -> Result<_, TchError> {
            let mut module = CModule::load_on_device(&source.file, source.device)?;
            module.f_set_eval()?;
            Ok(module)
        };
        let module = read().map_err(|error| match failed(&name)(error) {
            // A file that cannot be read is damaged, unless memory or device are to blame.
            NetworkError::Runtime(text) => NetworkError::Corrupt(text),
            other => other,
        })?;
        if source.channels_last {
            channels_last(&module).map_err(failed(&name))?;
        }
        Ok(Self { network: source.network, module })
    }

    /// Runs it on tensors of its kind and device, and gives what it gives, on the device. Gradients must be off.
    ///
    /// # Errors
    /// In libtorch's words.
    pub(crate) fn run(&self, inputs: Vec<tch::Tensor>) -> Result<Vec<tch::Tensor>, NetworkError> {
        let outputs = if let [_] = self.network.interface().outputs {
            self.module.forward_ts(&inputs).map(|output| vec![output])
        } else {
            let inputs: Vec<_> = inputs.into_iter().map(IValue::Tensor).collect();
            self.module.forward_is(&inputs).map(flatten)
        };
        outputs.map_err(failed(self.network.name()))
    }
}

/// `outputs`, if they have the shapes that `network` gives for a batch of `batch` items.
///
/// # Errors
/// Tells of the first that has not.
pub(crate) fn of_its_shapes(
    network: Network,
    batch: usize,
    outputs: Vec<tch::Tensor>,
) -> Result<Vec<tch::Tensor>, String> {
    let (name, ports) = (network.name(), network.interface().outputs);
    if outputs.len() != ports.len() {
        let (gives, expected) = (outputs.len(), ports.len());
        return Err(format!("{name} gives {gives} outputs, {expected} are expected"));
    }
    for (port, output) in ports.iter().zip(&outputs) {
        // Lengths are never negative.
        let shape: Vec<usize> = output.size().iter().map(|&length| length as usize).collect();
        if !port.takes_batch(batch, &shape) {
            return Err(format!("{name} should give {port} for a batch of {batch}, and gives {shape:?}"));
        }
    }
    Ok(outputs)
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

/// The type of the values of a file whose precision a bundle calls so. An fp32 file cannot be converted: a traced graph
/// remembers the types of its values, not only of its weights.
pub(crate) fn kind(precision: &str) -> Kind {
    if precision == "fp16" { Kind::Half } else { Kind::Float }
}
