use super::*;

const SIZE: usize = 200;

/// A drawn mouth: its half width and how far the lower lip is down, pixels, and whether the upper teeth show.
#[derive(Clone, Copy)]
struct Drawn {
    half: f64,
    open: f64,
    teeth: bool,
    nostrils: bool,
}

const REST: Drawn = Drawn { half: 40.0, open: 0.0, teeth: false, nostrils: true };

impl Drawn {
    fn picture(self) -> Vec<u8> {
        let mut rgb = Vec::with_capacity(SIZE * SIZE * 3);
        for y in 0..SIZE {
            for x in 0..SIZE {
                // Four samples per pixel soften the edges, as a camera does.
                let mut sum = [0.0; 3];
                for (dx, dy) in [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)] {
                    let colour = self.colour(x as f64 + dx - 100.0, y as f64 + dy - 100.0);
                    sum.iter_mut().zip(colour).for_each(|(s, c)| *s += c / 4.0);
                }
                rgb.extend(sum.map(|c| c.round() as u8));
            }
        }
        rgb
    }

    fn colour(self, x: f64, y: f64) -> [f64; 3] {
        let skin = [224.0 + 0.1 * x, 182.0 + 0.1 * x, 160.0];
        if self.nostrils && ((x.abs() - 12.0).powi(2) + (y + 45.0).powi(2)) < 25.0 {
            return [70.0, 40.0, 35.0];
        }
        let across = 1.0 - (x / self.half).powi(2);
        if across <= 0.0 {
            return skin;
        }
        let (upper, lower) = (-10.0 * across, 12.0 * across + self.open * across);
        let gap = self.open * across;
        if y < upper || y > lower {
            skin
        } else if y >= 0.0 && y <= gap {
            if self.teeth && y < 5.0 { [225.0, 220.0, 210.0] } else { [60.0, 25.0, 25.0] }
        } else if self.open == 0.0 && y.abs() < 0.7 {
            // The seam of closed lips.
            [110.0, 55.0, 55.0]
        } else {
            [188.0, 96.0, 98.0]
        }
    }

    /// Pixels of the inner mouth: a parabola's area.
    fn area(self) -> f64 {
        4.0 / 3.0 * self.half * self.open
    }
}

fn landmarks() -> [[f32; 2]; 68] {
    let mut points = [[100.0, 60.0]; 68];
    let lip = |x: f32, side: f32| [100.0 + x, 100.0 + side * (1.0 - (x / 40.0).powi(2))];
    for i in 0..7 {
        points[48 + i] = lip(-40.0 + 80.0 * i as f32 / 6.0, -10.0);
    }
    for i in 0..5 {
        points[55 + i] = lip(40.0 - 80.0 * (i + 1) as f32 / 6.0, 12.0);
    }
    for i in 0..5 {
        points[60 + i] = lip(-34.0 + 17.0 * i as f32, 0.0);
    }
    for i in 0..3 {
        points[65 + i] = lip(17.0 - 17.0 * i as f32, 0.0);
    }
    points
}

fn measured(drawn: Drawn) -> MouthMeasure {
    let (picture, rest) = (drawn.picture(), REST.picture());
    let canvas = |rgb| Canvas { width: SIZE, height: SIZE, rgb };
    measure(canvas(&picture), canvas(&rest), &landmarks()).expect("a mouth")
}

#[test]
fn the_rest_picture_is_closed_at_its_own_width_and_does_not_move() {
    let rest = measured(REST);
    assert!(rest.opening < 0.03, "{rest:?}");
    assert!((rest.width - 1.0).abs() < 0.002 && rest.movement == 0.0, "{rest:?}");
}

#[test]
fn the_opening_is_the_area_of_what_lies_between_the_lips() {
    for teeth in [false, true] {
        for open in [8.0, 14.0, 24.0] {
            let drawn = Drawn { open, teeth, ..REST };
            let (found, real) = (measured(drawn).opening, drawn.area() / 6400.0);
            assert!((found / real - 1.0).abs() < 0.2, "open {open}, teeth {teeth}: {found} for {real}");
        }
    }
}

#[test]
fn the_width_follows_the_corners_with_the_mouth_open_or_not() {
    for half in [36.0, 38.0, 42.0, 44.0] {
        for open in [0.0, 12.0] {
            let width = measured(Drawn { half, open, ..REST }).width;
            assert!((width - half / 40.0).abs() < 0.04, "half {half}, open {open}: {width}");
        }
    }
}

#[test]
fn movement_grows_with_the_change() {
    let at = |open| measured(Drawn { open, ..REST }).movement;
    assert!(at(4.0) > 0.5 && at(16.0) > 1.5 * at(4.0));
}

#[test]
fn no_mouth_in_the_picture_is_no_measure() {
    let rgb = REST.picture();
    let canvas = Canvas { width: SIZE, height: SIZE, rgb: &rgb };
    assert_eq!(measure(canvas, canvas, &[[50.0, 50.0]; 68]), None);
    let far = landmarks().map(|[x, y]| [x + 400.0, y]);
    assert_eq!(measure(canvas, canvas, &far), None);
    let short = Canvas { width: SIZE, height: SIZE, rgb: &rgb[3..] };
    assert_eq!(measure(short, canvas, &landmarks()), None);
    let broken = [[f32::NAN; 2]; 68];
    assert_eq!(measure(canvas, canvas, &broken), None);
}
