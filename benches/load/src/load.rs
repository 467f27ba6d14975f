//! Generates load, and counts what comes back.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Connections of either kind of load.
pub const CONNECTIONS: u64 = 64;
/// Before its moment a thread wakes so much early and spins, because the kernel wakes sleepers late.
const EARLY: Duration = Duration::from_micros(80);

/// Writes the request of the `nth` caller.
pub type Caller = Arc<dyn Fn(u64, &mut Vec<u8>) + Send + Sync>;

/// When a load ends.
#[derive(Clone, Copy)]
pub enum Until {
    After(Duration),
    Requests(u64),
}

/// What came back.
#[derive(Default)]
pub struct Tally {
    pub served: AtomicU64,
    pub refused: AtomicU64,
    pub failed: AtomicU64,
}

impl Tally {
    fn count(&self, answer: &anyhow::Result<Answer>) {
        let counter = match answer {
            Ok(Answer { status: 200, .. }) => &self.served,
            Ok(Answer {
                status: 400..500, ..
            }) => &self.refused,
            _ => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub fn read(&self) -> (u64, u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.served), read(&self.refused), read(&self.failed))
    }
}

struct Answer {
    status: u16,
    /// Head and body.
    length: usize,
    closes: bool,
}

/// The answer at the beginning of `seen`, once it is whole.
fn whole_answer(seen: &[u8]) -> anyhow::Result<Option<Answer>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(seen)? else {
        return Ok(None);
    };
    let field = |name: &str| {
        let mut fields = response.headers.iter();
        fields
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    };
    let body = field("content-length").context("an answer without content-length")?;
    let length = head + std::str::from_utf8(body)?.parse::<usize>()?;
    let closes = field("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    Ok((seen.len() >= length).then_some(Answer {
        status: response.code.unwrap_or_default(),
        length,
        closes,
    }))
}

/// Every connection asks again as soon as it is answered: how much goes through at most.
///
/// Meanwhile this thread, which is the upstream's too, never sleeps. Waking a sleeper on another core costs the waker
/// some microseconds (on a virtual machine, many), and a subject that is slow enough to let the generator fall asleep
/// would pay them for every message, while a fast one never does.
pub async fn closed(
    to: SocketAddr,
    caller: &Caller,
    from: u64,
    until: Until,
) -> anyhow::Result<Arc<Tally>> {
    let tally = Arc::new(Tally::default());
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (tally, next, caller) = (Arc::clone(&tally), Arc::clone(&next), Arc::clone(caller));
        connections.spawn(async move {
            let mut line = Line::default();
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                let over = match until {
                    Until::After(time) => began.elapsed() >= time,
                    Until::Requests(count) => nth >= count,
                };
                if over {
                    return;
                }
                let answer = line.ask(to, &caller, from + nth).await;
                if answer.as_ref().map_or(true, |answer| answer.closes) {
                    line = Line::default();
                }
                tally.count(&answer);
            }
        });
    }
    let done = async { while connections.join_next().await.is_some() {} };
    let awake = async {
        loop {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = done => Ok(tally),
        () = awake => unreachable!("it never ends"),
    }
}

/// The same with so many connections, and asleep when there is nothing to do: for a subject that shares its cores with us.
/// Gives the times of all answers, in order of length, as well.
pub async fn sharing(
    to: SocketAddr,
    caller: &Caller,
    connections: usize,
    lasts: Duration,
) -> (Arc<Tally>, Vec<Duration>) {
    let tally = Arc::new(Tally::default());
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut lines = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (tally, next, caller) = (Arc::clone(&tally), Arc::clone(&next), Arc::clone(caller));
        lines.spawn(async move {
            let (mut line, mut times) = (Line::default(), Vec::new());
            while began.elapsed() < lasts {
                let asked = Instant::now();
                let nth = next.fetch_add(1, Ordering::Relaxed);
                let answer = line.ask(to, &caller, nth).await;
                times.push(asked.elapsed());
                if answer.as_ref().map_or(true, |answer| answer.closes) {
                    line = Line::default();
                }
                tally.count(&answer);
            }
            times
        });
    }
    let mut times: Vec<_> = lines.join_all().await.into_iter().flatten().collect();
    times.sort_unstable();
    (tally, times)
}

