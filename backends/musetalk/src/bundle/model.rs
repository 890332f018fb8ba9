//! What a bundle can hold: the seven networks, and two that stand in for some of them.

use super::ports::{GENERATOR, Interface};
use crate::networks::Network;
use crate::settings::Decoder;

/// A model of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Model {
    /// One of the networks under its own name; as `vae_decoder`, the decoder that MuseTalk was trained with.
    Network(Network),
    /// The tiny decoder; its interface is that of `vae_decoder`.
    TaesdDecoder,
    /// UNet, decoder and rounding in one graph: inputs of the UNet → `frames` u8 `[B, 256, 256, 3]`, BGR.
    Generator,
}

impl Model {
    /// All of them: the networks in the order of the flow, then the others.
    pub const ALL: [Self; 9] = [
        Self::Network(Network::WhisperEncoder),
        Self::Network(Network::Unet),
        Self::Network(Network::VaeEncoder),
        Self::Network(Network::VaeDecoder),
        Self::Network(Network::FaceParsing),
        Self::Network(Network::Landmarks),
        Self::Network(Network::FaceDetector),
        Self::TaesdDecoder,
        Self::Generator,
    ];

    /// Its name in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network(network) => network.name(),
            Self::TaesdDecoder => "taesd_decoder",
            Self::Generator => "generator",
        }
    }

    /// Its inputs and outputs.
    pub fn interface(self) -> Interface {
        match self {
            Self::Network(network) => network.interface(),
            Self::TaesdDecoder => Network::VaeDecoder.interface(),
            Self::Generator => GENERATOR,
        }
    }

    /// The model that `network` is when `decoder` is chosen.
    pub fn of(network: Network, decoder: Decoder) -> Self {
        match (network, decoder) {
            (Network::VaeDecoder, Decoder::Taesd) => Self::TaesdDecoder,
            _ => Self::Network(network),
        }
    }
}
