//! Compares the broker with nginx, a bare forwarder and Express, all in front of the same fast fake upstream, in one go.
//!
//! `scripts/bench.sh` builds what is needed, pins this program to a core and tells it where everything is.

mod callers;
mod figures;
mod governed;
mod load;
mod machine;
mod report;
mod subject;
mod upstream;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use figures::Figures;
use load::{Caller, Until};
use report::{
    CALLERS_BEFORE, CALLERS_V4, CALLERS_V6, CPU, CPU_AT_RATE, CPU_BLOCKED, CPU_FEW, CPU_MANY,
    CPU_REFUSED, DIRECT, FAILED, IDLE, LOADED, LOADED_10K, P50, P99, START, THROUGHPUT,
};
use subject::{ADMITTING, BLOCKING, Kind, REFUSING, Running, Workshop};

/// Requests a second of the load at a fixed rate.
const RATE: u64 = 1000;
/// Starts of each subject in a round.
const STARTS: usize = 5;
/// Mints over which the cost among few and among many callers is taken.
const SAMPLE: u64 = 20_000;

/// How much is measured.
struct Plan {
    rounds: u32,
    warm_up: Duration,
    measure: Duration,
    strangers: u64,
}

impl Plan {
    const FULL: Self = Self {
        rounds: 5,
        warm_up: Duration::from_secs(1),
        measure: Duration::from_secs(5),
        strangers: 1_000_000,
    };
    const QUICK: Self = Self {
        rounds: 1,
        warm_up: Duration::from_millis(500),
        measure: Duration::from_secs(2),
        strangers: 100_000,
    };
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
fn each(seconds: f64, requests: u64) -> f64 {
    seconds * 1e6 / requests.max(1) as f64
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let plan = if quick { Plan::QUICK } else { Plan::FULL };
    let only = std::env::args().find_map(|argument| Kind::named(argument.strip_prefix("--only=")?));
    let workshop = workshop()?;
    let machine = machine::describe();
    let began = Instant::now();
    let mut figures = Figures::default();
    let upstream = upstream::start().await?;
    if std::env::args().any(|argument| argument == "--governed") {
        let table = governed::run(&workshop, upstream, plan.measure).await?;
        let text = format!("{machine}\n{table}");
        fs::write(workshop.directory.join("governed.md"), &text)?;
        println!("{text}");
        return Ok(());
    }
    if let Some(kind) = only {
        return alone(&workshop, upstream, kind).await;
    }
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        let mut run = Run {
            plan: &plan,
            workshop: &workshop,
            upstream,
            figures: &mut figures,
        };
        run.direct().await?;
        for kind in Kind::ALL.into_iter().filter(|kind| workshop.has(*kind)) {
            run.mints(kind).await?;
        }
        for kind in [Kind::Broker, Kind::Baseline] {
            if workshop.has(kind) {
                run.refusals(kind, CPU_REFUSED, REFUSING).await?;
                run.refusals(kind, CPU_BLOCKED, BLOCKING).await?;
                run.sessions(kind).await?;
            }
        }
        if round == plan.rounds {
            // Longest, so last: what is known by now is kept even if nobody waits for the rest.
            fs::write(
                workshop.directory.join("report.md"),
                report::write(run.figures),
            )?;
            run.strangers().await?;
        }
    }
    let tables = report::write(&figures);
    let text = format!(
        "{machine}\n{} round(s), {} s each; {} strangers of each kind; took {} s\n\n{tables}",
        plan.rounds,
        plan.measure.as_secs(),
        plan.strangers,
        began.elapsed().as_secs()
    );
    fs::write(workshop.directory.join("report.md"), &text)?;
    println!("{text}");
    Ok(())
}

