//! What it costs to know who asks, to write down every mint before it happens, and to share limits and sessions.
//!
//! The subject and the generator share all cores, and every step is held against the one before it.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::callers;
use crate::load;
use crate::machine;
use crate::subject::{ADMITTING, Kind, Running, Workshop, free_address};

/// People who ask.
const PEOPLE: usize = 1000;
/// Connections at saturation.
const CONNECTIONS: usize = 256;
/// Requests a second for the time of one answer: so few that nobody waits for a core.
const RATE: u64 = 500;
/// Syncs that are timed.
const SYNCS: usize = 200;

/// One step of governing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Anonymous,
    Identity,
    Sqlite,
    Redis,
}

impl Step {
    const ALL: [Self; 4] = [Self::Anonymous, Self::Identity, Self::Sqlite, Self::Redis];

    const fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "no identity, ledger in memory",
            Self::Identity => "+ ES256 required, personas, quotas",
            Self::Sqlite => "+ SQLite ledger with its sessions, synchronous=FULL",
            Self::Redis => "+ limits on Redis",
        }
    }
}

/// What one step showed.
struct Seen {
    per_second: f64,
    cpu_micros: f64,
    p50: Duration,
    calm_p50: f64,
    calm_p99: f64,
    /// What the Redis server spent on a mint.
    server_micros: Option<f64>,
}

/// Measures all steps and gives a table.
pub async fn run(
    workshop: &Workshop,
    upstream: SocketAddr,
    lasts: Duration,
) -> anyhow::Result<String> {
    let (bearers, public) = people(workshop)?;
    let sync = one_sync(&workshop.directory)?;
    let kinds = [Kind::Broker, Kind::Baseline].map(|kind| workshop.has(kind).then_some(kind));
    let mut text = format!(
        "one sync of 4 KiB on the ledger's disk: p50 {:.2} ms, p99 {:.2} ms\n\n\
         | step | mints/s, {CONNECTIONS} connections | CPU µs per mint | p50 ms at saturation | p50 ms at {RATE}/s | p99 ms | added p50 ms | CPU ÷ that before |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        millis(sync.0),
        millis(sync.1)
    );
    let mut before: Option<Seen> = None;
    for step in Step::ALL {
        let mut of_step = Vec::new();
        for kind in kinds.into_iter().flatten() {
            let subject = (kind, step, bearers.as_slice(), public.as_path());
            of_step.push((kind, measure(workshop, upstream, subject, lasts).await?));
        }
        for (kind, seen) in &of_step {
            let base = match kind {
                Kind::Broker => before.as_ref().unwrap_or(seen),
                _ => seen,
            };
            text += &row(&format!("{}: {}", kind.name(), step.name()), seen, base);
        }
        if let [(_, new), (_, old)] = of_step.as_slice() {
            let (cpu, calm) = (new.cpu_micros / old.cpu_micros, new.calm_p50 / old.calm_p50);
            text += &format!("| broker ÷ baseline | | {cpu:.2} | | {calm:.2} | | | |\n");
        }
        before = of_step.into_iter().next().map(|(_, seen)| seen);
    }
    Ok(text)
}

/// One line of the table: what was seen, held against the step before.
fn row(name: &str, seen: &Seen, base: &Seen) -> String {
    eprintln!("  {name}: {:.0} mints/s", seen.per_second);
    let server = seen.server_micros.map_or(String::new(), |micros| {
        format!("; Redis itself: {micros:.1} µs")
    });
    format!(
        "| {name}{server} | {:.0} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |\n",
        seen.per_second,
        seen.cpu_micros,
        millis(seen.p50),
        seen.calm_p50,
        seen.calm_p99,
        seen.calm_p50 - base.calm_p50,
        seen.cpu_micros / base.cpu_micros,
    )
}

