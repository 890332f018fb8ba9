//! The mask that a generated face is blended with.
