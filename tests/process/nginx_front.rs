//! nginx as it stands in front: its own configuration file, with only the facts replaced that the file lists.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::RequestBuilder;
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;
use token_broker::simulator::Simulator;
use tokio::net::TcpSocket;

use crate::kit::executable::{Broker, Launch, Running};
use crate::kit::http::{client_of, trusting};
use crate::kit::programs::{free_address, program, self_signed};
use crate::kit::provider::simulator;
use crate::kit::scratch::Scratch;
use crate::kit::waiting::until;

pub const HOST: &str = "broker.example.com";

/// A running nginx. Its workers end with it.
pub struct Nginx {
    running: Running,
    scratch: Scratch,
}

impl Nginx {
    /// Runs it with this configuration until it answers at `address`.
    pub async fn start(scratch: Scratch, configuration: &str, address: SocketAddr) -> Self {
        let path = scratch.file("nginx.conf", configuration);
        let place = scratch.path().to_str().unwrap();
        let mut command = program("nginx");
        command
            .args(["-p", place, "-c", &path, "-e", "stderr"])
            .args(["-g", &format!("daemon off; pid {place}/pid;")]);
        let running = Launch::from(command).spawn();
        until("nginx answers", || {
            std::net::TcpStream::connect(address).is_ok()
        })
        .await;
        Self { running, scratch }
    }

    /// The lines of its access log so far.
    pub fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.scratch.path().join("access.log")).unwrap();
        // A line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Its master and its workers.
    pub fn pids(&self) -> Vec<u32> {
        let master = self.running.pid();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
        let children = children.unwrap();
        let workers = children.split_whitespace().map(|pid| pid.parse().unwrap());
        std::iter::once(master).chain(workers).collect()
    }

    pub fn certificate(&self) -> PathBuf {
        self.scratch.path().join("fullchain.pem")
    }
}

impl Drop for Nginx {
    /// Killed, the master would leave its workers behind.
    fn drop(&mut self) {
        self.running.end_now("QUIT", Duration::from_secs(2));
    }
}

/// Makes a certificate for these names, and its key, where nginx's configuration looks for them.
fn certificate(scratch: &Scratch, names: &str) {
    let folder = scratch.path();
    self_signed(folder, names);
    for (made, name) in [
        ("key.pem", "privkey.pem"),
        ("certificate.pem", "fullchain.pem"),
    ] {
        fs::rename(folder.join(made), folder.join(name)).unwrap();
    }
}

/// The whole house: nginx, the broker, the simulated provider.
pub struct Front {
    pub nginx: Nginx,
    pub broker: Option<Broker>,
    pub simulator: Simulator,
    pub https: SocketAddr,
    pub http: SocketAddr,
}

impl Front {
    pub async fn new() -> Self {
        Self::with(&[], &[]).await
    }

    /// With these settings of the broker, and these further changes to nginx's file.
    pub async fn with(settings: &[(&str, &str)], changes: &[(&str, &str)]) -> Self {
        let simulator = simulator(&[]).await;
        let launch = Launch::serve(&simulator)
            .env("BROKER_SERVER__TRUSTED_PROXIES", "127.0.0.1")
            .set("guard.never_block", "127.0.0.0/8");
        let launch = settings
            .iter()
            .fold(launch, |launch, (name, value)| launch.set(name, value));
        let broker = launch.start().await;
        let upstream = format!("server {};\n", broker.address);
        let (nginx, [https, http]) = in_front_of(&upstream, changes).await;
        Self {
            nginx,
            broker: Some(broker),
            simulator,
            https,
            http,
        }
    }

