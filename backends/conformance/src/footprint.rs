//! What a process holds, as `/proc` tells.

use std::fs;

/// Threads, open files, memory and further processes of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Footprint {
    /// Threads.
    pub threads: usize,
    /// Open file descriptors.
    pub files: usize,
    /// Resident memory, bytes.
    pub memory: u64,
    /// Other processes in its group, those that ended and were not waited for among them.
    #[serde(default)]
    pub processes: usize,
}

impl Footprint {
    /// Of process `id`; `None` when it is gone or may not be looked at.
    pub fn of(id: u32) -> Option<Self> {
        Some(Self { processes: others_in_group(id), ..Self::read(&id.to_string())? })
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
            processes: 0,
        })
    }

    /// Whether it is no more than `before` was, memory left out.
    pub(crate) fn is_within(&self, before: &Self) -> bool {
        self.threads <= before.threads && self.files <= before.files && self.processes <= before.processes
    }

    /// What there is more of than `before`, memory left out: for people.
    pub(crate) fn more_than(&self, before: &Self) -> String {
        let more = |now: usize, then: usize| now.saturating_sub(then);
        format!(
            "{} more threads, {} more files and {} more processes",
            more(self.threads, before.threads),
            more(self.files, before.files),
            more(self.processes, before.processes)
        )
    }
}

/// Processes beside `id` in the group that it leads: what it started and did not set free.
fn others_in_group(id: u32) -> usize {
    let of_group = |stat: String| {
        // Behind the name, which may hold anything: state, parent, group.
        let group = stat.rsplit(')').next()?.split_whitespace().nth(2)?.parse::<u32>().ok()?;
        (group == id).then_some(())
    };
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let stats = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter_map(of_group).count().saturating_sub(1)
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

    #[test]
    fn a_child_is_counted_in_the_group_of_its_parent() {
        use std::os::unix::process::CommandExt;
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & sleep 60 & wait"])
            .process_group(0)
            .spawn()
            .unwrap();
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while Footprint::of(shell.id()).is_none_or(|seen| seen.processes < 2) {
            assert!(std::time::Instant::now() < limit, "two of them were started");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let group = rustix::process::Pid::from_child(&shell);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        shell.wait().unwrap();
    }
}
