//! What the figures were measured on.

use std::fs;

use integration_tests::program::say;

/// Says which processor this is, how many of them there are, and how busy they are with other things.
pub fn describe() {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':')).map(|(_, name)| name.trim());
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    say(&format!(
        "Machine: {}, {processors} processors; load average {} before this began.",
        model.unwrap_or("unknown processor"),
        load.split(' ').next().unwrap_or("unknown")
    ));
}
