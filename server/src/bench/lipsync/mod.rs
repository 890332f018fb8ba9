//! Lip-sync measured from output pixels.
//!
//! In: pictures as a viewer would see them, the avatar's own picture of the same index, the landmarks of that own
//! picture, and the speech; for speech made by flite also the times of its phones.
//! Out: [`LipSync`]: correlation and lag of mouth opening against the speech envelope, closures of p, b and m, spread
//! against rounded vowels, movement in silence; each with controls that must fail or move by a known amount.
//!
//! ```text
//! picture + own picture ─► pixels ─► MouthMeasure per frame ─┐
//! speech ─► series::envelope ────────────────────────────────┼─► report ─► LipSync
//! text ─► phones (flite -psdur) ─────────────────────────────┘
//! ```
//!
//! Nothing here knows how a backend moves the mouth: the same measurement serves any of them.

pub mod phones;

pub mod pixels;

pub mod series;

pub mod report;

pub mod record;

pub use phones::{Phone, PhoneError, SpokenText};
pub use pixels::{Canvas, MouthMeasure, measure};
pub use report::{Closures, Controls, Envelope, LipSync, Recording, Silence};
