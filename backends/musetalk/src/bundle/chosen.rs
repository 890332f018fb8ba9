//! Which file a network is run from, and in which precision.
//!
//! One rule for every runtime: an avatar that was prepared on one of them is shown by the others.

use std::path::PathBuf;

use super::Bundle;
use crate::networks::{Network, NetworkError};
use crate::settings::PrecisionChoice;

/// What speech needs.
const SPEAKING: [Network; 3] = [Network::WhisperEncoder, Network::Unet, Network::VaeDecoder];

impl Bundle {
    /// What UNet and decoder run in, `fp32` or `fp16`, on a GPU or on a CPU. `log` hears what nobody asked for.
    ///
    /// # Errors
    /// [`NetworkError::Unsupported`] when the bundle does not have them in what is asked for, or no Whisper for it.
    pub fn precision(
        &self,
        choice: PrecisionChoice,
        gpu: bool,
        log: &dyn Fn(&str),
    ) -> Result<&'static str, NetworkError> {
        let lacks = |precision: &str| {
            let lacking = SPEAKING.into_iter().find(|network| self.chosen(*network, precision).is_none())?;
            let (folder, format) = (self.folder.display(), &self.format);
            Some(format!("{folder} has no {} as {format} in {precision}", lacking.name()))
        };
        let precision = match choice {
            PrecisionChoice::Fp16 => "fp16",
            PrecisionChoice::Auto if gpu => match lacks("fp16") {
                None => "fp16",
                Some(reason) => {
                    log(&format!("precision = \"auto\": fp32, since {reason}"));
                    "fp32"
                }
            },
            PrecisionChoice::Auto | PrecisionChoice::Fp32 => "fp32",
        };
        if let Some(reason) = lacks(precision) {
            let other = ["fp32", "fp16"].into_iter().find(|other| lacks(other).is_none());
            let other = other.map_or(String::new(), |other| format!("; precision = \"{other}\" would do"));
            return Err(NetworkError::Unsupported(format!("precision = \"{choice}\": {reason}{other}")));
        }
        if precision == "fp16" && !gpu {
            log("precision = \"fp16\": a CPU is many times slower at it than at fp32");
        }
        for network in self.passed_over(precision) {
            log(&format!("{} is there in fp16 alone and is not used: it takes fp32", network.name()));
        }
        Ok(precision)
    }

    /// The file of `network` and its precision, where UNet and decoder run in `precision`; `None` when the bundle has
    /// none that would do. Whisper and the VAE encoder may be there in fp32 beside them; those that parse faces and
    /// look for them decide, are small, and run in full precision alone.
    pub fn chosen(&self, network: Network, precision: &str) -> Option<(PathBuf, &'static str)> {
        let half: &[&'static str] = match network {
            Network::Unet | Network::VaeDecoder => &["fp16"],
            Network::WhisperEncoder | Network::VaeEncoder => &["fp16", "fp32"],
            Network::FaceParsing | Network::Landmarks | Network::FaceDetector => &["fp32"],
        };
        let precisions = if precision == "fp16" { half } else { &["fp32"] };
        precisions.iter().find_map(|found| Some((self.file(network, &self.format, found)?, *found)))
    }

    /// The networks that are there in fp16 alone and would have to be there in fp32, so that they are not used where
    /// UNet and decoder run in `precision`.
    pub fn passed_over(&self, precision: &str) -> impl Iterator<Item = Network> {
        let is_unused = |network: &Network| self.has(*network) && self.chosen(*network, precision).is_none();
        Network::ALL.into_iter().filter(is_unused)
    }
}
