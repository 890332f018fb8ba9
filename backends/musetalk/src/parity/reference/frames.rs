//! What is drawn: G18 to G20, then G2 and G6.

use super::super::golden::Expected;
use super::super::{ParityError, generate};
use super::{SIZE, Show, avatar};
use crate::image::{Bilinear, Picture, View, ViewMut};
use crate::mask::blend;
use crate::networks::{FACE, FACE_BYTES, LATENT, LATENT_CHANNELS, Network, Networks, Tensor};

/// The video frames that are drawn. The source goes forwards, then backwards: they show source frames 0 and
/// 1.
const DRAWN: [usize; 2] = [0, 26];

pub(super) fn compare<N: Networks>(
    show: &mut Show<'_, '_, N>,
    sources: [View<'_, 3>; 2],
    boxes: [[i32; 4]; 2],
    latents: Vec<Vec<f32>>,
    tokens: Option<Tensor>,
    own_decoder: bool,
) -> Result<(), ParityError> {
    let mut golden = Vec::new();
    for frame in DRAWN {
        let name = format!("G20.face.{frame}");
        let (shape, face) = show.golden.bytes(&name)?;
        if shape != [FACE, FACE, 3] {
            return Err(show.golden.unusable(format!("{name} is {shape:?}, not a face")));
        }
        golden.extend(face);
    }
    for (number, face) in golden.chunks_exact(FACE_BYTES).enumerate() {
        exact(show, number, sources[number], boxes[number], face)?;
    }
    let (Some(tokens), 2) = (tokens, latents.len()) else {
        show.sheet.note("reference: faces are not generated, since latents or tokens are missing")?;
        return Ok(());
    };
    let latents = Tensor::new([2, 2 * LATENT_CHANNELS, LATENT, LATENT], latents.concat());
    let Some(faces) = generated(show, latents, tokens, &golden, own_decoder)? else { return Ok(()) };
    for (number, face) in faces.chunks_exact(FACE_BYTES).enumerate() {
        own(show, number, sources[number], boxes[number], face)?;
    }
    Ok(())
}

/// Our faces, `[2, 256, 256, 3]`; `None` where the decoder is not the reference's, or where there are none.
fn generated<N: Networks>(
    show: &mut Show<'_, '_, N>,
    latents: Tensor,
    tokens: Tensor,
    golden: &[u8],
    own_decoder: bool,
) -> Result<Option<Vec<u8>>, ParityError> {
    // By the reference's own latents: what its encoder and ours differ by is said at G9.
    let theirs = [0, 1].map(|number| show.golden.floats(&format!("G9.latents.{number}")));
    let [first, second] = theirs;
    let data = [first?.data, second?.data].concat();
    if data.len() != latents.data.len() {
        return Err(show.golden.unusable("G9.latents are not those of two faces".to_owned()));
    }
    let inputs = [Tensor::new(latents.shape.clone(), data), tokens];
    let Some(outputs) = show.run("G18.latent", Network::Unet, &inputs)? else { return Ok(None) };
    show.values("G18.latent", show.rule(Network::Unet), &outputs[0])?;
    if !own_decoder {
        show.sheet.note("reference: faces are not compared, they were made by the other decoder")?;
        return Ok(None);
    }
    if let Some(pictures) = show.run("G19.picture", Network::VaeDecoder, &outputs)? {
        let rule = show.rule(Network::VaeDecoder);
        for (_, expected) in show.golden.expected("G19.raw")? {
            // Golden is what the decoder itself gave; here its range is inside the network.
            let shown = |raw: Tensor| {
                let values = raw.data.iter().map(|value| (value * 0.5 + 0.5).clamp(0.0, 1.0)).collect();
                Tensor::new(raw.shape, values)
            };
            let expected = match expected {
                Expected::Whole(raw) => Expected::Whole(shown(raw)),
                Expected::Sample { strides, values } => Expected::Sample { strides, values: shown(values) },
                largest @ Expected::Largest { .. } => largest,
            };
            rule.judge("reference: picture", &pictures[0], &expected, show.sheet)?;
        }
    }
    let [_, tokens] = inputs;
    generate::compare(show.networks, "reference: faces", &latents, &tokens, golden, show.sheet)
}

/// The reference's own face: what becomes of it is equal byte for byte.
fn exact<N: Networks>(
    show: &mut Show<'_, '_, N>,
    number: usize,
    source: View<'_, 3>,
    bounds: [i32; 4],
    face: &[u8],
) -> Result<(), ParityError> {
    let frame = DRAWN[number];
    let face = View::new(face, FACE, FACE);
    let size = [bounds[2].abs_diff(bounds[0]) as usize, bounds[3].abs_diff(bounds[1]) as usize];
    let mut resized = Picture::new(size[0], size[1]);
    Bilinear::default().resize(face, size, [0, 0], &mut resized.view_mut());
    show.bytes(&format!("G2.resized.{frame}"), &[size[1], size[0], 3], resized.pixels())?;
    let composed = composed(show, source, bounds, face)?;
    show.bytes(&format!("G6.frame.{frame}"), &[SIZE[1], SIZE[0], 3], &composed)
}

/// Our own face: its frame is within a level.
fn own<N: Networks>(
    show: &mut Show<'_, '_, N>,
    number: usize,
    source: View<'_, 3>,
    bounds: [i32; 4],
    face: &[u8],
) -> Result<(), ParityError> {
    let frame = DRAWN[number];
    let composed = composed(show, source, bounds, View::new(face, FACE, FACE))?;
    let (shape, golden) = show.golden.bytes(&format!("G6.frame.{frame}"))?;
    let (_, region) = show.golden.whole(&format!("G6.region.{frame}"))?;
    let sides: Vec<usize> = region.iter().filter_map(|side| usize::try_from(*side).ok()).collect();
    let [left, top, right, bottom] = sides[..] else {
        return Err(show.golden.unusable(format!("G6.region.{frame} is {region:?}")));
    };
    if right > SIZE[0]
        || bottom > SIZE[1]
        || shape != [bottom.saturating_sub(top), right.saturating_sub(left), 3]
    {
        return Err(show.golden.unusable(format!("G6.region.{frame} is {region:?}, its frame {shape:?}")));
    }
    let part = View::<3>::new(&composed, SIZE[0], SIZE[1]).window(left, top, right - left, bottom - top);
    let (worst, unit, tolerance) = show.precision.of_pixels(part.to_picture().pixels(), &golden);
    show.point(&format!("G6.own frame.{frame}"), &shape, worst, unit, tolerance)
}

fn composed<N: Networks>(
    show: &Show<'_, '_, N>,
    source: View<'_, 3>,
    bounds: [i32; 4],
    face: View<'_, 3>,
) -> Result<Vec<u8>, ParityError> {
    let mask = avatar::given(show, bounds)?;
    let mut frame = source.to_picture().into_pixels();
    let mut view = ViewMut::new(&mut frame, SIZE[0], SIZE[1]);
    blend(&mut view, face, bounds, &mask, &mut Bilinear::default());
    Ok(frame)
}