/// One subject under load for as long as a profiler may want to look; its cost every few seconds.
async fn alone(workshop: &Workshop, upstream: SocketAddr, kind: Kind) -> anyhow::Result<()> {
    let said = |word: &str| std::env::args().any(|argument| argument == word);
    let subject = match (said("--refused"), said("--blocked")) {
        (true, _) => workshop.subject(kind, upstream, REFUSING)?,
        (_, true) => workshop.subject(kind, upstream, BLOCKING)?,
        _ => workshop.subject(kind, upstream, ADMITTING)?,
    };
    eprintln!("{} is process {}", kind.name(), subject.pid());
    let callers = if said("--livez") {
        callers::probe(subject.address)
    } else {
        let count = if said("--few") { 64 } else { 10_000 };
        callers::page(subject.address, callers::of(count))
    };
    let load = Load { callers, from: 0 };
    for _ in 0..5 {
        let cost = load
            .run(&subject, Until::After(Duration::from_secs(3)))
            .await?;
        let answers = cost.served + cost.refused;
        let (cpu, wall) = (each(cost.cpu_seconds, answers), each(cost.seconds, answers));
        eprintln!(
            "  CPU µs per answer {cpu:.1}, answers/s {:.0}, refused {}",
            1e6 / wall,
            cost.refused
        );
    }
    Ok(())
}

/// Where everything is, as `scripts/bench.sh` says.
fn workshop() -> anyhow::Result<Workshop> {
    let place = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .with_context(|| format!("{name} is not set"))
    };
    let word = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let myself = std::env::current_exe()?;
    Ok(Workshop {
        directory: place("BENCH_DIRECTORY")?,
        broker: place("BENCH_BROKER")?,
        baseline: std::env::var_os("BENCH_BASELINE").map(PathBuf::from),
        programs: myself.parent().context("no directory")?.to_owned(),
        express: place("BENCH_EXPRESS")?,
        node: place("BENCH_NODE")?,
        core: word("BENCH_CORE")?,
    })
}

/// One round.
struct Run<'a> {
    plan: &'a Plan,
    workshop: &'a Workshop,
    upstream: SocketAddr,
    figures: &'a mut Figures,
}

