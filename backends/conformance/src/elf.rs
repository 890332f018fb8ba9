//! The dynamic symbols of a shared library, read from the file without running anything of it.

use std::collections::BTreeSet;
use std::path::Path;

/// What a library offers to the dynamic linker.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    /// Names of defined global and weak symbols.
    pub(crate) exported: BTreeSet<String>,
    /// Some are `STB_GNU_UNIQUE`: one copy in the whole process, whoever loads it.
    pub(crate) unique: bool,
}

const SHT_DYNSYM: u32 = 11;
const SECTION: usize = 64;
const SYMBOL: usize = 24;
const GLOBAL: u8 = 1;
const WEAK: u8 = 2;
const UNIQUE: u8 = 10;

impl Symbols {
    /// Of the 64-bit little-endian library at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        Self::parse(&bytes)
            .ok_or_else(|| "its section headers are malformed, or it was stripped of them".into())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        if !bytes.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let (table, size, count) = (u64_at(bytes, 40)?, u16_at(bytes, 58)?, u16_at(bytes, 60)?);
        if size != SECTION {
            return None;
        }
        let section = |index: usize| {
            let start = usize::try_from(table).ok()?.checked_add(index.checked_mul(SECTION)?)?;
            bytes.get(start..start.checked_add(SECTION)?)
        };
        let content = |header: &[u8]| {
            let start = usize::try_from(u64_at(header, 24)?).ok()?;
            bytes.get(start..start.checked_add(usize::try_from(u64_at(header, 32)?).ok()?)?)
        };
        let dynamic = (0..count).filter_map(section).find(|header| u32_at(header, 4) == Some(SHT_DYNSYM))?;
        let names = content(section(u32_at(dynamic, 40)? as usize)?)?;
        let mut symbols = Self::default();
        for symbol in content(dynamic)?.chunks_exact(SYMBOL) {
            let (binding, defined) = (symbol[4] >> 4, u16_at(symbol, 6)? != 0);
            if !defined || ![GLOBAL, WEAK, UNIQUE].contains(&binding) {
                continue;
            }
            let name = names.get(u32_at(symbol, 0)? as usize..)?.split(|byte| *byte == 0).next()?;
            // Linkers put these there themselves.
            if [&b"_init"[..], b"_fini", b"_edata", b"_end", b"__bss_start"].contains(&name) {
                continue;
            }
            symbols.unique |= binding == UNIQUE;
            symbols.exported.insert(String::from_utf8_lossy(name).into_owned());
        }
        Some(symbols)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files_are_refused_without_a_panic() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for cut in [0, 4, 40, 63, 64, 1_000, own.len() / 2] {
            assert!(Symbols::parse(&own[..cut]).is_none(), "{cut}");
        }
        let mut head = own[..64].to_vec();
        head[40..48].fill(0xFF);
        assert!(Symbols::parse(&head).is_none());
    }
}
