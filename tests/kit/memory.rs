//! How much memory and processor time a process takes.

use std::fs;
use std::time::Duration;

/// Resident memory of a process, in bytes.
pub fn resident(pid: u32) -> u64 {
    of(pid, "VmRSS:")
}

/// The most memory that a process has held so far, in bytes.
pub fn peak(pid: u32) -> u64 {
    of(pid, "VmHWM:")
}

/// The processor time of a process so far.
pub fn processor(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    // A tick of /proc is a hundredth of a second.
    Duration::from_millis(ticks * 10)
}

/// Gives a process this core, and no other.
pub fn pin(pid: u32, core: usize) {
    let mut command = std::process::Command::new("taskset");
    let pinned = command.args(["-a", "-c", "-p", &core.to_string(), &pid.to_string()]);
    assert!(pinned.output().unwrap().status.success(), "taskset failed");
}

fn of(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kibibytes = line.split_whitespace().nth(1).unwrap();
    kibibytes.parse::<u64>().unwrap() * 1024
}
