//! Writes what was measured as tables, and holds it against the goals.

use std::fmt::Write;

use crate::figures::{Figures, short};
use crate::subject::Kind;

pub const CPU: &str = "CPU µs per mint";
pub const THROUGHPUT: &str = "requests/s on one core";
pub const P50: &str = "p50 µs at 1,000/s";
pub const P99: &str = "p99 µs at 1,000/s";
pub const CPU_AT_RATE: &str = "CPU µs per mint at 1,000/s";
pub const IDLE: &str = "RSS MiB idle";
pub const LOADED: &str = "RSS MiB loaded";
pub const START: &str = "start ms";
pub const FAILED: &str = "failed";
pub const CPU_REFUSED: &str = "CPU µs per refusal (429)";
pub const CPU_BLOCKED: &str = "CPU µs per refusal (blocked)";
pub const LOADED_10K: &str = "RSS MiB under load with 10,000 live sessions";
pub const CALLERS_BEFORE: &str = "RSS MiB before the strangers";
pub const CALLERS_V4: &str = "RSS MiB growth after the IPv4 strangers";
pub const CALLERS_V6: &str = "RSS MiB growth after the IPv6 /64 strangers too";
pub const CPU_FEW: &str = "CPU µs per mint, 1,000 callers";
pub const CPU_MANY: &str = "CPU µs per mint, after all strangers";

/// The subject that is no subject.
pub const DIRECT: &str = "(upstream directly)";

const BROKER: &str = Kind::Broker.name();
const BASELINE: &str = Kind::Baseline.name();
const NGINX: &str = Kind::Nginx.name();
const FORWARDER: &str = Kind::Forwarder.name();
const EXPRESS: &str = Kind::Express.name();

/// All of it, in Markdown.
pub fn write(figures: &Figures) -> String {
    let mut text = String::new();
    // Writing to memory does not fail.
    let _ = subjects(&mut text, figures);
    let _ = alone(&mut text, figures);
    let _ = compared(&mut text, figures);
    let _ = goals(&mut text, figures);
    text
}

fn subjects(text: &mut String, figures: &Figures) -> std::fmt::Result {
    let columns = [
        CPU,
        THROUGHPUT,
        P50,
        P99,
        CPU_AT_RATE,
        IDLE,
        LOADED,
        START,
        FAILED,
    ];
    writeln!(
        text,
        "| subject | {} |\n|{}",
        columns.join(" | "),
        " --- |".repeat(columns.len() + 1)
    )?;
    let names = std::iter::once(DIRECT).chain(Kind::ALL.map(Kind::name));
    for name in names.filter(|name| !figures.median(name, P50).is_nan()) {
        let cells = columns.map(|column| figures.shown(name, column));
        writeln!(text, "| {name} | {} |", cells.join(" | "))?;
    }
    writeln!(text)
}

fn alone(text: &mut String, figures: &Figures) -> std::fmt::Result {
    writeln!(text, "| the broker alone | |\n| --- | --- |")?;
    let rows = [
        CPU_REFUSED,
        CPU_BLOCKED,
        LOADED_10K,
        CALLERS_BEFORE,
        CALLERS_V4,
        CALLERS_V6,
        CPU_FEW,
        CPU_MANY,
    ];
    for row in rows {
        writeln!(text, "| {row} | {} |", figures.shown(BROKER, row))?;
    }
    writeln!(text)
}

/// The broker and the baseline of the same round. Nothing when there is no baseline.
fn compared(text: &mut String, figures: &Figures) -> std::fmt::Result {
    if figures.median(BASELINE, CPU).is_nan() {
        return Ok(());
    }
    writeln!(
        text,
        "| before and after | baseline | broker | ratio, median of rounds |\n| --- | --- | --- | --- |"
    )?;
    for figure in [
        CPU,
        CPU_AT_RATE,
        CPU_REFUSED,
        CPU_BLOCKED,
        THROUGHPUT,
        P50,
        P99,
        IDLE,
        LOADED,
        LOADED_10K,
        START,
    ] {
        let ratio = figures.by_round((BROKER, figure), (BASELINE, figure), |new, old| new / old);
        writeln!(
            text,
            "| {figure} | {} | {} | {} |",
            figures.shown(BASELINE, figure),
            figures.shown(BROKER, figure),
            short(ratio)
        )?;
    }
    writeln!(text)
}

/// What was aimed at, what was measured, and the most that meets the goal.
fn ceilings(figures: &Figures) -> [(&'static str, f64, f64); 10] {
    let quotient = |one, other| figures.by_round(one, other, |one, other| one / other);
    let excess = |figure| {
        figures.by_round((BROKER, figure), (NGINX, figure), |one, other| {
            (one - other) / 1000.0
        })
    };
    let median = |figure| figures.median(BROKER, figure);
    [
        (
            "CPU per guarded mint ÷ nginx",
            quotient((BROKER, CPU), (NGINX, CPU)),
            3.0,
        ),
        (
            "CPU per guarded mint ÷ forwarder",
            quotient((BROKER, CPU), (FORWARDER, CPU)),
            1.6,
        ),
        (
            "CPU per refusal ÷ nginx's mint",
            quotient((BROKER, CPU_REFUSED), (NGINX, CPU)),
            1.0,
        ),
        ("added latency over nginx, p50, ms", excess(P50), 0.1),
        ("added latency over nginx, p99, ms", excess(P99), 1.0),
        ("idle RSS, MiB", median(IDLE), 12.0),
        (
            "RSS under load with 10,000 live sessions, MiB",
            median(LOADED_10K),
            24.0,
        ),
        ("start to first answer, ms", median(START), 50.0),
        (
            "growth by the IPv4 strangers, MiB",
            median(CALLERS_V4),
            64.0,
        ),
        (
            "cost per mint among all strangers ÷ among 1,000",
            quotient((BROKER, CPU_MANY), (BROKER, CPU_FEW)),
            1.5,
        ),
    ]
}

fn goals(text: &mut String, figures: &Figures) -> std::fmt::Result {
    let at_most = ceilings(figures);
    writeln!(
        text,
        "| goal | at most | measured | |\n| --- | --- | --- | --- |"
    )?;
    for (goal, most, measured) in at_most.map(|(goal, measured, most)| (goal, most, measured)) {
        writeln!(
            text,
            "| {goal} | {most} | {} | {} |",
            short(measured),
            verdict(measured <= most, measured)
        )?;
    }
    let times = figures.by_round((EXPRESS, CPU), (BROKER, CPU), |one, other| one / other);
    writeln!(
        text,
        "| Express ÷ CPU per guarded mint | at least 8 | {} | {} |",
        short(times),
        verdict(times >= 8.0, times)
    )
}

fn verdict(met: bool, measured: f64) -> &'static str {
    match (met, measured.is_nan()) {
        (_, true) => "not measured",
        (true, _) => "PASS",
        (false, _) => "MISS",
    }
}
