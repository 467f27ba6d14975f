//! How much memory a process takes.

use std::fs;

/// Resident memory of a process, in bytes.
pub fn resident(pid: u32) -> u64 {
    of(pid, "VmRSS:")
}

/// The most memory that a process has held so far, in bytes.
pub fn peak(pid: u32) -> u64 {
    of(pid, "VmHWM:")
}

fn of(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kibibytes = line.split_whitespace().nth(1).unwrap();
    kibibytes.parse::<u64>().unwrap() * 1024
}
