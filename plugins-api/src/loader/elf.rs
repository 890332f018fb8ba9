//! A look at a file's ELF header, before the dynamic linker runs any of it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::error::Refusal;

const ET_DYN: u16 = 3;

/// Refuses what is no 64-bit little-endian shared object for this machine.
pub(super) fn check(path: &Path) -> Result<(), Refusal> {
    let mut header = [0; 20];
    let mut file = File::open(path).map_err(Refusal::Unreadable)?;
    file.read_exact(&mut header).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Refusal::NotALibrary("it is too short".into()),
        _ => Refusal::Unreadable(error),
    })?;
    if header[..4] != *b"\x7fELF" {
        return Err(Refusal::NotALibrary("it has no ELF header".into()));
    }
    let machine = u16::from_le_bytes([header[18], header[19]]);
    let (class, order) = (header[4], header[5]);
    if class != 2 || order != 1 || machine != HERE.0 {
        let found = match (class, order) {
            (1, _) => "a 32-bit machine".into(),
            (_, 2) => "a big-endian machine".into(),
            _ => name(machine),
        };
        return Err(Refusal::Architecture { found, expected: HERE.1.into() });
    }
    if u16::from_le_bytes([header[16], header[17]]) != ET_DYN {
        return Err(Refusal::NotALibrary("it is an ELF file of another type".into()));
    }
    Ok(())
}

#[cfg(target_arch = "x86_64")]
const HERE: (u16, &str) = (62, "x86-64");
#[cfg(target_arch = "aarch64")]
const HERE: (u16, &str) = (183, "aarch64");
#[cfg(target_arch = "riscv64")]
const HERE: (u16, &str) = (243, "riscv64");

fn name(machine: u16) -> String {
    match machine {
        21 => "ppc64".into(),
        22 => "s390x".into(),
        62 => "x86-64".into(),
        183 => "aarch64".into(),
        243 => "riscv64".into(),
        258 => "loongarch64".into(),
        other => format!("ELF machine {other}"),
    }
}
