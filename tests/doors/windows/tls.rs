//! A server behind TLS: whose word for it counts, and what it must be called.

use std::sync::Arc;

use token_broker::app::App;
use token_broker::clock::SystemClock;
use token_broker::config::{Config, Mode};
use token_broker::gate::windows::redis::Link;
use token_broker::records::MemoryRecords;

use crate::kit::programs::{free_address, openssl};
use crate::kit::redis::Redis;
use crate::kit::scratch::Scratch;

/// A server whose certificate a private authority made out to `localhost`, and where all that lies.
struct Private {
    server: Redis,
    port: u16,
    folder: Scratch,
}

impl Private {
    fn start() -> Self {
        let port = free_address().port();
        let scratch = Scratch::new();
        let folder = scratch.path();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        for name in ["ca", "other"] {
            let authority = format!(
                "req -x509 {key} -days 2 -subj /CN=authority -keyout {name}.key -out {name}.pem"
            );
            openssl(folder, &authority);
        }
        openssl(
            folder,
            &format!(
                "req {key} -subj /CN=localhost -addext subjectAltName=DNS:localhost \
                 -keyout server.key -out server.csr"
            ),
        );
        openssl(
            folder,
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 2 -copy_extensions copy \
             -out server.pem",
        );
        let [certificate, key] = ["server.pem", "server.key"].map(|name| folder.join(name));
        let server = Redis::with_tls(port, certificate.to_str().unwrap(), key.to_str().unwrap());
        Self {
            server,
            port,
            folder: scratch,
        }
    }

    fn url(&self, host: &str) -> String {
        format!("rediss://{host}:{}/", self.port)
    }

    /// Joins, or says why not.
    async fn join(&self, url: &str, ca_file: Option<&str>) -> Result<(), String> {
        let link = match ca_file {
            None => Link::new(url),
            Some(name) => Link::trusting(url, &self.folder.path().join(name)),
        };
        let joined = link.unwrap().join().await;
        joined.map_err(|error| format!("{error:?}").to_lowercase())
    }
}

#[tokio::test]
async fn a_private_authority_is_believed_when_the_operator_says_so_and_only_then() {
    let private = Private::start();
    let url = private.url("localhost");
    assert_eq!(private.join(&url, Some("ca.pem")).await, Ok(()));
    for nobody in [None, Some("other.pem")] {
        let refused = private.join(&url, nobody).await.unwrap_err();
        assert!(refused.contains("certificate"), "{nobody:?}: {refused}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_host_is_not_believed() {
    let private = Private::start();
    let url = private.url("127.0.0.1");
    let refused = private.join(&url, Some("ca.pem")).await.unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
}

#[tokio::test]
async fn a_password_in_the_url_goes_with_it() {
    let private = Private::start();
    let set = ["CONFIG", "SET", "requirepass", "hunter2"];
    assert_eq!(private.server.ask::<String>(&set).unwrap(), "OK");
    let right = private.url(":hunter2@localhost");
    assert_eq!(private.join(&right, Some("ca.pem")).await, Ok(()));
    for wrong in ["localhost", ":hunter1@localhost"] {
        let refused = private.join(&private.url(wrong), Some("ca.pem")).await;
        let refused = refused.unwrap_err();
        assert!(!refused.contains("certificate"), "{refused}");
        assert!(!refused.contains("hunter"), "{refused}");
    }
}

#[tokio::test]
async fn the_service_goes_by_the_setting() {
    let private = Private::start();
    let (url, ca_file) = (
        private.url("localhost"),
        private.folder.path().join("ca.pem"),
    );
    let ca_file = ca_file.to_str().unwrap();
    let mut shares = Vec::new();
    for setting in [("redis.ca_file", ca_file), ("redis.replicas", "2")] {
        let settings = [
            ("redis.url", &*url),
            ("upstream.api_key", "sk-none"),
            ("ledger.url", "memory"),
            setting,
        ];
        let config = Config::from_pairs(Mode::Dev, &settings).unwrap();
        let clock = Arc::new(SystemClock::new());
        let records = Arc::new(MemoryRecords::new(10, clock.clone()));
        let app = App::build(&config, records, clock).await.unwrap();
        shares.push(app.state().gate.is_whole());
    }
    assert_eq!(shares, [true, false], "only who knows the authority joins");
}

#[tokio::test]
async fn a_file_without_a_certificate_that_can_be_used_is_an_error_at_once() {
    let folder = Scratch::new();
    let file = folder.path().join("redis-no-authority.pem");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for text in ["", "none", broken] {
        std::fs::write(&file, text).unwrap();
        let link = Link::trusting("rediss://localhost:1/", &file);
        let error = link.err().unwrap().to_string();
        assert!(error.contains("redis-no-authority.pem"), "{error}");
    }
}
