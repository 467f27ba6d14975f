//! The executable under test: how it is started, followed, signalled and ended.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::Value;
use token_broker::clock::{Clock, SystemClock};
use token_broker::simulator::Simulator;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::PAGE;
use super::answer::Answer;
use super::http::client;
use super::issuer::{claims_at, sign};
use super::programs::HELP;
use super::provider::KEY;
use super::scratch::Scratch;
use super::waiting::{PATIENCE, polled};

/// The executable, about to be started: with a clean environment, in an empty directory.
pub struct Launch {
    command: Command,
    scratch: Scratch,
}

impl Launch {
    /// With this command line.
    pub fn of(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_token-broker"));
        command.env_clear().args(arguments);
        Self::from(command)
    }

    /// As the broker that most tests want: on a free port, before `simulator`.
    pub fn serve(simulator: &Simulator) -> Self {
        Self::of(&["serve"]).towards(&simulator.base_url())
    }

    /// Adds all that `serve` needs.
    pub fn towards(self, base_url: &str) -> Self {
        self.env("OPENAI_API_KEY", KEY)
            .env("ALLOWED_ORIGINS", PAGE)
            .env("OPENAI_BASE_URL", base_url)
            .env("PORT", "0")
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn set(mut self, setting: &str, value: &str) -> Self {
        self.command.arg("--set").arg(format!("{setting}={value}"));
        self
    }

    /// Puts a file into the directory it is started in.
    pub fn file(self, name: &str, text: &str) -> Self {
        self.scratch.file(name, text);
        self
    }

    /// The directory it is started in.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    pub fn spawn(mut self) -> Running {
        let spawned = self.command.spawn();
        let mut child =
            spawned.unwrap_or_else(|error| panic!("{:?}: {error}: {HELP}", self.command));
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let readers = TaskTracker::new();
        Running {
            out: follow(out, &readers),
            err: follow(err, &readers),
            readers,
            child,
            scratch: self.scratch,
        }
    }

    /// Starts the broker and waits until it says that it is ready.
    pub async fn start(self) -> Broker {
        let running = self.spawn();
        let ready = running.logged(|line| line["message"] == "ready").await;
        let url = ready["listen"].as_str().unwrap();
        let authority = url.strip_prefix("http://").unwrap();
        let address = authority.split('/').next().unwrap().parse().unwrap();
        Broker { running, address }
    }

    /// Runs a command that ends by itself.
    pub async fn finish(self) -> Ended {
        self.spawn().end(PATIENCE).await
    }
}

impl From<Command> for Launch {
    fn from(mut command: Command) -> Self {
        let scratch = Scratch::new();
        command
            .current_dir(scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Self { command, scratch }
    }
}

/// Collects lines in the background.
fn follow(
    stream: impl AsyncRead + Unpin + Send + 'static,
    readers: &TaskTracker,
) -> watch::Receiver<Vec<String>> {
    let (tell, lines) = watch::channel(Vec::new());
    let mut parts = BufReader::new(stream).split(b'\n');
    readers.spawn(async move {
        while let Ok(Some(part)) = parts.next_segment().await {
            tell.send_modify(|lines| lines.push(String::from_utf8_lossy(&part).into_owned()));
        }
    });
    lines
}

/// A process that runs. It is killed when this is dropped.
pub struct Running {
    child: Child,
    out: watch::Receiver<Vec<String>>,
    err: watch::Receiver<Vec<String>>,
    readers: TaskTracker,
    scratch: Scratch,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it has ended")
    }

    /// The first line of standard output that fits, now or soon.
    #[track_caller]
    pub fn said(&self, fits: impl Fn(&str) -> bool) -> impl Future<Output = String> {
        let (mut out, err) = (self.out.clone(), self.err.clone());
        async move {
            let found = |lines: &Vec<String>| lines.iter().any(|line| fits(line));
            let waited = timeout(PATIENCE, out.wait_for(found)).await;
            let Ok(Ok(lines)) = waited.map(|lines| lines.map(|lines| lines.clone())) else {
                panic!(
                    "it never said so.\nstdout: {:#?}\nstderr: {:#?}",
                    out.borrow(),
                    err.borrow()
                );
            };
            lines.into_iter().find(|line| fits(line)).unwrap()
        }
    }

