//! Reads from `/proc` what a process and its children have cost.

use std::fs;

/// Clock ticks a second, as Linux tells them to programs on every platform that we know.
const TICKS: f64 = 100.0;

/// CPU seconds (user and system) of `pid` and all below it.
pub fn cpu_seconds(pid: u32) -> f64 {
    let ticks = |pid: &u32| -> Option<f64> {
        let fields = stat(*pid)?;
        let field = |nth: usize| fields.get(nth)?.parse::<f64>().ok();
        Some(field(11)? + field(12)?)
    };
    family(pid).iter().filter_map(ticks).sum::<f64>() / TICKS
}

/// Resident memory of `pid` and all below it, in MiB. Pages that they share are counted for each.
pub fn resident_mib(pid: u32) -> f64 {
    family(pid)
        .iter()
        .filter_map(|pid| status(*pid, "VmRSS:"))
        .sum::<f64>()
        / 1024.0
}

/// The most that `pid` alone ever held, in MiB.
pub fn peak_mib(pid: u32) -> f64 {
    status(pid, "VmHWM:").unwrap_or_default() / 1024.0
}

/// What kind of machine this is, in one line.
pub fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor".to_owned(), |(_, model)| {
            model.trim().to_owned()
        });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{model}; {cores} core(s) for the generator; Linux {}; load {load} when it began",
        kernel.trim()
    )
}

fn status(pid: u32, name: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// The fields of `/proc/PID/stat` behind the name: state, parent, …
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

fn family(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, stat(pid)?.get(1)?.parse().ok()?))
        })
        .collect();
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        let children = parents.iter().filter(|(_, of)| *of == parent);
        family.extend(children.map(|(child, _)| *child));
        next += 1;
    }
    family
}
