//! The last step of a frame, as a small graph of its own, so that it runs where the networks ran.
//!
//! In: the UNet's `latent` and the decoder's `image` `[B, 3, 256, 256]`, RGB in 0…1, each f32 or f16.
//! Out: `frames` u8 `[B, 256, 256, 3]`, RGB; and the sums of `latent` and `image`, f32, which are finite if everything
//! in them is.
//!
//! `frames = clip(round(255 · image))` in f32 with halves to even, as the reference does it on the CPU. Bytes leave the
//! device, a quarter of what floats would be.

use lipcast_musetalk::NetworkError;
use ort::editor::{Graph, Model, Node, ONNX_DOMAIN, Opset};
use ort::memory::Allocator;
use ort::operator::Attribute;
use ort::session::Session;
use ort::value::{Outlet, Shape, SymbolicDimensions, Tensor, TensorElementType, ValueType};

use crate::device::{Role, Target};
use crate::error::failed;

/// Names of the graph's inputs and outputs.
pub(crate) const LATENT: &str = "latent";
pub(crate) const IMAGE: &str = "image";
pub(crate) const FRAMES: &str = "frames";
pub(crate) const LATENT_SUM: &str = "latent_sum";
pub(crate) const IMAGE_SUM: &str = "image_sum";

/// The operators as of the version that the bundles are exported with.
const OPSET: u32 = 17;
/// Numbers of element types in ONNX's own format.
const ONNX_FLOAT: i64 = 1;
const ONNX_UINT8: i64 = 2;

/// Makes the graph for inputs of `values` on `target`.
pub(crate) fn open(target: &Target, values: TensorElementType) -> Result<Session, NetworkError> {
    let builder = target.builder(Role::Other, &[])?;
    model(values)
        .and_then(|model| model.into_session(&builder))
        .map_err(|error| failed(&format!("turning pictures to bytes on {}", target.name()), error))
}

/// Runs the graph once on a black picture.
///
/// # Errors
/// In the runtime's words, when it cannot be run on `target`.
pub(crate) fn try_out(target: &Target) -> Result<(), NetworkError> {
    let mut session = open(target, TensorElementType::Float32)?;
    let mut run = || -> ort::Result<()> {
        let latent = Tensor::from_array(([1, 4, 32, 32], vec![0.0_f32; 4 * 32 * 32]))?;
        let image = Tensor::from_array(([1, 3, 256, 256], vec![0.0_f32; 3 * 256 * 256]))?;
        session.run(ort::inputs![LATENT => latent, IMAGE => image]).map(drop)
    };
    run().map_err(|error| failed(&format!("a small graph on {}", target.name()), error))
}

fn model(values: TensorElementType) -> ort::Result<Model> {
    let floats = |shape: &[i64]| tensor(TensorElementType::Float32, shape);
    let mut graph = Graph::new()?;
    graph.set_inputs([
        Outlet::new(LATENT, tensor(values, &[-1, 4, 32, 32])),
        Outlet::new(IMAGE, tensor(values, &[-1, 3, 256, 256])),
    ])?;
    graph.set_outputs([
        Outlet::new(FRAMES, tensor(TensorElementType::Uint8, &[-1, 256, 256, 3])),
        Outlet::new(LATENT_SUM, floats(&[])),
        Outlet::new(IMAGE_SUM, floats(&[])),
    ])?;
    graph.add_initializer("none", scalar(0.0)?, false)?;
    graph.add_initializer("full", scalar(255.0)?, false)?;
    let to = |kind| Attribute::new("to", kind);
    let mut node = |operator, inputs: &[&str], output, attributes: Vec<Attribute>| {
        graph.add_node(Node::new(operator, ONNX_DOMAIN, output, inputs, [output], attributes)?)
    };
    node("Cast", &[IMAGE], "image_f32", vec![to(ONNX_FLOAT)?])?;
    node("Mul", &["image_f32", "full"], "scaled", vec![])?;
    node("Round", &["scaled"], "rounded", vec![])?;
    node("Clip", &["rounded", "none", "full"], "clipped", vec![])?;
    node("Cast", &["clipped"], "bytes", vec![to(ONNX_UINT8)?])?;
    node("Transpose", &["bytes"], FRAMES, vec![Attribute::new("perm", vec![0_i64, 2, 3, 1])?])?;
    node("Cast", &[LATENT], "latent_f32", vec![to(ONNX_FLOAT)?])?;
    node("ReduceSum", &["latent_f32"], LATENT_SUM, vec![Attribute::new("keepdims", 0_i64)?])?;
    node("ReduceSum", &["image_f32"], IMAGE_SUM, vec![Attribute::new("keepdims", 0_i64)?])?;
    let mut model = Model::new([Opset::new(ONNX_DOMAIN, OPSET)?])?;
    model.set_graph(graph)?;
    Ok(model)
}

/// A tensor's type; `-1` is the batch.
fn tensor(ty: TensorElementType, shape: &[i64]) -> ValueType {
    let symbols = shape.iter().map(|length| if *length < 0 { "B".to_owned() } else { String::new() });
    ValueType::Tensor { ty, shape: Shape::from(shape), dimension_symbols: SymbolicDimensions::new(symbols) }
}

fn scalar(value: f32) -> ort::Result<Tensor<f32>> {
    let mut tensor = Tensor::new(&Allocator::default(), [1_i64])?;
    tensor.extract_tensor_mut().1[0] = value;
    Ok(tensor)
}
