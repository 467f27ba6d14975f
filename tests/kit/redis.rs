//! A real Redis or Valkey server, started on a free port, ended with its test.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::{Client, Script};

use super::programs::{HELP, free_address};
use super::scratch::Scratch;
use super::waiting::{PATIENCE, polled};

/// Makes everything on the server older, as if ARGV[1] microseconds had passed. ARGV[2] is 1 to let nothing
/// expire meanwhile.
const AGE: &str = r"
local by = tonumber(ARGV[1])
local function text(number) return string.format('%.0f', number) end
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, left = redis.call('TYPE', key).ok, redis.call('PTTL', key)
  if ARGV[2] == '1' then left = 0 end
  if left > 0 and left * 1000 <= by then
    redis.call('DEL', key)
    kind = 'none'
  elseif left > 0 then
    redis.call('PEXPIRE', key, text(left - by / 1000))
  end
  if kind == 'list' then
    for place, stamp in ipairs(redis.call('LRANGE', key, 0, -1)) do
      redis.call('LSET', key, place - 1, text(stamp - by))
    end
  elseif kind == 'hash' then
    for _, field in ipairs({'ends', 'drained', 'rare'}) do
      local moment = redis.call('HGET', key, field)
      if moment then redis.call('HSET', key, field, text(moment - by)) end
    end
  elseif kind == 'string' and string.find(key, '{broker}:s:', 1, true) == 1 then
    local before, minted, opened, rest = string.match(redis.call('GET', key), '^(%d+ %d+) (%d+) (%d+) (.+)$')
    local words = {before, text(minted - by), text(opened - by), rest}
    redis.call('SET', key, table.concat(words, ' '), 'KEEPTTL')
  elseif kind == 'zset' then
    local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for place = 1, #all, 2 do redis.call('ZADD', key, text(all[place + 1] - by), all[place]) end
  end
end
return 1";

/// Where Debian puts it.
pub const REDIS: &str = "redis-server";
/// Where `scripts/test-tools.sh` puts it.
pub const VALKEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/valkey-server");

/// A server that only its test uses.
pub struct Redis {
    program: &'static str,
    pub port: u16,
    child: Option<Child>,
    settings: Vec<String>,
    folder: Scratch,
}

impl Redis {
    /// A server that answers.
    pub fn start() -> Self {
        Self::start_of(REDIS)
    }

    /// The same, of this program.
    pub fn start_of(program: &'static str) -> Self {
        let mut server = Self::absent();
        server.program = program;
        server.run();
        server
    }

    /// A place where there is no server yet.
    pub fn absent() -> Self {
        Self {
            program: REDIS,
            port: free_address().port(),
            child: None,
            settings: Vec::new(),
            folder: Scratch::new(),
        }
    }

    /// A server that also speaks TLS on `port`, as whom `certificate` and `key` say.
    pub fn with_tls(port: u16, certificate: &str, key: &str) -> Self {
        let mut server = Self::absent();
        let settings = [
            ("--tls-port", port.to_string()),
            ("--tls-key-file", key.into()),
            ("--tls-cert-file", certificate.into()),
            ("--tls-ca-cert-file", certificate.into()),
            ("--tls-auth-clients", "no".into()),
        ];
        let pairs = settings.into_iter();
        server.settings = pairs
            .flat_map(|(name, value)| [name.into(), value])
            .collect();
        server.run();
        server
    }

    /// The nodes of a cluster: the first has the lower half of all slots, and our keys, the second the other half.
    pub fn cluster() -> [Self; 2] {
        let nodes = [0, 1].map(|_| {
            let mut node = Self::absent();
            let bus = free_address().port().to_string();
            let settings = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            node.settings = settings.map(String::from).to_vec();
            node.run();
            (node, bus)
        });
        let [(first, _), (second, bus)] = &nodes;
        let port = second.port.to_string();
        for (node, from, to) in [(first, "0", "8191"), (second, "8192", "16383")] {
            let _: String = node.ask(&["CLUSTER", "ADDSLOTSRANGE", from, to]).unwrap();
        }
        let _: String = first
            .ask(&["CLUSTER", "MEET", "127.0.0.1", &port, bus])
            .unwrap();
        let is_whole = |node: &Self| {
            let told: String = node.ask(&["CLUSTER", "INFO"]).unwrap();
            told.contains("cluster_state:ok") && told.contains("cluster_known_nodes:2")
        };
        let are_one = || is_whole(first) && is_whole(second);
        assert!(
            polled(PATIENCE, are_one),
            "the nodes never become a cluster"
        );
        nodes.map(|(node, _)| node)
    }

    /// Starts it, empty, and waits until it answers.
    pub fn run(&mut self) {
        // Gone with this thread, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", self.program]);
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]);
        command.arg(self.folder.path());
        command.args(&self.settings);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("setpriv: {error}: {HELP}")));
        let answers = || self.ask::<String>(&["PING"]).is_some();
        assert!(
            polled(PATIENCE, answers),
            "{} does not answer: {HELP}",
            self.program
        );
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends it a signal, like `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// What it answers to a command, if it does.
    pub fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> Option<T> {
        let client = Client::open(self.url()).unwrap();
        let mut connection = client.get_connection().ok()?;
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]);
        asked.query(&mut connection).ok()
    }

    /// Lets time pass for everything on the server.
    pub fn pass(&self, time: Duration) {
        self.age(i64::try_from(time.as_micros()).unwrap(), "0");
    }

    /// Lets time pass, but keeps what would have expired: as if it was used a moment ago.
    pub fn pass_but_keep(&self, time: Duration) {
        self.age(i64::try_from(time.as_micros()).unwrap(), "1");
    }

    /// Sets the server's clock back: everything on it is so far in the future.
    pub fn turn_back(&self, time: Duration) {
        self.age(-i64::try_from(time.as_micros()).unwrap(), "0");
    }

    fn age(&self, micros: i64, keeps: &str) {
        let client = Client::open(self.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let script = Script::new(AGE);
        let mut script = script.arg(micros);
        let _: u8 = script.arg(keeps).invoke(&mut connection).unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