    /// The first JSON line of standard output that fits, now or soon.
    pub async fn logged(&self, fits: impl Fn(&Value) -> bool) -> Value {
        let read = |line: &str| serde_json::from_str::<Value>(line).ok();
        let line = self.said(|line| read(line).is_some_and(|line| fits(&line)));
        read(&line.await).unwrap()
    }

    /// The JSON lines so far that fit.
    pub fn log(&self, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        let out = self.out.borrow();
        let lines = out
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.filter(|line| fits(line)).collect()
    }

    /// Changes a file in the directory it was started in.
    pub fn file(&self, name: &str, text: &str) {
        self.scratch.file(name, text);
    }

    /// All lines of standard output so far.
    pub fn all_said(&self) -> Vec<String> {
        self.out.borrow().clone()
    }

    /// Sends `TERM` or `INT` to this process and no other.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Ends it with this signal, or by force after `patience`. For use where nothing can be awaited.
    pub fn end_now(&mut self, name: &str, patience: Duration) {
        if let Some(pid) = self.child.id() {
            signal(pid, name);
        }
        polled(patience, || !matches!(self.child.try_wait(), Ok(None)));
    }

    /// Waits for its end.
    pub async fn status(&mut self) -> ExitStatus {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap().unwrap()
    }

    pub async fn end(&mut self, within: Duration) -> Ended {
        let ended = timeout(within, self.child.wait()).await;
        let status: ExitStatus = ended
            .unwrap_or_else(|_| {
                panic!("it did not end within {within:?}: {:#?}", self.out.borrow())
            })
            .unwrap();
        self.readers.close();
        timeout(PATIENCE, self.readers.wait()).await.unwrap();
        Ended {
            code: status.code(),
            out: self.out.borrow().join("\n"),
            err: self.err.borrow().join("\n"),
        }
    }
}

pub fn signal(pid: u32, name: &str) {
    let sent = std::process::Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status();
    assert!(sent.unwrap().success(), "SIG{name} could not be sent");
}

/// A broker that is ready.
pub struct Broker {
    pub running: Running,
    pub address: SocketAddr,
}

impl Broker {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        client().post(self.url(path))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        client().get(self.url(path))
    }

    /// Sends `POST /token` and nothing else.
    pub async fn token(&self) -> Answer {
        Answer::to(self.post("/token")).await
    }

    /// Sends `POST /token` with this credential.
    pub async fn token_as(&self, bearer: &str) -> Answer {
        Answer::to(self.as_somebody(bearer)).await
    }

    /// Returns `POST /token` with this credential, not sent yet.
    pub fn as_somebody(&self, bearer: &str) -> RequestBuilder {
        self.post("/token").bearer_auth(bearer)
    }

    /// The audit events so far that are called `event`.
    pub fn events(&self, event: &str) -> Vec<Value> {
        self.running.log(|line| line["event"] == event)
    }

    /// Ends it as a power cut does, and waits until it is gone.
    pub async fn kill(mut self) {
        self.running.signal("KILL");
        assert_eq!(self.running.end(PATIENCE).await.code, None);
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(mut self) -> Ended {
        self.running.signal("INT");
        self.running.end(PATIENCE).await
    }
}

/// Returns the real time, in seconds since the Unix epoch.
pub fn now() -> u64 {
    SystemClock::new().now().as_seconds()
}

/// Returns what the issuer says of somebody, for a day.
pub fn claims(subject: &str, role: &str) -> Value {
    claims_at(now() - 5, 1, (subject, role))
}

/// Returns a good credential of a student.
pub fn student(subject: &str) -> String {
    sign(&claims(subject, "student"))
}

/// Returns a good credential of a teacher.
pub fn teacher(subject: &str) -> String {
    sign(&claims(subject, "teacher"))
}