async fn measure(
    workshop: &Workshop,
    upstream: SocketAddr,
    (kind, step, bearers, public): (Kind, Step, &[String], &Path),
    lasts: Duration,
) -> anyhow::Result<Seen> {
    let address = free_address()?;
    let file = settings(workshop, step, public)?;
    let database = format!("sqlite://{}", database(workshop).display());
    let ledger = [("ledger.url", database.as_str())];
    let settings = match step {
        Step::Anonymous | Step::Identity => ADMITTING.to_vec(),
        Step::Sqlite | Step::Redis => [ADMITTING, &ledger].concat(),
    };
    let mut program = workshop.broker(kind, address, upstream, &settings);
    program.arg("--config").arg(&file);
    let server = (step == Step::Redis)
        .then(|| redis(workshop, &mut program))
        .transpose()?;
    let subject = workshop.start(&program, address)?;
    let caller = match step {
        Step::Anonymous => callers::page(address, callers::of(10_000)),
        _ => callers::people(address, bearers.to_vec()),
    };
    load::sharing(address, &caller, CONNECTIONS, Duration::from_secs(1)).await;
    let spent = |running: &Running| machine::cpu_seconds(running.pid());
    let (cpu_before, server_before) = (spent(&subject), server.as_ref().map(spent));
    let began = Instant::now();
    let (tally, times) = load::sharing(address, &caller, CONNECTIONS, lasts).await;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = spent(&subject) - cpu_before;
    let server_cpu = server
        .as_ref()
        .zip(server_before)
        .map(|(server, before)| spent(server) - before);
    let (served, refused, failed) = tally.read();
    ensure!(
        refused + failed == 0,
        "{refused} refused, {failed} failed of {served}"
    );
    let calm = load::at_rate(address, &caller, RATE, lasts).await?;
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let served = served as f64;
    Ok(Seen {
        per_second: served / seconds,
        cpu_micros: cpu * 1e6 / served,
        p50: at(&times, 50),
        calm_p50: calm.p50_micros / 1000.0,
        calm_p99: calm.p99_micros / 1000.0,
        server_micros: server_cpu.map(|cpu| cpu * 1e6 / served),
    })
}

/// A Redis server, and `program` told of it.
fn redis(workshop: &Workshop, program: &mut Command) -> anyhow::Result<Running> {
    let address = free_address()?;
    let port = address.port().to_string();
    let mut server = Command::new("redis-server");
    server.args(["--port", &port, "--bind", "127.0.0.1"]);
    server.args(["--save", "", "--appendonly", "no"]);
    program.args(["--set", &format!("redis.url=redis://{address}/")]);
    // The ledger is its own: it is the only one.
    program.args(["--set", "redis.replicas=1"]);
    workshop.start_until(&server, address, |address| {
        TcpStream::connect(address).is_ok()
    })
}

/// The settings file of `step`.
fn settings(workshop: &Workshop, step: Step, public: &Path) -> anyhow::Result<PathBuf> {
    let database = database(workshop);
    for ending in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{ending}", database.display()));
    }
    let identity = format!(
        r#"
[auth]
mode = "required"
[[auth.issuers]]
issuer = "https://id.example/"
audience = "bench"
public_key_file = "{}"
algorithms = ["ES256"]
role_pointer = "/role"
[limits]
identity = "10000000/1h"
[quota.student]
sessions_per_month = 1000000000
"#,
        public.display()
    );
    let text = match step {
        Step::Anonymous => String::new(),
        _ => identity,
    };
    let path = workshop.directory.join("governed.toml");
    fs::write(&path, text)?;
    Ok(path)
}

fn database(workshop: &Workshop) -> PathBuf {
    workshop.directory.join("governed.db")
}

/// Credentials of [`PEOPLE`], and the public key of who signed them. Made by Node: another library than the broker's.
fn people(workshop: &Workshop) -> anyhow::Result<(Vec<String>, PathBuf)> {
    let made = Command::new(&workshop.node)
        .args(["--input-type=module", "-e"])
        .arg(include_str!("../tokens.mjs"))
        .arg(PEOPLE.to_string())
        .output()
        .context("Node cannot be started")?;
    ensure!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let text = String::from_utf8(made.stdout)?;
    let (key, bearers) = text
        .split_once("-----END PUBLIC KEY-----\n")
        .context("no public key")?;
    let public = workshop.directory.join("governed.pem");
    fs::write(&public, format!("{key}-----END PUBLIC KEY-----\n"))?;
    Ok((bearers.lines().map(str::to_owned).collect(), public))
}

/// What one sync takes where the ledger will be: p50 and p99.
fn one_sync(directory: &Path) -> anyhow::Result<(Duration, Duration)> {
    let path = directory.join("sync.probe");
    let mut file = fs::File::create(&path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[7; 4096])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    fs::remove_file(path)?;
    times.sort_unstable();
    Ok((at(&times, 50), at(&times, 99)))
}

fn at(times: &[Duration], share: usize) -> Duration {
    times
        .get(times.len() * share / 100)
        .copied()
        .unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