    pub fn broker(&self) -> &Broker {
        self.broker.as_ref().unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.https.port())
    }

    /// A request by the caller at 127.0.0.`last`.
    pub fn request(&self, last: u8, method: &str, path: &str) -> RequestBuilder {
        let local = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        let client = client_of(&self.nginx.certificate(), (HOST, self.https), local);
        client.request(method.parse().unwrap(), self.url(path))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request(2, "POST", path)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(2, "GET", path)
    }

    /// Sends these bytes over TLS from 127.0.0.`last`, and hears what comes until the end or a pause.
    pub async fn raw(&self, last: u8, bytes: Vec<u8>) -> String {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(SocketAddr::from(([127, 0, 0, last], 0)))
            .unwrap();
        let stream = socket
            .connect(self.https)
            .await
            .unwrap()
            .into_std()
            .unwrap();
        let tls = Arc::new(trusting(Some(&self.nginx.certificate())));
        let talking = tokio::task::spawn_blocking(move || {
            stream.set_nonblocking(false).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_millis(1500)))
                .unwrap();
            let session = ClientConnection::new(tls, HOST.try_into().unwrap()).unwrap();
            let mut stream = StreamOwned::new(session, stream);
            stream.write_all(&bytes).unwrap();
            let mut heard = Vec::new();
            // Neither a pause nor a torn connection takes back what was heard.
            let _ = stream.read_to_end(&mut heard);
            heard
        });
        String::from_utf8_lossy(&talking.await.unwrap()).into_owned()
    }
}

/// nginx before these lines of its upstream, with these further changes to its file; where it answers with and without TLS.
pub async fn in_front_of(upstream: &str, changes: &[(&str, &str)]) -> (Nginx, [SocketAddr; 2]) {
    let (https, http, scratch) = (free_address(), free_address(), Scratch::new());
    certificate(&scratch, &format!("DNS:{HOST}"));
    let configuration = adapted(scratch.path(), https, http);
    let configuration = changes
        .iter()
        .fold(configuration, |text, (from, to)| replaced(&text, from, to));
    let house = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let proxy = fs::read_to_string(house.join("nginx-proxy.inc")).unwrap();
    scratch.file("nginx-proxy.inc", &proxy);
    scratch.file("nginx-upstream.inc", upstream);
    let nginx = Nginx::start(scratch, &configuration, https).await;
    (nginx, [https, http])
}

/// `config/nginx.conf` for this machine: what its head lists, and where temporary files go.
fn adapted(scratch: &Path, https: SocketAddr, http: SocketAddr) -> String {
    let place = scratch.to_str().unwrap();
    let house = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/nginx.conf");
    let text = fs::read_to_string(house).unwrap();
    let only_ipv4: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().starts_with("listen [::]"))
        .collect();
    let changes = [
        (
            "/etc/nginx/tls/fullchain.pem;",
            format!("{place}/fullchain.pem;"),
        ),
        (
            "/etc/nginx/tls/privkey.pem;",
            format!("{place}/privkey.pem;"),
        ),
        (
            "/var/log/nginx/access.log edge;",
            format!("{place}/access.log edge;"),
        ),
        ("listen 443 ", format!("listen {https} ")),
        ("listen 80", format!("listen {http}")),
        ("http {\n", format!("http {{\n{}", temporary(place))),
    ];
    changes
        .iter()
        .fold(only_ipv4.join("\n"), |text, (from, to)| {
            replaced(&text, from, to)
        })
}

/// So that nginx needs no right to write elsewhere.
pub fn temporary(place: &str) -> String {
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    kinds
        .map(|kind| format!("    {kind}_temp_path {place}/{kind};\n"))
        .concat()
}

#[track_caller]
pub fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "nginx's files hold no {from:?}");
    text.replace(from, to)
}

/// The simulated provider behind TLS and HTTP/2, as the real one is: nginx, the base URL, the file of its certificate.
pub async fn over_tls(simulator: &Simulator) -> (Nginx, String, String) {
    let (address, scratch) = (free_address(), Scratch::new());
    certificate(&scratch, "DNS:localhost,DNS:api.provider.test");
    let place = scratch.path().to_str().unwrap().to_owned();
    let text = format!(
        "events {{}}\nhttp {{\n{}    map $http_upgrade $way {{ default upgrade; '' ''; }}\n    log_format lines escape=json '{{\"protocol\":\"$server_protocol\",\"path\":\"$uri\"}}';\n\
         access_log {place}/access.log lines;\n    server {{\n        listen {address} ssl http2;\n\
         ssl_certificate {place}/fullchain.pem;\n        ssl_certificate_key {place}/privkey.pem;\n\
         location / {{ proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
         proxy_set_header Connection $way; proxy_pass http://{}; }}\n    }}\n}}\n",
        temporary(&place),
        simulator.address()
    );
    let nginx = Nginx::start(scratch, &text, address).await;
    let base_url = format!("https://localhost:{}/v1", address.port());
    (nginx, base_url, format!("{place}/fullchain.pem"))
}
