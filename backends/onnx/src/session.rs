//! One network, opened: what its file takes and gives is looked at first, and every call is checked on both sides.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;
use lipcast_musetalk::NetworkError;
use lipcast_musetalk::bundle::ports::{Dim, Port};
use lipcast_musetalk::networks::{Network, Tensor, all_finite};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{RunOptions, Session, SessionInputValue};
use ort::value::{DynValue, Outlet, TensorElementType, TensorRef};

use crate::device::{Role, Target};
use crate::error::failed;

/// A network that can be run.
pub(crate) struct Opened {
    pub(crate) network: Network,
    pub(crate) file: PathBuf,
    pub(crate) session: Session,
    /// Calls from here do not go into what is recorded for speech.
    options: RunOptions,
}

impl Opened {
    /// Opens `file` as `network`.
    ///
    /// # Errors
    /// When it is not a model, or one with other inputs or outputs; the message names the file and the port.
    pub(crate) fn open(
        target: &Target,
        role: Role<'_>,
        network: Network,
        file: &Path,
    ) -> Result<Self, NetworkError> {
        let session = target
            .builder(role, network.interface().inputs)?
            .commit_from_file(file)
            .map_err(|error| failed(&file.display().to_string(), error))?;
        check(&session, network, file)?;
        let options = options(target, role).map_err(|error| failed(network.name(), error))?;
        Ok(Self { network, file: file.to_owned(), session, options })
    }

    /// Looks whether `file` could be opened as `network`, without the work that makes it fast.
    ///
    /// # Errors
    /// As [`Opened::open`].
    pub(crate) fn look(target: &Target, network: Network, file: &Path) -> Result<(), NetworkError> {
        let name = file.display().to_string();
        let builder = target
            .on_cpu()
            .builder(Role::Other, network.interface().inputs)?
            .with_optimization_level(GraphOptimizationLevel::Disable)
            .map_err(|error| failed(&name, error))?;
        let mut builder = builder.with_prepacking(false).map_err(|error| failed(&name, error))?;
        let session = builder.commit_from_file(file).map_err(|error| failed(&name, error))?;
        check(&session, network, file)
    }

    /// The type of the values of input or output `name`, f32 or f16.
    pub(crate) fn values(&self, name: &str) -> TensorElementType {
        let outlets = self.session.inputs().iter().chain(self.session.outputs());
        outlets
            .filter(|outlet| outlet.name() == name)
            .find_map(|outlet| outlet.dtype().tensor_type())
            .unwrap_or(TensorElementType::Undefined)
    }

    /// Runs it. Inputs and outputs are f32 whatever the file's are.
    ///
    /// # Errors
    /// When an input has a wrong shape, the runtime fails, or an output is no number or of a wrong shape.
    pub(crate) fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, NetworkError> {
        let network = self.network;
        let batch = network.check(inputs)?;
        let ports = network.interface();
        let values: Result<Vec<_>, _> = ports
            .inputs
            .iter()
            .zip(inputs)
            .map(|(port, input)| Ok((Cow::Borrowed(port.name), give(input, self.values(port.name))?)))
            .collect();
        let outputs = values
            .and_then(|values: Vec<(Cow<'_, str>, SessionInputValue<'_>)>| {
                self.session.run_with_options(values, &self.options)
            })
            .map_err(|error| failed(network.name(), error))?;
        ports.outputs.iter().map(|port| take(network, port, batch, &outputs[port.name])).collect()
    }
}

fn options(target: &Target, role: Role<'_>) -> ort::Result<RunOptions> {
    let mut options = RunOptions::new()?;
    if target.records() && matches!(role, Role::Speech { .. }) {
        // A graph's number, or -1 to run without one.
        options.set("gpu_graph_id", "-1")?;
    }
    Ok(options)
}

/// A tensor of ours as the runtime takes it; f32 is lent, f16 is made.
fn give(tensor: &Tensor, values: TensorElementType) -> ort::Result<SessionInputValue<'_>> {
    let shape = tensor.shape.clone();
    Ok(match values {
        TensorElementType::Float16 => {
            let mut halves = vec![f16::ZERO; tensor.data.len()];
            halves.convert_from_f32_slice(&tensor.data);
            ort::value::Tensor::from_array((shape, halves))?.into()
        }
        _ => TensorRef::from_array_view((shape, tensor.data.as_slice()))?.into(),
    })
}