impl Run<'_> {
    fn start(&self, kind: Kind, settings: &[(&str, &str)]) -> anyhow::Result<Running> {
        self.workshop.subject(kind, self.upstream, settings)
    }

    /// What the upstream itself and the generator take.
    async fn direct(&mut self) -> anyhow::Result<()> {
        let callers = callers::direct(self.upstream);
        let at_rate = load::at_rate(self.upstream, &callers, RATE, self.plan.measure).await?;
        self.figures.note(DIRECT, P50, at_rate.p50_micros);
        self.figures.note(DIRECT, P99, at_rate.p99_micros);
        Ok(())
    }

    /// Start, idle memory, mints at saturation and at a fixed rate.
    async fn mints(&mut self, kind: Kind) -> anyhow::Result<()> {
        let name = kind.name();
        for _ in 1..STARTS {
            let started_in = self.start(kind, ADMITTING)?.started_in;
            self.figures
                .note(name, START, started_in.as_secs_f64() * 1000.0);
        }
        let subject = self.start(kind, ADMITTING)?;
        std::thread::sleep(Duration::from_millis(500));
        self.figures
            .note(name, IDLE, machine::resident_mib(subject.pid()));
        let callers = callers::page(subject.address, callers::of(10_000));
        let load = Load { callers, from: 0 };
        load.run(&subject, Until::After(self.plan.warm_up)).await?;

        let cost = load.run(&subject, Until::After(self.plan.measure)).await?;
        self.figures
            .note(name, CPU, each(cost.cpu_seconds, cost.served));
        self.figures
            .note(name, THROUGHPUT, 1e6 / each(cost.seconds, cost.served));
        let before = machine::cpu_seconds(subject.pid());
        let at_rate =
            load::at_rate(subject.address, &load.callers, RATE, self.plan.measure).await?;
        let cpu_seconds = machine::cpu_seconds(subject.pid()) - before;
        let (served, refused, failed) = at_rate.tally.read();
        self.figures.note(name, P50, at_rate.p50_micros);
        self.figures.note(name, P99, at_rate.p99_micros);
        self.figures
            .note(name, CPU_AT_RATE, each(cpu_seconds, served));
        self.figures
            .note(name, LOADED, machine::resident_mib(subject.pid()));
        #[expect(clippy::cast_precision_loss, reason = "a count that should be nought")]
        self.figures.note(
            name,
            FAILED,
            (cost.refused + cost.failed + refused + failed) as f64,
        );
        Ok(())
    }

    /// A few callers who have used up what they had.
    async fn refusals(
        &mut self,
        kind: Kind,
        figure: &'static str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let subject = self.start(kind, settings)?;
        let callers = callers::page(subject.address, callers::of(64));
        let load = Load { callers, from: 0 };
        load.run(&subject, Until::After(self.plan.warm_up)).await?;
        let cost = load.run(&subject, Until::After(self.plan.measure)).await?;
        anyhow::ensure!(cost.served == 0, "some were not refused");
        self.figures
            .note(kind.name(), figure, each(cost.cpu_seconds, cost.refused));
        Ok(())
    }

    /// Memory while 10,000 sessions live and new ones take their place as fast as they can.
    async fn sessions(&mut self, kind: Kind) -> anyhow::Result<()> {
        let settings = [ADMITTING, &[("session.max_total", "10000")]].concat();
        let subject = self.start(kind, &settings)?;
        let callers = callers::page(subject.address, callers::of(10_000));
        let load = Load { callers, from: 0 };
        load.run(&subject, Until::Requests(10_000)).await?;
        load.run(&subject, Until::After(self.plan.measure)).await?;
        self.figures
            .note(kind.name(), LOADED_10K, machine::peak_mib(subject.pid()));
        Ok(())
    }

    /// Very many callers, each once: what they leave behind, and whether they make it slower for the next.
    async fn strangers(&mut self) -> anyhow::Result<()> {
        let name = Kind::Broker.name();
        // Nothing expires while it lasts. Sessions have a bound of their own and are measured on their own.
        let settings = [
            ("limits.token", "100/1h"),
            ("limits.token_network", "1000000/1h"),
            ("session.max_total", "10000"),
        ];
        let subject = self.start(Kind::Broker, &settings)?;
        let pages = |address: fn(u64) -> std::net::IpAddr| callers::page(subject.address, address);
        let few = Load {
            callers: callers::page(subject.address, callers::of(1000)),
            from: 0,
        };
        few.run(&subject, Until::Requests(SAMPLE)).await?;
        let cost = few.run(&subject, Until::Requests(SAMPLE)).await?;
        self.figures
            .note(name, CPU_FEW, each(cost.cpu_seconds, cost.served));

        let before = machine::resident_mib(subject.pid());
        self.figures.note(name, CALLERS_BEFORE, before);
        for (callers, figure) in [
            (pages(callers::new_v4), CALLERS_V4),
            (pages(callers::new_v6), CALLERS_V6),
        ] {
            let mut strangers = Load { callers, from: 0 };
            strangers
                .run(&subject, Until::Requests(self.plan.strangers))
                .await?;
            self.figures
                .note(name, figure, machine::resident_mib(subject.pid()) - before);
            strangers.from = self.plan.strangers;
            let cost = strangers.run(&subject, Until::Requests(SAMPLE)).await?;
            if figure == CALLERS_V6 {
                self.figures.note(
                    name,
                    CPU_MANY,
                    each(cost.cpu_seconds, cost.served + cost.refused),
                );
            }
        }
        Ok(())
    }
}

/// Some callers, at saturation.
struct Load {
    callers: Caller,
    from: u64,
}

/// What a load cost the subject.
struct Cost {
    cpu_seconds: f64,
    seconds: f64,
    served: u64,
    refused: u64,
    failed: u64,
}

impl Load {
    async fn run(&self, subject: &Running, until: Until) -> anyhow::Result<Cost> {
        let (before, began) = (machine::cpu_seconds(subject.pid()), Instant::now());
        let tally = load::closed(subject.address, &self.callers, self.from, until).await?;
        let seconds = began.elapsed().as_secs_f64();
        let (served, refused, failed) = tally.read();
        if failed > 0 {
            eprintln!("  {failed} requests failed");
        }
        Ok(Cost {
            cpu_seconds: machine::cpu_seconds(subject.pid()) - before,
            seconds,
            served,
            refused,
            failed,
        })
    }
}
