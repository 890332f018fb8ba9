//! Bundles from outside: made up, opened, refused, reported on, and compared with their goldens.

mod made_up;

mod open;

mod parity;

mod reference;

mod toy;
