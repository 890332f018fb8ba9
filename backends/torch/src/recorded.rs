//! UNet, decoder and rounding of one batch size, recorded once and given to the GPU as one launch.
//!
//! A frame takes more than a thousand operators, and up to eight frames at once a GPU is done with them faster than a
//! processor can launch them.

use lipcast_musetalk::NetworkError;
use lipcast_musetalk::networks::Network;
use lipcast_torch_native::{Alone, Graph, GraphError, SideStream};
use tch::{Device, Kind, TchError, Tensor};

use crate::error::{failed, said};
use crate::frames::Generated;
use crate::tensors::input_shapes;

/// What is recorded reads its inputs from the same memory each time.
#[derive(Debug)]
pub(crate) struct Recorded {
    inputs: Inputs,
    graph: Graph<Generated>,
}

#[derive(Debug)]
struct Inputs {
    latents: Tensor,
    audio: Tensor,
}

impl Recorded {
    /// Records what `work` does with latents and audio of `batch` frames on `device`, this thread being on `stream` there.
    /// It works in the memory of `beside`, if there is one: results of either must be fetched before the other runs.
    ///
    /// # Errors
    /// Those of `work`, and what keeps it from being recorded; nothing else should be then.
    pub(crate) fn record(
        (alone, stream): (&Alone, &SideStream),
        device: Device,
        batch: usize,
        kind: Kind,
        beside: Option<&Self>,
        mut work: impl FnMut(&Tensor, &Tensor) -> Result<Generated, NetworkError>,
    ) -> Result<Self, NetworkError> {
        let inputs = Inputs::new(batch, kind, device).map_err(failed("recording"))?;
        let beside = beside.map(|recorded| &recorded.graph);
        let graph = Graph::record(alone, stream, beside, || work(&inputs.latents, &inputs.audio)).map_err(
            |error| match error {
                GraphError::Work(error) => error,
                GraphError::Recording(text) => said("recording", &text),
            },
        )?;
        Ok(Self { inputs, graph })
    }

    /// Runs it; the batch is on the device until it runs again.
    ///
    /// # Errors
    /// In libtorch's words.
    pub(crate) fn run(&mut self, latents: &[f32], audio: &[f32]) -> Result<&Generated, NetworkError> {
        self.inputs.fill(latents, audio).map_err(failed("copying to the device"))?;
        self.graph.replay().map_err(|text| said("UNet and decoder", &text))
    }
}

impl Inputs {
    fn new(batch: usize, kind: Kind, device: Device) -> Result<Self, TchError> {
        let zeros = |shape: &Vec<i64>| Tensor::f_zeros(shape.as_slice(), (kind, device));
        let [latents, audio] = &input_shapes(Network::Unet, batch)[..] else {
            unreachable!("the UNet takes latents and audio")
        };
        Ok(Self { latents: zeros(latents)?, audio: zeros(audio)? })
    }

    fn fill(&mut self, latents: &[f32], audio: &[f32]) -> Result<(), TchError> {
        for (tensor, values) in [(&mut self.latents, latents), (&mut self.audio, audio)] {
            let values = Tensor::f_from_slice(values)?.f_view(tensor.size().as_slice())?;
            tensor.f_copy_(&values)?;
        }
        Ok(())
    }
}
