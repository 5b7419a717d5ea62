//! This process as the system sees it (proc(5)), under the names that every Prometheus client library has.
//!
//! A figure that cannot be read is absent.

use std::fs;

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

use super::families::{Families, Outcome, bytes, plain, seconds};

/// Figures of this process.
#[derive(Debug)]
pub(super) struct Process {
    cpu: f64,
    resident: Option<u64>,
    open_files: Option<u64>,
    most_files: Option<u64>,
    started: Option<f64>,
}

impl Process {
    pub(super) fn read() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let text = |name: &str| fs::read_to_string(name).unwrap_or_default();
        // The directory that is being read is open too.
        let open_files = fs::read_dir("/proc/self/fd").ok().map(|list| list.count().saturating_sub(1));
        Self {
            cpu: seconds_of(cpu.tv_sec, cpu.tv_nsec),
            resident: resident(&text("/proc/self/status")),
            open_files: open_files.and_then(|count| u64::try_from(count).ok()),
            most_files: most_files(&text("/proc/self/limits")),
            started: started(&text("/proc/self/stat"), &text("/proc/stat"), clock_ticks_per_second()),
        }
    }

    pub(super) fn write(&self, families: &mut Families<'_>) -> Outcome {
        let row = |value: Option<u64>| value.map(|value| ([], value));
        type Nothing = [(&'static str, &'static str); 0];
        let none: Nothing = [];
        families.counter(
            &seconds("process_cpu", "User and system CPU time of the process."),
            [(none, self.cpu)],
        )?;
        families.gauge::<Nothing, _>(
            &bytes("process_resident_memory", "Resident memory of the process."),
            row(self.resident),
        )?;
        families.gauge::<Nothing, _>(
            &plain("process_open_fds", "Open file descriptors of the process."),
            row(self.open_files),
        )?;
        families.gauge::<Nothing, _>(
            &plain("process_max_fds", "The most file descriptors that the process may have open."),
            row(self.most_files),
        )?;
        families.gauge(
            &seconds("process_start_time", "When the process started, since the Unix epoch."),
            self.started.map(|started| (none, started)),
        )
    }
}

fn seconds_of(seconds: i64, nanos: i64) -> f64 {
    let seconds =
        std::time::Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0));
    seconds.as_secs_f64()
}

/// `VmRSS:     1234 kB`
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// `Max open files            1024                 524288               files`; the first counts.
fn most_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Field 22 is when it started, in ticks since boot; the second one is in brackets and may hold anything.
fn started(stat: &str, system: &str, ticks_per_second: u64) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let ticks: u32 = behind_name.split_whitespace().nth(19)?.parse().ok()?;
    let boot: u32 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let per_second = u32::try_from(ticks_per_second).ok().filter(|per_second| *per_second > 0)?;
    Some(f64::from(boot) + f64::from(ticks) / f64::from(per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_off_what_the_system_says() {
        assert_eq!(resident("VmPeak:\t9 kB\nVmRSS:\t   12 kB\n"), Some(12 * 1024));
        assert_eq!(most_files("Max open files            64      128      files\n"), Some(64));
        assert_eq!(most_files("Max open files            unlimited unlimited files\n"), None);
        let stat = "7 (a) b)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 250 20";
        assert_eq!(started(stat, "cpu 1\nbtime 1000\n", 100), Some(1002.5));
        assert_eq!((resident(""), started("", "", 100), started(stat, "btime 1", 0)), (None, None, None));
    }

    #[test]
    fn this_process_has_figures() {
        let process = Process::read();
        assert!(process.resident.unwrap() > 100_000 && process.open_files.unwrap() >= 3, "{process:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - process.started.unwrap()).abs() < 3600.0, "{process:?}");
    }
}
