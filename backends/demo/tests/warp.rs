//! What a pose does to the pixels of a face, and what it leaves alone.

mod common;

use common::{Face, HEIGHT, WIDTH};
use lipcast_demo::warp::{MouthGeometry, Palette, Patch, Pose, Renderer, find_lip_edges};

/// One face, ready to be posed.
struct Stage {
    source: Vec<u8>,
    mouth: MouthGeometry,
    palette: Palette,
    renderer: Renderer,
    rest_gap: f32,
}

impl Stage {
    fn new(gap: f32) -> Self {
        let face = Face { gap, shift: 0.0 };
        let source = face.rgb();
        let mut mouth = MouthGeometry::from_landmarks(&face.landmarks()).unwrap();
        let colours = find_lip_edges(Patch::new(&source, WIDTH, HEIGHT).unwrap(), &mut mouth);
        Self {
            source,
            mouth,
            palette: Palette::from_colours(&colours),
            renderer: Renderer::default(),
            rest_gap: 0.0,
        }
    }

    fn pose(&mut self, pose: Pose) -> Vec<u8> {
        let mut out = vec![0; self.source.len()];
        let source = Patch::new(&self.source, WIDTH, HEIGHT).unwrap();
        self.renderer.render(source, &self.mouth, &self.palette, self.rest_gap, &pose, &mut out);
        out
    }
}

fn speaking(opening: f32, width: f32, teeth: f32, closed: f32) -> Pose {
    Pose { opening, width, teeth, closed, presence: 1.0 }
}

fn colours(rgb: &[u8]) -> impl Iterator<Item = (usize, usize, [f32; 3])> {
    rgb.chunks_exact(3).enumerate().map(|(i, p)| (i % WIDTH, i / WIDTH, [p[0], p[1], p[2]].map(f32::from)))
}

fn red([r, g, b]: [f32; 3]) -> f32 {
    (r - 0.5 * (g + b)) / (r + g + b + 1.0)
}

/// Pixels around the mouth that are neither lip nor skin: the inside.
fn inside(rgb: &[u8]) -> usize {
    colours(rgb)
        .filter(|(x, y, _)| (95..161).contains(x) && (180..240).contains(y))
        .filter(|(_, _, c)| c.iter().sum::<f32>() < 240.0 || red(*c) < 0.06)
        .count()
}

/// Columns from the leftmost to the rightmost pixel of lips.
fn lip_width(rgb: &[u8]) -> usize {
    let lips: Vec<usize> =
        colours(rgb).filter(|(_, y, c)| *y > 185 && red(*c) > 0.18).map(|(x, ..)| x).collect();
    lips.iter().max().unwrap() - lips.iter().min().unwrap()
}

#[test]
fn without_presence_the_source_comes_out_bit_for_bit() {
    let mut stage = Stage::new(6.0);
    let pose = Pose { presence: 0.0, ..speaking(0.8, 0.5, 1.0, 0.2) };
    assert_eq!(stage.pose(pose), stage.source);
}

#[test]
fn a_mouth_at_rest_stays_what_it_is_while_speech_pauses() {
    let mut stage = Stage::new(3.0);
    stage.rest_gap = stage.mouth.gap();
    assert_eq!(stage.pose(speaking(0.0, 0.0, 0.3, 0.0)), stage.source);
    assert_ne!(stage.pose(speaking(0.0, 0.0, 0.3, 1.0)), stage.source);
}

#[test]
fn the_border_and_the_upper_face_never_change() {
    let mut stage = Stage::new(0.0);
    for pose in [speaking(1.0, 0.0, 1.0, 0.0), speaking(0.4, 1.0, 0.0, 0.0), speaking(0.3, -1.0, 0.0, 1.0)] {
        let out = stage.pose(pose);
        for ((x, y, new), (_, _, old)) in colours(&out).zip(colours(&stage.source)) {
            if x == 0 || y == 0 || x == WIDTH - 1 || y == HEIGHT - 1 || y < 172 {
                assert_eq!(new, old, "pixel {x}, {y} of {pose:?}");
            }
        }
    }
}

