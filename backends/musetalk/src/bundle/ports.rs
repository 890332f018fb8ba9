//! Every network's inputs and outputs as a typed table: what a manifest must say, what a loaded file must
//! have, and what a caller must feed.
//!
//! Shapes are those of the true architecture; the sizes inside a network may vary from bundle to bundle,
//! these may not.

use Dim::{Any, Fixed};

use crate::networks::{
    FACE, FEATURES, HIDDEN_STATES, LATENT, LATENT_CHANNELS, MELS, Network, NetworkError, TOKENS, Tensor,
};

/// Most mel frames that the Whisper encoder has positions for: 30 s.
pub const MEL_FRAMES: usize = 3000;
/// Labels of the face parsing.
pub const LABELS: usize = 19;
/// Columns and rows of the picture that is parsed.
pub const PARSED: usize = 512;
/// Points that the landmark network finds on a whole body.
pub const BODY_POINTS: usize = 133;
/// Columns of the picture that it looks at.
pub const POSE_COLUMNS: usize = 288;
/// Rows of the picture that it looks at.
pub const POSE_ROWS: usize = 384;

/// The length of one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// Items that are computed together: a symbol in a manifest, any number from one on in a call.
    Batch,
    /// Exactly so many.
    Fixed(usize),
    /// A symbol or a number in a manifest, any number from one on in a call.
    Any,
}

/// What the values of a port are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// `f32`, or `f16` in a file of that precision.
    Float,
    /// `u8`.
    Byte,
}

/// One input or output of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// Its name in the files.
    pub name: &'static str,
    /// Its axes.
    pub shape: &'static [Dim],
    /// What its values are.
    pub values: Values,
}

/// What goes into a network and what comes out, in the order in which they are passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Its inputs.
    pub inputs: &'static [Port],
    /// Its outputs.
    pub outputs: &'static [Port],
}

const LATENT_SHAPE: &[Dim] = &[Dim::Batch, Fixed(LATENT_CHANNELS), Fixed(LATENT), Fixed(LATENT)];
const IMAGE_SHAPE: &[Dim] = &[Dim::Batch, Fixed(3), Fixed(FACE), Fixed(FACE)];

const WHISPER_ENCODER: Interface = Interface {
    inputs: &[Port::float("mel", &[Dim::Batch, Fixed(MELS), Any])],
    outputs: &[Port::float("features", &[Dim::Batch, Any, Fixed(HIDDEN_STATES), Fixed(FEATURES)])],
};

const UNET: Interface = Interface {
    inputs: &[
        Port::float("latents", &[Dim::Batch, Fixed(2 * LATENT_CHANNELS), Fixed(LATENT), Fixed(LATENT)]),
        Port::float("audio", &[Dim::Batch, Fixed(TOKENS), Fixed(FEATURES)]),
    ],
    outputs: &[Port::float("latent", LATENT_SHAPE)],
};

const VAE_ENCODER: Interface = Interface {
    inputs: &[Port::float("image", IMAGE_SHAPE)],
    outputs: &[Port::float("latent_mean", LATENT_SHAPE), Port::float("latent_std", LATENT_SHAPE)],
};

const VAE_DECODER: Interface = Interface {
    inputs: &[Port::float("latent", LATENT_SHAPE)],
    outputs: &[Port::float("image", IMAGE_SHAPE)],
};

const FACE_PARSING: Interface = Interface {
    inputs: &[Port::float("image", &[Dim::Batch, Fixed(3), Fixed(PARSED), Fixed(PARSED)])],
    outputs: &[Port::float("logits", &[Dim::Batch, Fixed(LABELS), Fixed(PARSED), Fixed(PARSED)])],
};

// A SimCC vector has two bins for each column or row.
const LANDMARKS: Interface = Interface {
    inputs: &[Port::float("input", &[Dim::Batch, Fixed(3), Fixed(POSE_ROWS), Fixed(POSE_COLUMNS)])],
    outputs: &[
        Port::float("simcc_x", &[Dim::Batch, Fixed(BODY_POINTS), Fixed(2 * POSE_COLUMNS)]),
        Port::float("simcc_y", &[Dim::Batch, Fixed(BODY_POINTS), Fixed(2 * POSE_ROWS)]),
    ],
};

const CLASS_SHAPE: &[Dim] = &[Dim::Batch, Fixed(2), Any, Any];
const BOX_SHAPE: &[Dim] = &[Dim::Batch, Fixed(4), Any, Any];

const FACE_DETECTOR: Interface = Interface {
    inputs: &[Port::float("image", &[Dim::Batch, Fixed(3), Any, Any])],
    outputs: &[
        Port::float("class0", CLASS_SHAPE),
        Port::float("box0", BOX_SHAPE),
        Port::float("class1", CLASS_SHAPE),
        Port::float("box1", BOX_SHAPE),
        Port::float("class2", CLASS_SHAPE),
        Port::float("box2", BOX_SHAPE),
        Port::float("class3", CLASS_SHAPE),
        Port::float("box3", BOX_SHAPE),
        Port::float("class4", CLASS_SHAPE),
        Port::float("box4", BOX_SHAPE),
        Port::float("class5", CLASS_SHAPE),
        Port::float("box5", BOX_SHAPE),
    ],
};

/// UNet, decoder and rounding in one graph; its pictures are BGR.
pub(super) const GENERATOR: Interface = Interface {
    inputs: UNET.inputs,
    outputs: &[Port {
        name: "frames",
        shape: &[Dim::Batch, Fixed(FACE), Fixed(FACE), Fixed(3)],
        values: Values::Byte,
    }],
};

