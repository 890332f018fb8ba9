//! A look at a file's ELF headers, before the dynamic linker maps and runs any of it.
//!
//! A library that was cut short must be found here: the linker maps it without complaint, and the first
//! touch of a missing page ends the process with SIGBUS.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::Refusal;

const ET_DYN: u16 = 3;
const PT_LOAD: u32 = 1;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// Refuses what is no whole 64-bit little-endian shared object for this machine, by its headers alone: nothing of it is
/// run.
///
/// # Errors
/// What it is instead.
pub fn check(path: &Path) -> Result<(), Refusal> {
    let file = File::open(path).map_err(Refusal::Unreadable)?;
    let length = file.metadata().map_err(Refusal::Unreadable)?.len();
    let mut identity = [0; 20];
    read(&file, &mut identity, 0)?;
    if identity[..4] != *b"\x7fELF" {
        return Err(Refusal::NotALibrary("it has no ELF header".into()));
    }
    let machine = u16_at(&identity, 18);
    let (class, order) = (identity[4], identity[5]);
    if class != 2 || order != 1 || machine != HERE.0 {
        let found = match (class, order) {
            (1, _) => "a 32-bit machine".into(),
            (_, 2) => "a big-endian machine".into(),
            _ => name(machine),
        };
        return Err(Refusal::Architecture { found, expected: HERE.1.into() });
    }
    if u16_at(&identity, 16) != ET_DYN {
        return Err(Refusal::NotALibrary("it is an ELF file of another type".into()));
    }
    segments_are_whole(&file, length)
}

fn segments_are_whole(file: &File, length: u64) -> Result<(), Refusal> {
    let mut header = [0; HEADER];
    read(file, &mut header, 0)?;
    let (table, size, count) = (u64_at(&header, 32), u16_at(&header, 54), u16_at(&header, 56));
    if usize::from(size) != PROGRAM_HEADER {
        return Err(Refusal::NotALibrary("its program headers are malformed".into()));
    }
    for index in 0..u64::from(count) {
        let mut entry = [0; PROGRAM_HEADER];
        read(file, &mut entry, table.saturating_add(index * PROGRAM_HEADER as u64))?;
        let end = u64_at(&entry, 8).saturating_add(u64_at(&entry, 32));
        if u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]) == PT_LOAD && end > length {
            return Err(Refusal::NotALibrary(format!("it is cut short: {length} bytes of at least {end}")));
        }
    }
    Ok(())
}

fn read(file: &File, bytes: &mut [u8], offset: u64) -> Result<(), Refusal> {
    file.read_exact_at(bytes, offset).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Refusal::NotALibrary("it is too short".into()),
        _ => Refusal::Unreadable(error),
    })
}

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[offset + i]))
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
