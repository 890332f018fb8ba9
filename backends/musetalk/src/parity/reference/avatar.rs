//! What of a source frame is kept: latents, G1 and G7 to G9, and alpha, G3 to G5 and G26.

use super::super::ParityError;
use super::super::compare::{strided, unequal};
use super::super::sheet::Unit;
use super::Show;
use super::scene;
use crate::face::parsing;
use crate::image::{Picture, View, lanczos4};
use crate::mask::{self, FEATHER, Mask, region};
use crate::networks::{FACE, FACE_BYTES, LATENT, LATENT_CHANNELS, LATENTS, Network, Networks, Tensor};
use crate::prepare::to_pair;
use crate::settings::{MaskMode, Settings};

/// The latents of a source frame, `[8, 32, 32]`, where there is an encoder.
pub(super) fn latents<N: Networks>(
    show: &mut Show<'_, '_, N>,
    number: usize,
    frame: View<'_, 3>,
    bounds: [i32; 4],
) -> Result<Option<Vec<f32>>, ParityError> {
    let Some([left, top, right, bottom]) = inside(frame, bounds) else {
        return Err(show.golden.unusable(format!("the box {bounds:?} leaves the picture")));
    };
    let crop = lanczos4(frame.window(left, top, right - left, bottom - top), [FACE, FACE]);
    show.bytes(&format!("G1.crop.{number}"), &[FACE, FACE, 3], crop.pixels())?;

    let mut pair = vec![0.0; 2 * FACE_BYTES];
    to_pair(crop.pixels(), &mut pair);
    for (name, image) in ["masked", "full"].into_iter().zip(pair.chunks_exact(FACE_BYTES)) {
        let bytes: Vec<u8> = image.iter().flat_map(|value| value.to_le_bytes()).collect();
        show.bytes(&format!("G7.{name}.{number}"), &[1, 3, FACE, FACE], &bytes)?;
    }

    let images = Tensor::new([2, 3, FACE, FACE], pair);
    let key = format!("G9.latents.{number}");
    let Some(outputs) = show.run(&key, Network::VaeEncoder, &[images])? else { return Ok(None) };
    let [mean, deviation] = &outputs[..] else { return Ok(None) };
    let rule = show.rule(Network::VaeEncoder);
    if number == 0 {
        let shape = [1, LATENT_CHANNELS, LATENT, LATENT];
        for (name, values) in ["masked", "full"].into_iter().zip(deviation.data.chunks_exact(LATENTS / 2)) {
            show.values(&format!("G8.std.{name}.0"), rule, &Tensor::new(shape, values.to_vec()))?;
        }
    }
    let latents = Tensor::new([1, 2 * LATENT_CHANNELS, LATENT, LATENT], mean.data.clone());
    show.values(&key, rule.at("G9"), &latents)?;
    Ok(Some(latents.data))
}

/// The mask of a source frame: by the network's labels as far as they go, and by the given ones.
pub(super) fn mask<N: Networks>(
    show: &mut Show<'_, '_, N>,
    number: usize,
    frame: View<'_, 3>,
    bounds: [i32; 4],
) -> Result<(), ParityError> {
    let square = mask::square(bounds).map_err(|error| show.golden.unusable(error.to_string()))?;
    show.whole(&format!("G5.square.{number}"), &square, 0.0)?;
    let seen = parsing::picture(frame, square);
    show.bytes(&format!("G3.parsing_input.{number}"), &[parsing::SIDE, parsing::SIDE, 3], seen.pixels())?;
    parsed(show, number, frame, square)?;

    // What is drawn over by the reference's own labels.
    let drawn = drawn(show, number)?;
    alpha(show, &format!("G5.alpha.{number}"), drawn.view(), bounds)?;

    let labels = Picture::from_pixels(scene::labels(), parsing::SIDE, parsing::SIDE);
    for (name, mode) in [("raw", MaskMode::Raw), ("neck", MaskMode::Neck), ("jaw", MaskMode::Jaw)] {
        let drawn = region(labels.view(), mode, Settings::default().cheeks);
        if number == 0 {
            show.bytes(&format!("G4.given.{name}"), &[parsing::SIDE, parsing::SIDE], drawn.pixels())?;
        }
        alpha(show, &format!("G5.given.{name}.{number}"), drawn.view(), bounds)?;
    }
    Ok(())
}

