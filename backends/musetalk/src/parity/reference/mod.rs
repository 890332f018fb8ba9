//! A performance of the reference, step by step: the made-up head of the maker of bundles, looked at,
//! prepared, and made to speak.
//!
//! In: `golden/reference.safetensors`, what the reference's own OpenCV, Pillow and `transformers` made of two
//! source frames and 1.2 s of speech, named by the check-points (`tools/musetalk/README.md` lists them). Out:
//! a line for each, by the code that prepares avatars and draws frames here.
//!
//! ```text
//! faces    frame ─► G21 landmarks' input ─► G22 SimCC ─► G23 points      frame ─► G24 maps ─► G25 face      G27 boxes
//! avatar   box ─► G1 crop ─► G7 input ─► G8 G9 latents      square ─► G3 input ─► G26 labels ─► G4 region ─► G5 alpha
//! speech   G10 PCM ─► G11 G12 mel ─► G13 features ─► G14 G15 tokens, G16 position code
//! frames   latents, tokens ─► G18 latent ─► G19 picture ─► G20 face ─► G2 resized ─► G6 frame
//! ```
//!
//! What must be equal byte for byte is computed from golden inputs, so that it is whatever the networks run
//! on; what networks compute goes on from step to step.

mod avatar;

mod faces;

mod frames;

mod scene;

mod speech;

use super::compare::{crc32, unequal};
use super::golden::Golden;
use super::judge::Rule;
use super::sheet::{Point, Sheet, Unit};
use super::{ParityError, Precision};
use crate::image::View;
use crate::networks::{Network, Networks, Tensor};

/// Columns and rows of a source frame.
const SIZE: [usize; 2] = [scene::WIDTH, scene::HEIGHT];

/// Runs all steps for which `networks` has what they need.
pub(super) fn compare<N: Networks>(
    networks: &mut N,
    golden: &Golden,
    sheet: &mut Sheet<'_>,
    own_decoder: bool,
) -> Result<(), ParityError> {
    let mut show = Show { precision: Precision::of(networks), networks, golden, sheet };
    let sources = [scene::frame(0), scene::frame(1)];
    for (number, source) in sources.iter().enumerate() {
        show.bytes(&format!("frame.{number}"), &[SIZE[1], SIZE[0], 3], source)?;
    }
    let views = [0, 1].map(|number| View::new(&sources[number], SIZE[0], SIZE[1]));
    faces::compare(&mut show, views[0])?;
    let boxes = boxes(golden)?;
    let mut latents = Vec::new();
    for number in 0..2 {
        latents.extend(avatar::latents(&mut show, number, views[number], boxes[number])?);
        avatar::mask(&mut show, number, views[number], boxes[number])?;
    }
    let tokens = speech::compare(&mut show)?;
    frames::compare(&mut show, views, boxes, latents, tokens, own_decoder)
}

/// The face boxes of the two source frames.
fn boxes(golden: &Golden) -> Result<[[i32; 4]; 2], ParityError> {
    let (_, sides) = golden.whole("G27.boxes")?;
    match sides.as_chunks() {
        ([first, second], []) => Ok([*first, *second]),
        _ => Err(golden.unusable("G27.boxes is not two boxes".to_owned())),
    }
}

/// What the steps share.
struct Show<'a, 's, N> {
    networks: &'a mut N,
    precision: Precision,
    golden: &'a Golden,
    sheet: &'a mut Sheet<'s>,
}

impl<N: Networks> Show<'_, '_, N> {
    /// Compares bytes with the checksum called `key`.
    fn bytes(&mut self, key: &str, shape: &[usize], bytes: &[u8]) -> Result<(), ParityError> {
        let same = crc32(bytes) == self.golden.checksum(key)?;
        let worst = if same { 0.0 } else { 1.0 };
        self.point(key, shape, worst, Unit::Bytes, 0.0)
    }

    /// Compares whole numbers with those called `key`; the share `tolerance` may differ.
    fn whole(&mut self, key: &str, found: &[i32], tolerance: f64) -> Result<(), ParityError> {
        let (shape, golden) = self.golden.whole(key)?;
        self.point(key, &shape, unequal(found, &golden), Unit::Unequal, tolerance)
    }

    /// Compares values with those called `key`, or with the part of them that was kept.
    fn values(&mut self, key: &str, rule: Rule, found: &Tensor) -> Result<(), ParityError> {
        for (part, expected) in self.golden.expected(key)? {
            rule.judge(&name(&part), found, &expected, self.sheet)?;
        }
        Ok(())
    }

    /// Adds a check-point.
    fn point(
        &mut self,
        key: &str,
        shape: &[usize],
        worst: f64,
        unit: Unit,
        tolerance: f64,
    ) -> Result<(), ParityError> {
        let name = name(key);
        Ok(self.sheet.point(&Point { id: id(key), name: &name, shape, worst, unit, tolerance })?)
    }

    /// The rule for the outputs of `network`.
    fn rule(&self, network: Network) -> Rule {
        Rule::of(network, self.precision)
    }

    /// Runs `network` for the check-point `key`; `None` when it is not there or fails, which a line says.
    fn run(
        &mut self,
        key: &str,
        network: Network,
        inputs: &[Tensor],
    ) -> Result<Option<Vec<Tensor>>, ParityError> {
        if !self.networks.has(network) {
            self.sheet.note(format_args!("{}: not compared, there is no {}", name(key), network.name()))?;
            return Ok(None);
        }
        let outputs = self.networks.run(network, inputs);
        let expected = network.interface().outputs;
        match outputs {
            Ok(found)
                if found.len() == expected.len()
                    && expected.iter().zip(&found).all(|(port, found)| port.takes(&found.shape)) =>
            {
                Ok(Some(found))
            }
            Ok(found) => {
                let shapes: Vec<_> = found.iter().map(|found| &found.shape).collect();
                self.broken(key, format!("{} gave {shapes:?}", network.name()))
            }
            Err(error) => self.broken(key, error.to_string()),
        }
    }

    /// Adds a check-point that nothing could be measured at.
    fn broken<T>(&mut self, key: &str, why: String) -> Result<Option<T>, ParityError> {
        self.sheet.broken(id(key), &name(key), why)?;
        Ok(None)
    }
}

/// `G1` of `G1.crop.0`; a dash where there is none.
fn id(key: &str) -> &str {
    key.split_once('.').map(|(id, _)| id).filter(|id| id.starts_with('G')).unwrap_or("-")
}

fn name(key: &str) -> String {
    let part = key.split_once('.').filter(|(id, _)| id.starts_with('G')).map_or(key, |(_, part)| part);
    format!("reference: {part}")
}
