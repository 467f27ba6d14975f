//! Figures of the process and of its runtime, from Linux' `/proc` and from tokio.

use std::fs;
use std::str::FromStr;

use tokio::runtime::Handle;

use super::Series;

/// Nanoseconds of a tick of CPU time: the kernel shows a hundredth of a second on all that this program is built for.
const TICK: u64 = 10_000_000;

impl Series {
    /// Takes the figures of this moment. Where there is no `/proc`, they stay 0.
    pub(super) fn look_at_process(&self) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let figure = |name| field::<f64>(&status, name).unwrap_or_default();
        // In KiB.
        self.process_resident.set([], figure("VmRSS:") * 1024.0);
        self.process_virtual.set([], figure("VmSize:") * 1024.0);
        self.process_threads.set([], figure("Threads:"));
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        self.process_cpu.reach([], ticks(&stat) * TICK);
        let (open, most) = open_files().unwrap_or_default();
        self.process_fds.set([], number(open));
        self.process_max_fds.set([], number(most));
        if let Ok(runtime) = Handle::try_current() {
            let runtime = runtime.metrics();
            self.workers.set([], number(runtime.num_workers()));
            self.tasks.set([], number(runtime.num_alive_tasks()));
            self.task_queue
                .set([], number(runtime.global_queue_depth()));
        }
    }
}

/// Returns the numbers of file descriptors that are open and that may be open (0 without a limit), where the system says so.
pub fn open_files() -> Option<(usize, usize)> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let most = field(&limits, "Max open files").unwrap_or_default();
    // Reading the folder opens one more.
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    Some((open.saturating_sub(1), most))
}

/// Returns the first number after `name` at the beginning of a line.
fn field<T: FromStr>(text: &str, name: &str) -> Option<T> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Returns the ticks of CPU time in user and kernel mode: the 14th and 15th field. The second one may hold anything, in
/// parentheses.
fn ticks(stat: &str) -> u64 {
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let times = rest.split_whitespace().skip(11).take(2);
    times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus computes with floats"
)]
const fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_whatever_the_process_is_called() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 4 0 900";
        assert_eq!(ticks(stat), 42);
        assert_eq!(ticks(""), 0);
        assert_eq!(
            field("VmSize:\t  10 kB\nVmRSS:\t  2048 kB\n", "VmRSS:"),
            Some(2048.0)
        );
        let limits =
            "Limit   Soft\nMax open files            1024                 4096     files\n";
        assert_eq!(field(limits, "Max open files"), Some(1024));
    }
}