/// One connection of the closed loop.
#[derive(Default)]
struct Line {
    stream: Option<tokio::net::TcpStream>,
    out: Vec<u8>,
    seen: Vec<u8>,
}

impl Line {
    async fn ask(&mut self, to: SocketAddr, caller: &Caller, nth: u64) -> anyhow::Result<Answer> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            empty => {
                let stream = tokio::net::TcpStream::connect(to).await?;
                stream.set_nodelay(true)?;
                empty.insert(stream)
            }
        };
        self.out.clear();
        caller(nth, &mut self.out);
        stream.write_all(&self.out).await?;
        self.seen.clear();
        loop {
            ensure!(stream.read_buf(&mut self.seen).await? > 0, "hung up");
            if let Some(answer) = whole_answer(&self.seen)? {
                ensure!(answer.length == self.seen.len(), "more than one answer");
                return Ok(answer);
            }
        }
    }
}

/// What a load at a fixed rate showed.
pub struct AtRate {
    pub p50_micros: f64,
    pub p99_micros: f64,
    pub tally: Tally,
}

/// So many requests a second, whatever the answers do. Times count from the moment a request was *meant* to leave, so
/// that a stall is charged for all the requests that it held up.
pub async fn at_rate(
    to: SocketAddr,
    caller: &Caller,
    rate: u64,
    lasts: Duration,
) -> anyhow::Result<AtRate> {
    let caller = Arc::clone(caller);
    tokio::task::spawn_blocking(move || at_rate_now(to, &caller, rate, lasts)).await?
}

fn at_rate_now(
    to: SocketAddr,
    caller: &Caller,
    rate: u64,
    lasts: Duration,
) -> anyhow::Result<AtRate> {
    let total = rate * lasts.as_secs();
    let gap = Duration::from_secs(1) / u32::try_from(rate)?;
    let (tally, times) = (Tally::default(), Mutex::new(Vec::new()));
    let begin = Instant::now() + Duration::from_millis(50);
    std::thread::scope(|scope| {
        for first in 0..CONNECTIONS {
            let (tally, times) = (&tally, &times);
            scope.spawn(move || {
                let mut stream = None;
                let mut mine = Vec::new();
                for nth in (first..total).step_by(usize::try_from(CONNECTIONS).unwrap_or(1)) {
                    let meant = begin + gap * u32::try_from(nth).unwrap_or(u32::MAX);
                    wait_until(meant);
                    let answer = ask(&mut stream, to, caller, nth);
                    mine.push(meant.elapsed());
                    if answer.as_ref().map_or(true, |answer| answer.closes) {
                        stream = None;
                    }
                    tally.count(&answer);
                }
                times
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(mine);
            });
        }
    });
    let mut times = times.into_inner().unwrap_or_else(PoisonError::into_inner);
    times.sort_unstable();
    let at = |share: usize| {
        times
            .get(times.len() * share / 100)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    };
    Ok(AtRate {
        p50_micros: at(50),
        p99_micros: at(99),
        tally,
    })
}

fn wait_until(moment: Instant) {
    let left = moment.saturating_duration_since(Instant::now());
    if left > EARLY {
        std::thread::sleep(left.saturating_sub(EARLY));
    }
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
}

fn ask(
    stream: &mut Option<std::net::TcpStream>,
    to: SocketAddr,
    caller: &Caller,
    nth: u64,
) -> anyhow::Result<Answer> {
    let stream = match stream {
        Some(stream) => stream,
        empty => {
            let stream = std::net::TcpStream::connect(to)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            empty.insert(stream)
        }
    };
    let mut out = Vec::with_capacity(1024);
    caller(nth, &mut out);
    stream.write_all(&out)?;
    let mut seen = Vec::with_capacity(4096);
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk)? {
            0 => bail!("hung up"),
            read => seen.extend_from_slice(&chunk[..read]),
        }
        if let Some(answer) = whole_answer(&seen)? {
            return Ok(answer);
        }
    }
}

/// True when `to` answers `GET /livez` with 200.
pub fn lives(to: SocketAddr) -> bool {
    ask(&mut None, to, &crate::callers::probe(to), 0).is_ok_and(|answer| answer.status == 200)
}
