//! Where the face is: G21 to G25, and G27.

use super::super::compare::largest;
use super::super::sheet::Unit;
use super::super::{ParityError, Precision};
use super::Show;
use super::scene::HEIGHT;
use crate::face::boxes::{FaceBox, Points, choose, truncated};
use crate::face::{detector, pose};
use crate::image::View;
use crate::networks::{Network, Networks, Tensor};
use crate::settings::Settings;

/// The colours that the landmark network's input is normalised by, in 255ths: ImageNet's.
const MEAN: [f32; 3] = [123.675, 116.28, 103.53];
const DEVIATION: [f32; 3] = [58.395, 57.12, 57.375];

pub(super) fn compare<N: Networks>(
    show: &mut Show<'_, '_, N>,
    frame: View<'_, 3>,
) -> Result<(), ParityError> {
    landmarks(show, frame)?;
    detected(show, frame)?;
    boxes(show)
}

fn landmarks<N: Networks>(show: &mut Show<'_, '_, N>, frame: View<'_, 3>) -> Result<(), ParityError> {
    let mut input = vec![0.0; pose::INPUT];
    pose::input(frame, &mut input);
    let plane = pose::WIDTH * pose::HEIGHT;
    let level = |at: usize| {
        let (pixel, channel) = (at / 3, at % 3);
        (input[channel * plane + pixel] * DEVIATION[channel] + MEAN[channel]).round() as u8
    };
    let levels: Vec<u8> = (0..3 * plane).map(level).collect();
    show.bytes("G21.input", &[pose::HEIGHT, pose::WIDTH, 3], &levels)?;

    let mut mirrored = vec![0.0; pose::INPUT];
    pose::mirror(&input, &mut mirrored);
    let mut simcc = Vec::new();
    for image in [input, mirrored] {
        let image = Tensor::new([1, 3, pose::HEIGHT, pose::WIDTH], image);
        let Some(outputs) = show.run("G22.simcc", Network::Landmarks, &[image])? else { return Ok(()) };
        simcc.extend(outputs);
    }
    let Ok([mut x, mut y, mirrored_x, mirrored_y]) = <[Tensor; 4]>::try_from(simcc) else { return Ok(()) };
    pose::merge_mirrored(&mut x.data, &mut y.data, &mirrored_x.data, &mirrored_y.data);
    let rule = show.rule(Network::Landmarks);
    show.values("G22.simcc_x", rule, &x)?;
    show.values("G22.simcc_y", rule, &y)?;
    let points = pose::face(&pose::decode(&x.data, &y.data, [frame.width(), frame.height()], false));
    show.whole("G23.landmarks", pose::truncate(&points).as_flattened(), rule.indices)
}

fn detected<N: Networks>(show: &mut Show<'_, '_, N>, frame: View<'_, 3>) -> Result<(), ParityError> {
    let (width, height) = (frame.width(), frame.height());
    let mut input = vec![0.0; 3 * width * height];
    detector::input(frame, &mut input);
    let input = Tensor::new([1, 3, height, width], input);
    let Some(maps) = show.run("G24.maps", Network::FaceDetector, &[input])? else { return Ok(()) };
    for (port, map) in Network::FaceDetector.interface().outputs.iter().zip(&maps) {
        show.values(&format!("G24.{}", port.name), show.rule(Network::FaceDetector), map)?;
    }
    let faces = match detector::faces(&maps) {
        Ok(faces) => faces,
        Err(error) => return show.broken::<()>("G25.faces", error.to_string()).map(drop),
    };
    // Half precision may find one more that is barely sure, or one less.
    if show.precision == Precision::Fp32 {
        let golden = show.golden.floats("G25.faces")?;
        show.point("G25.faces", &golden.shape, furthest(&faces, &golden), Unit::Absolute, 1e-2)?;
    }
    let (shape, golden) = show.golden.whole("G25.box")?;
    let chosen = faces.first().map_or(Vec::new(), |face| face.to_box().to_vec());
    let to_floats = |sides: &[i32]| sides.iter().map(|&side| side as f32).collect::<Vec<_>>();
    let worst = largest(&to_floats(&chosen), &to_floats(&golden));
    let pixels = if show.precision == Precision::Fp32 { 1.0 } else { 2.0 };
    show.point("G25.box", &shape, worst, Unit::Absolute, pixels)
}

/// How far the golden faces, `[n, 5]`, are from the nearest of as many `faces`: in pixels, or in probability.
/// Which of two that are equally sure is the first, rounding decides.
fn furthest(faces: &[detector::Face], golden: &Tensor) -> f64 {
    let golden = golden.data.as_chunks::<5>().0;
    if faces.len() != golden.len() {
        return f64::NAN;
    }
    let between = |face: &detector::Face, golden: &[f32; 5]| {
        let [x1, y1, x2, y2] = face.bounds;
        largest(&[x1, y1, x2, y2, face.score], golden)
    };
    let nearest = |golden| faces.iter().map(|face| between(face, golden)).fold(f64::INFINITY, f64::min);
    golden.iter().map(nearest).fold(0.0, f64::max)
}

/// The boxes of the given landmarks, and of landmarks that make none.
fn boxes<N: Networks>(show: &mut Show<'_, '_, N>) -> Result<(), ParityError> {
    let given = points(show, "in.landmarks")?;
    let found: Vec<i32> = given.iter().flat_map(|points| boxed(points, Some([180, 90, 300, 250]))).collect();
    show.whole("G27.boxes", &found, 0.0)?;
    let cases = points(show, "G27.case_landmarks")?;
    let (_, faces) = show.golden.whole("G27.case_faces")?;
    let faces = faces.as_chunks::<4>().0.iter().map(|face| Some(*face).filter(|face| *face != [0; 4]));
    let found: Vec<i32> = cases.iter().zip(faces).flat_map(|(points, face)| boxed(points, face)).collect();
    show.whole("G27.case_boxes", &found, 0.0)
}

/// The box of a frame's points and of what the detector found, which also tells whether there is a face.
fn boxed(points: &Points, detected: Option<[i32; 4]>) -> [i32; 4] {
    let points = detected.map(|_| truncated(points));
    let detected = detected.map(|sides| FaceBox::from_sides(sides.map(f64::from)));
    let margin = Settings::default().extra_margin;
    choose(points.as_ref(), 0, detected)
        .map_or([0; 4], |chosen| chosen.extended(margin, HEIGHT as u32).rounded())
}

fn points<N: Networks>(show: &Show<'_, '_, N>, name: &str) -> Result<Vec<Points>, ParityError> {
    let (shape, numbers) = show.golden.whole(name)?;
    if shape.get(1..) != Some(&[68, 2]) {
        return Err(show.golden.unusable(format!("{name} is {shape:?}, not 68 points of each frame")));
    }
    let faces = numbers.chunks_exact(2 * 68);
    Ok(faces.map(|face| std::array::from_fn(|i| [0, 1].map(|axis| face[2 * i + axis] as f32))).collect())
}
