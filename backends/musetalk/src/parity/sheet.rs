//! The sheet that a run writes: a line per check-point, and which one is nearest to its tolerance or furthest
//! beyond.

use std::fmt::Display;
use std::io::{self, Write};

use super::Worst;

/// What a difference is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// The largest difference over the golden's standard deviation.
    Deviation,
    /// The largest difference.
    Absolute,
    /// The root of the mean square of the differences over the golden's standard deviation.
    MeanSquare,
    /// The share of pixels of which a channel is off by more than one level.
    OverOneLevel,
    /// The mean difference in levels.
    MeanLevel,
    /// The share of values that are not equal.
    Unequal,
    /// 0 where all bytes are equal, 1 where they are not.
    Bytes,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Deviation => "of std",
            Self::Absolute => "absolute",
            Self::MeanSquare => "of std, rms",
            Self::OverOneLevel => "over 1 level",
            Self::MeanLevel => "levels, mean",
            Self::Unequal => "unequal",
            Self::Bytes => "other bytes",
        }
    }
}

/// One check-point.
pub(super) struct Point<'a> {
    /// Its id in the specification's list, or a dash.
    pub(super) id: &'a str,
    /// What is compared.
    pub(super) name: &'a str,
    /// Its shape.
    pub(super) shape: &'a [usize],
    /// What was measured; NaN where something was not finite.
    pub(super) worst: f64,
    /// In which unit.
    pub(super) unit: Unit,
    /// What passes.
    pub(super) tolerance: f64,
}

/// Writes lines and remembers the worst.
pub(super) struct Sheet<'a> {
    out: &'a mut dyn Write,
    worst: Worst,
}

impl<'a> Sheet<'a> {
    /// Begins with the line above the columns.
    pub(super) fn new(out: &'a mut dyn Write) -> io::Result<Self> {
        writeln!(
            out,
            "{:<4} {:<44} {:<20} {:>9}  {:>9}  {:<12} ",
            "id", "check-point", "shape", "worst", "tolerance", "unit"
        )?;
        Ok(Self { out, worst: Worst { point: String::new(), of_tolerance: 0.0, points: 0, failed: 0 } })
    }

    /// Adds a check-point.
    pub(super) fn point(&mut self, point: &Point<'_>) -> io::Result<()> {
        let Point { id, name, shape, worst, unit, tolerance } = point;
        // NaN is never within.
        let within = worst <= tolerance;
        let share = match () {
            () if !within && !(worst / tolerance).is_finite() => f64::INFINITY,
            () if *worst == 0.0 => 0.0,
            () => worst / tolerance,
        };
        self.count(name, share, within);
        let shape = format!("{shape:?}").replace(' ', "");
        let verdict = if within { "ok" } else { "FAILED" };
        writeln!(
            self.out,
            "{id:<4} {name:<44} {shape:<20} {worst:>9.1e}  {tolerance:>9.1e}  {:<12} {verdict}",
            unit.name()
        )
    }

    /// Adds a check-point that nothing could be measured at.
    pub(super) fn broken(&mut self, id: &str, name: &str, why: impl Display) -> io::Result<()> {
        self.count(name, f64::INFINITY, false);
        writeln!(self.out, "{id:<4} {name:<44} FAILED: {why}")
    }

    /// Adds a line that is no check-point.
    pub(super) fn note(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "-    {text}")
    }

    /// Ends with the worst of all.
    pub(super) fn finish(self) -> io::Result<Worst> {
        let Worst { point, of_tolerance, points, failed } = &self.worst;
        match (points, failed) {
            (0, _) => writeln!(self.out, "nothing was compared: FAILED")?,
            (_, 0) => writeln!(
                self.out,
                "worst: {of_tolerance:.3} of its tolerance, {point}; {points} check-points, all ok"
            )?,
            _ => writeln!(
                self.out,
                "worst: {of_tolerance:.3} of its tolerance, {point}; {failed} of {points} check-points FAILED"
            )?,
        }
        Ok(self.worst)
    }

    fn count(&mut self, name: &str, of_tolerance: f64, within: bool) {
        let first = self.worst.points == 0;
        self.worst.points += 1;
        self.worst.failed += usize::from(!within);
        if first || of_tolerance > self.worst.of_tolerance {
            self.worst.point = name.to_owned();
            self.worst.of_tolerance = of_tolerance;
        }
    }
}