/// A tensor of the runtime's as ours, of a batch of `batch` items.
fn take(network: Network, port: &Port, batch: usize, value: &DynValue) -> Result<Tensor, NetworkError> {
    let name = network.name();
    let unreadable = |error| failed(name, error);
    let (shape, data) = if value.dtype().tensor_type() == Some(TensorElementType::Float16) {
        let (shape, halves) = value.try_extract_tensor::<f16>().map_err(unreadable)?;
        let mut data = vec![0.0; halves.len()];
        halves.convert_to_f32_slice(&mut data);
        (shape, all_finite(&data).then_some(data))
    } else {
        let (shape, data) = value.try_extract_tensor::<f32>().map_err(unreadable)?;
        (shape, finite_copy(data))
    };
    let shape: Vec<usize> = shape.iter().map(|&length| usize::try_from(length).unwrap_or(0)).collect();
    if !port.takes_batch(batch, &shape) {
        return Err(NetworkError::Corrupt(format!(
            "{name} gave {shape:?} for a batch of {batch} where {port} was expected"
        )));
    }
    data.map(|data| Tensor::new(shape, data))
        .ok_or_else(|| NetworkError::BadOutput(format!("{name}: `{}` holds NaN or infinity", port.name)))
}

/// A copy, unless a value is NaN or infinite. Each piece is looked at while the cache still has it.
fn finite_copy(values: &[f32]) -> Option<Vec<f32>> {
    let mut copy = Vec::with_capacity(values.len());
    for piece in values.chunks(2048) {
        if !all_finite(piece) {
            return None;
        }
        copy.extend_from_slice(piece);
    }
    Some(copy)
}

/// Compares what the file itself says of its inputs and outputs with what the network's are.
fn check(session: &Session, network: Network, file: &Path) -> Result<(), NetworkError> {
    let ports = network.interface();
    let refuse = |what: String| Err(NetworkError::Corrupt(format!("{}: {what}", file.display())));
    for (kind, expected, found) in
        [("input", ports.inputs, session.inputs()), ("output", ports.outputs, session.outputs())]
    {
        for port in expected {
            match found.iter().find(|outlet| outlet.name() == port.name) {
                Some(outlet) if is(port, outlet) => {}
                Some(outlet) => {
                    return refuse(format!("expected {kind} {port} of f32 or f16, got {}", show(outlet)));
                }
                None => {
                    let all: Vec<_> = found.iter().map(show).collect();
                    return refuse(format!("expected {kind} {port}, got {}", all.join(", ")));
                }
            }
        }
    }
    // An output more is nobody's harm, an input more is fed by nobody.
    match session.inputs().iter().find(|outlet| ports.inputs.iter().all(|port| port.name != outlet.name())) {
        Some(outlet) => {
            refuse(format!("got an input {} that {} does not have", show(outlet), network.name()))
        }
        None => Ok(()),
    }
}

/// Whether an outlet of the file is the port: floats, and every axis of the port's length or free.
fn is(port: &Port, outlet: &Outlet) -> bool {
    let floats = [TensorElementType::Float32, TensorElementType::Float16].map(Some);
    let fits = |(dim, length): (&Dim, &i64)| match dim {
        Dim::Fixed(expected) => *length < 0 || usize::try_from(*length) == Ok(*expected),
        Dim::Batch => *length < 0,
        Dim::Any => true,
    };
    floats.contains(&outlet.dtype().tensor_type())
        && outlet.dtype().tensor_shape().is_some_and(|shape| {
            shape.len() == port.shape.len() && port.shape.iter().zip(shape.iter()).all(fits)
        })
}

/// Like `latents [?, 8, 32, 32] of f32`.
fn show(outlet: &Outlet) -> String {
    let (Some(shape), Some(values)) = (outlet.dtype().tensor_shape(), outlet.dtype().tensor_type()) else {
        return format!("{}, which is no tensor", outlet.name());
    };
    let lengths: Vec<_> =
        shape.iter().map(|length| if *length < 0 { "?".to_owned() } else { length.to_string() }).collect();
    format!("{} [{}] of {values}", outlet.name(), lengths.join(", "))
}
