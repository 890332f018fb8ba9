//! What a process holds, as `/proc` tells.

use std::fs;

/// Threads, open files and memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Footprint {
    /// Threads.
    pub threads: usize,
    /// Open file descriptors.
    pub files: usize,
    /// Resident memory, bytes.
    pub memory: u64,
}

impl Footprint {
    /// Of process `id`; `None` when it is gone or may not be looked at.
    pub fn of(id: u32) -> Option<Self> {
        Self::read(&id.to_string())
    }

    /// Of this process.
    pub fn own() -> Option<Self> {
        Self::read("self")
    }

    fn read(who: &str) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{who}/status")).ok()?;
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Some(Self {
            threads: number("Threads:")? as usize,
            files: fs::read_dir(format!("/proc/{who}/fd")).ok()?.count(),
            memory: number("VmRSS:")? * 1024,
        })
    }
}

/// Bytes as people read them.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_file_is_counted() {
        let before = Footprint::own().unwrap();
        assert!(before.threads >= 1 && before.memory > 100_000);
        let open: Vec<_> = (0..40).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        assert!(Footprint::own().unwrap().files >= before.files.saturating_sub(30) + open.len());
        assert_eq!(Footprint::of(u32::MAX), None);
    }
}
