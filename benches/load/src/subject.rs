//! What is compared: how each is started, and how it ends.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::load;

/// Where everything is.
pub struct Workshop {
    /// For files that are made on the way.
    pub directory: PathBuf,
    /// The broker's executable.
    pub broker: PathBuf,
    /// An earlier executable of the broker to compare with, when one is given.
    pub baseline: Option<PathBuf>,
    /// Our own executables.
    pub programs: PathBuf,
    /// The Express program, with its packages beside it.
    pub express: PathBuf,
    /// Node.
    pub node: PathBuf,
    /// The core of the subject.
    pub core: String,
}

/// A kind of subject.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Forwarder,
    Express,
    Broker,
    /// An earlier version of the broker.
    Baseline,
    /// The broker without access log and audit lines.
    BrokerQuiet,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::Nginx,
        Self::Forwarder,
        Self::Broker,
        Self::Baseline,
        Self::BrokerQuiet,
        Self::Express,
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Forwarder => "forwarder",
            Self::Express => "express",
            Self::Broker => "broker",
            Self::Baseline => "baseline",
            Self::BrokerQuiet => "broker, log.filter=warn",
        }
    }
}

/// Limits so high that all guards run and all admit.
pub const ADMITTING: &[(&str, &str)] = &[
    ("limits.token", "1000000/60s"),
    ("limits.token_network", "1000000/60s"),
    ("session.max_live", "10000"),
];

/// One mint an hour for each caller: the second is refused, and never blocked.
pub const REFUSING: &[(&str, &str)] = &[("limits.token", "1/1h"), ("guard.threshold", "1000")];

/// The same, and the first refusal earns a block.
pub const BLOCKING: &[(&str, &str)] = &[("limits.token", "1/1h"), ("guard.threshold", "1")];

/// A process of ours. Ends when it is dropped, or when this program does.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
    /// How long it took from its start to its first answer.
    pub started_in: Duration,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        // nginx ends its workers only when asked kindly.
        let _ = Command::new("kill").arg(self.pid().to_string()).status();
        let patience = Instant::now() + Duration::from_secs(3);
        while Instant::now() < patience {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Workshop {
    /// A subject in front of `upstream`. `settings` are for a broker.
    pub fn subject(
        &self,
        kind: Kind,
        upstream: SocketAddr,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Running> {
        let address = free_address()?;
        let mint_url = format!("http://{upstream}/v1/realtime/client_secrets");
        let program = match kind {
            Kind::Nginx => self.nginx(address, upstream)?,
            Kind::Forwarder => {
                let mut program = Command::new(self.programs.join("forwarder"));
                program.args([address.to_string(), mint_url]);
                program
            }
            Kind::Express => {
                let mut program = Command::new(&self.node);
                program.arg(self.express.join("server.mjs"));
                program.args([address.port().to_string(), mint_url, "1000000".to_owned()]);
                program.env("NODE_ENV", "production");
                program
            }
            Kind::Broker | Kind::Baseline => self.broker(kind, address, upstream, settings),
            Kind::BrokerQuiet => {
                let mut program = self.broker(kind, address, upstream, settings);
                program.args(["--set", "log.filter=warn"]);
                program
            }
        };
        self.start(&program, address)
            .with_context(|| format!("{} does not start", kind.name()))
    }

    /// True when this kind can be measured.
    pub fn has(&self, kind: Kind) -> bool {
        kind != Kind::Baseline || self.baseline.is_some()
    }

    pub fn broker(
        &self,
        kind: Kind,
        address: SocketAddr,
        upstream: SocketAddr,
        settings: &[(&str, &str)],
    ) -> Command {
        let earlier = self.baseline.as_ref().filter(|_| kind == Kind::Baseline);
        let mut program = Command::new(earlier.unwrap_or(&self.broker));
        program.args(["serve", "--listen", &address.to_string()]);
        let base_url = format!("http://{upstream}/v1");
        let always = [
            ("upstream.base_url", base_url.as_str()),
            ("cors.allowed_origins", "https://app.example"),
            ("server.trusted_proxies", "127.0.0.1"),
            ("upstream.mints_per_second", "100000"),
            ("upstream.max_in_flight", "10000"),
            ("limits.mints", "10000000/60s"),
            ("limits.mints_daily", "10000000/24h"),
            ("limits.identity_mints", "10000000/24h"),
            ("limits.anonymous_mints", "10000000/24h"),
            // What governing costs is measured on its own: see governed.rs.
            ("ledger.url", "memory"),
        ];
        for (name, value) in always.iter().chain(settings) {
            program.args(["--set", &format!("{name}={value}")]);
        }
        program.env("OPENAI_API_KEY", "sk-load-comparison");
        program
    }

    fn nginx(&self, address: SocketAddr, upstream: SocketAddr) -> anyhow::Result<Command> {
        let directory = self.directory.to_str().context("a path that is not text")?;
        let text = include_str!("../nginx.conf")
            .replace("@DIRECTORY@", directory)
            .replace("@LISTEN@", &address.to_string())
            .replace("@UPSTREAM@", &upstream.to_string());
        let path = self.directory.join("nginx.conf");
        fs::write(&path, text)?;
        let mut program = Command::new("nginx");
        program
            .arg("-e")
            .arg(self.directory.join("nginx-error.log"))
            .arg("-c")
            .arg(path);
        Ok(program)
    }

    /// Starts `program` on its core, with nothing of our environment but the path, and waits for its first answer.
    pub fn start(&self, program: &Command, address: SocketAddr) -> anyhow::Result<Running> {
        self.start_until(program, address, load::lives)
    }

    /// The same, for a program whose first answer `lives` sees.
    pub fn start_until(
        &self,
        program: &Command,
        address: SocketAddr,
        lives: impl Fn(SocketAddr) -> bool,
    ) -> anyhow::Result<Running> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "taskset", "-c", &self.core]);
        command.arg(program.get_program()).args(program.get_args());
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(
            program
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        command
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let began = Instant::now();
        let child = command
            .spawn()
            .context("setpriv and taskset (util-linux) are needed")?;
        let mut running = Running {
            child,
            address,
            started_in: Duration::ZERO,
        };
        while !lives(address) {
            ensure!(running.child.try_wait()?.is_none(), "it ended at once");
            ensure!(
                began.elapsed() < Duration::from_secs(20),
                "no answer in 20 s"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        running.started_in = began.elapsed();
        Ok(running)
    }
}

/// A port of loopback that was free a moment ago.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