/// The mask by the given labels, in the mode that frames are drawn in.
pub(super) fn given<N: Networks>(show: &Show<'_, '_, N>, bounds: [i32; 4]) -> Result<Mask, ParityError> {
    let labels = Picture::from_pixels(scene::labels(), parsing::SIDE, parsing::SIDE);
    let drawn = region(labels.view(), MaskMode::Jaw, Settings::default().cheeks);
    Mask::new(drawn.view(), bounds, FEATHER).map_err(|error| show.golden.unusable(error.to_string()))
}

fn parsed<N: Networks>(
    show: &mut Show<'_, '_, N>,
    number: usize,
    frame: View<'_, 3>,
    square: [i32; 4],
) -> Result<(), ParityError> {
    let mut input = vec![0.0; parsing::INPUT];
    parsing::input(frame, square, &mut input);
    let input = Tensor::new([1, 3, parsing::SIDE, parsing::SIDE], input);
    let key = format!("G26.labels.{number}");
    let Some(outputs) = show.run(&key, Network::FaceParsing, &[input])? else { return Ok(()) };
    let rule = show.rule(Network::FaceParsing);
    if number == 0 {
        show.values("G26.logits.0", rule, &outputs[0])?;
    }
    let labels = parsing::labels(&outputs[0].data);
    let side = [parsing::SIDE; 2];
    let (shape, golden) = show.golden.bytes(&format!("{key}.sample"))?;
    let (_, sample) = strided(&side, labels.pixels(), &side.map(|side| side.div_ceil(shape[0].max(1))));
    show.point(&key, &shape, unequal(&sample, &golden), Unit::Unequal, rule.indices)?;

    // A pixel of another label may change some around it.
    let ours = region(labels.view(), MaskMode::Jaw, Settings::default().cheeks);
    let golden = drawn(show, number)?;
    let worst = unequal(ours.pixels(), golden.pixels());
    show.point(&format!("G4.mask512.{number}"), &side, worst, Unit::Unequal, 10.0 * rule.indices)
}

/// What is drawn over by the reference's own labels: u8 `[512, 512]`, 0 or 255.
fn drawn<N: Networks>(show: &Show<'_, '_, N>, number: usize) -> Result<Picture<1>, ParityError> {
    let name = format!("G4.mask512.{number}.bits");
    let (shape, bits) = show.golden.bytes(&name)?;
    if shape != [parsing::SIDE, parsing::SIDE / 8] {
        return Err(show.golden.unusable(format!("{name} is {shape:?}")));
    }
    let pixel = |byte: u8, bit: u32| if byte << bit & 0x80 != 0 { 255 } else { 0 };
    let pixels = bits.iter().flat_map(|&byte| (0..8).map(move |bit| pixel(byte, bit))).collect();
    Ok(Picture::from_pixels(pixels, parsing::SIDE, parsing::SIDE))
}

fn alpha<N: Networks>(
    show: &mut Show<'_, '_, N>,
    key: &str,
    drawn: View<'_, 1>,
    bounds: [i32; 4],
) -> Result<(), ParityError> {
    let mask = Mask::new(drawn, bounds, FEATHER).map_err(|error| show.golden.unusable(error.to_string()))?;
    show.bytes(key, &[mask.side(), mask.side()], &mask.alpha)
}

/// A box as columns and rows of `frame`, when all of it lies there.
fn inside(frame: View<'_, 3>, bounds: [i32; 4]) -> Option<[usize; 4]> {
    let [left, top, right, bottom] = bounds.map(|side| usize::try_from(side).ok());
    let sides = [left?, top?, right?, bottom?];
    let [left, top, right, bottom] = sides;
    (left < right && top < bottom && right <= frame.width() && bottom <= frame.height()).then_some(sides)
}