impl Port {
    const fn float(name: &'static str, shape: &'static [Dim]) -> Self {
        Self { name, shape, values: Values::Float }
    }

    /// Whether a tensor of `shape` can be passed here.
    pub fn takes(&self, shape: &[usize]) -> bool {
        shape.len() == self.shape.len()
            && self.shape.iter().zip(shape).all(|(dim, &found)| match dim {
                Dim::Fixed(length) => *length == found,
                Dim::Batch | Dim::Any => found > 0,
            })
    }

    /// Whether `shape` is one of this port's for a batch of `batch` items. A network that was made for another number,
    /// once and for all, gives as many as that.
    pub fn takes_batch(&self, batch: usize, shape: &[usize]) -> bool {
        self.takes(shape) && shape[0] == batch
    }
}

impl std::fmt::Display for Port {
    /// Like `audio [B, 50, 384]`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [", self.name)?;
        for (i, dim) in self.shape.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            match dim {
                Dim::Batch => f.write_str("B")?,
                Dim::Fixed(length) => write!(f, "{length}")?,
                Dim::Any => f.write_str("?")?,
            }
        }
        f.write_str("]")
    }
}

impl Network {
    /// Its inputs and outputs.
    pub fn interface(self) -> Interface {
        match self {
            Self::WhisperEncoder => WHISPER_ENCODER,
            Self::Unet => UNET,
            Self::VaeEncoder => VAE_ENCODER,
            Self::VaeDecoder => VAE_DECODER,
            Self::FaceParsing => FACE_PARSING,
            Self::Landmarks => LANDMARKS,
            Self::FaceDetector => FACE_DETECTOR,
        }
    }

    /// Looks whether `inputs` can be run: as many as it takes, of their shapes, of one batch. Gives the
    /// batch.
    ///
    /// # Errors
    /// [`NetworkError::Runtime`] that names the network, the input, and the shapes expected and found.
    pub fn check(self, inputs: &[Tensor]) -> Result<usize, NetworkError> {
        let ports = self.interface().inputs;
        let name = self.name();
        if inputs.len() != ports.len() {
            let (takes, found) = (ports.len(), inputs.len());
            return Err(NetworkError::Runtime(format!("{name} takes {takes} inputs, {found} were given")));
        }
        for (port, input) in ports.iter().zip(inputs) {
            if !port.takes(&input.shape) {
                let found = &input.shape;
                return Err(NetworkError::Runtime(format!("{name} takes {port}, {found:?} was given")));
            }
        }
        let batch = inputs[0].shape[0];
        if let Some(other) = inputs.iter().find(|input| input.shape[0] != batch) {
            let found = other.shape[0];
            return Err(NetworkError::Runtime(format!("{name} was given batches of {batch} and {found}")));
        }
        if self == Self::WhisperEncoder {
            let frames = inputs[0].shape[2];
            if frames > MEL_FRAMES || !frames.is_multiple_of(2) {
                return Err(NetworkError::Runtime(format!(
                    "{name} takes an even number of mel frames up to {MEL_FRAMES}, {frames} were given"
                )));
            }
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeros(shape: &[usize]) -> Tensor {
        Tensor::new(shape, vec![0.0; shape.iter().product()])
    }

    #[test]
    fn inputs_are_checked_by_number_shape_and_batch() {
        let (latents, audio) = (zeros(&[2, 8, 32, 32]), zeros(&[2, 50, 384]));
        assert_eq!(Network::Unet.check(&[latents.clone(), audio.clone()]), Ok(2));
        for (inputs, message) in [
            (vec![latents.clone()], "unet takes 2 inputs, 1 were given"),
            (
                vec![audio.clone(), latents.clone()],
                "unet takes latents [B, 8, 32, 32], [2, 50, 384] was given",
            ),
            (
                vec![latents.clone(), zeros(&[2, 50, 383])],
                "unet takes audio [B, 50, 384], [2, 50, 383] was given",
            ),
            (vec![latents, zeros(&[1, 50, 384])], "unet was given batches of 2 and 1"),
            (
                vec![zeros(&[0, 8, 32, 32]), zeros(&[0, 50, 384])],
                "unet takes latents [B, 8, 32, 32], [0, 8, 32, 32] was given",
            ),
        ] {
            assert_eq!(Network::Unet.check(&inputs), Err(NetworkError::Runtime(message.to_owned())));
        }
    }

    #[test]
    fn mel_frames_are_even_and_at_most_half_a_minute() {
        for frames in [2, 64, 3000] {
            assert_eq!(Network::WhisperEncoder.check(&[zeros(&[1, 80, frames])]), Ok(1));
        }
        for frames in [0, 63, 3002] {
            assert!(Network::WhisperEncoder.check(&[zeros(&[1, 80, frames])]).is_err(), "{frames}");
        }
    }

    #[test]
    fn all_ports_of_a_network_have_a_batch_and_names_of_their_own() {
        for network in Network::ALL {
            let Interface { inputs, outputs } = network.interface();
            for ports in [inputs, outputs] {
                assert!(ports.iter().all(|port| port.shape[0] == Dim::Batch), "{}", network.name());
                for (i, port) in ports.iter().enumerate() {
                    assert!(ports[..i].iter().all(|other| other.name != port.name), "{port}");
                }
            }
        }
    }
}
