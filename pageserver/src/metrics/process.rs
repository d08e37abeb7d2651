//! What the operating system says of this process and of the disk.

use std::path::Path;

/// This process.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Processor time, in user mode and in the kernel, in seconds.
    pub cpu_seconds: f64,
    /// Memory that is present.
    pub resident_bytes: u64,
    /// Address space.
    pub virtual_bytes: u64,
    pub threads: u64,
    pub open_fds: u64,
}

/// The file system of the data directory.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    pub size_bytes: u64,
    /// Free for a process that is not root's.
    pub free_bytes: u64,
}

impl Process {
    /// This moment; `None` where there is no `/proc`.
    pub fn read() -> Option<Process> {
        let process = procfs::process::Process::myself().ok()?;
        let stat = process.stat().ok()?;
        Some(Process {
            cpu_seconds: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
            resident_bytes: stat.rss * procfs::page_size(),
            virtual_bytes: stat.vsize,
            threads: u64::try_from(stat.num_threads).unwrap_or_default(),
            open_fds: process.fd_count().ok()? as u64,
        })
    }

    /// How many file descriptors it may have; `None` if there is no limit.
    pub fn max_fds() -> Option<u64> {
        rustix::process::getrlimit(rustix::process::Resource::Nofile).current
    }
}

impl Disk {
    /// This moment; `None` if the file system does not say.
    pub fn of(dir: &Path) -> Option<Disk> {
        let stat = rustix::fs::statvfs(dir).ok()?;
        Some(Disk { size_bytes: stat.f_blocks * stat.f_frsize, free_bytes: stat.f_bavail * stat.f_frsize })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_has_something_to_say() {
        let process = Process::read().expect("/proc");
        assert!(process.resident_bytes > 0 && process.resident_bytes <= process.virtual_bytes, "{process:?}");
        assert!(process.threads >= 1 && process.open_fds >= 3, "{process:?}");
        assert!(Process::max_fds().is_none_or(|most| process.open_fds <= most));
        let disk = Disk::of(Path::new("/")).expect("a file system");
        assert!(disk.free_bytes <= disk.size_bytes && disk.size_bytes > 0, "{disk:?}");
        assert!(Disk::of(Path::new("/no/such/directory")).is_none());
    }
}