#[test]
fn the_mouth_opens_further_the_further_it_is_asked_to() {
    let mut stage = Stage::new(0.0);
    let areas: Vec<usize> =
        (0..=10).map(|i| inside(&stage.pose(speaking(0.1 * i as f32, 0.0, 0.3, 0.0)))).collect();
    assert!(areas.is_sorted(), "{areas:?}");
    // An ellipse as wide as the mouth and a third as high is 760 pixels.
    assert!((350..900).contains(&areas[10]), "{areas:?}");
}

#[test]
fn closed_lips_leave_nothing_but_a_line_even_of_an_open_mouth() {
    for gap in [0.0, 5.0, 10.0] {
        let mut stage = Stage::new(gap);
        let open = inside(&stage.pose(speaking(1.0, 0.0, 0.3, 0.0)));
        let closed = inside(&stage.pose(speaking(0.0, 0.0, 0.3, 1.0)));
        // A line of two pixels from corner to corner.
        assert!(closed <= 112, "{closed} of {open} at a gap of {gap}");
        assert!(open > 6 * closed, "{closed} of {open} at a gap of {gap}");
    }
}

#[test]
fn spread_lips_are_wider_than_rounded_ones_but_not_by_too_much() {
    let mut stage = Stage::new(0.0);
    let rest = lip_width(&stage.source) as f32;
    let [round, spread] =
        [-1.0, 1.0].map(|width| lip_width(&stage.pose(speaking(0.2, width, 0.0, 0.0))) as f32);
    assert!(round < 0.94 * rest && round > 0.84 * rest, "{round} of {rest}");
    assert!(spread > 1.03 * rest && spread < 1.13 * rest, "{spread} of {rest}");
}

#[test]
fn teeth_show_when_asked_for() {
    let mut stage = Stage::new(0.0);
    let bright = |rgb: &[u8]| {
        colours(rgb)
            .filter(|(x, y, c)| {
                (100..156).contains(x) && (190..230).contains(y) && red(*c) < 0.06 && c[1] > 110.0
            })
            .count()
    };
    let [without, with] = [0.0, 1.0].map(|teeth| bright(&stage.pose(speaking(0.4, 0.3, teeth, 0.0))));
    assert!(with > without + 40, "{without} and {with}");
}

#[test]
fn small_and_turned_faces_are_left_alone() {
    let points = Face { gap: 0.0, shift: 0.0 }.landmarks();
    let small = points.map(|p| p.map(|c| 0.3 * c));
    assert_eq!(MouthGeometry::from_landmarks(&small).unwrap().strength, 0.0);
    let mut turned = points;
    turned[27..36].iter_mut().for_each(|p| p[0] -= 85.0);
    assert_eq!(MouthGeometry::from_landmarks(&turned).unwrap().strength, 0.0);
    assert_eq!(MouthGeometry::from_landmarks(&points).unwrap().strength, 1.0);
}

#[test]
fn points_that_are_no_face_are_none() {
    let points = Face { gap: 0.0, shift: 0.0 }.landmarks();
    let mut broken = points;
    broken[30][1] = f32::NAN;
    assert!(MouthGeometry::from_landmarks(&broken).is_none());
    assert!(MouthGeometry::from_landmarks(&[[0.0; 2]; 68]).is_none());
    assert!(MouthGeometry::from_landmarks(&[[1e30; 2]; 68]).is_none());
    assert!(MouthGeometry::from_landmarks(&points.map(|[x, y]| [x, -y])).is_none());
}

#[test]
fn numbers_that_are_none_count_as_rest() {
    let mut stage = Stage::new(0.0);
    let wild = speaking(f32::NAN, f32::INFINITY, 7.0, -3.0);
    let tame = speaking(0.0, 0.0, 1.0, 0.0);
    assert_eq!(stage.pose(wild), stage.pose(tame));
}
