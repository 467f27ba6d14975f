//! Issuers behind TLS: with a certificate that nobody knows, with one that the operator vouches for.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use token_broker::auth::{Authenticator, FetchError};
use token_broker::clock::{Clock, SystemClock};
use token_broker::config::{Algorithm, KeySource};
use token_broker::domain::Naming;
use token_broker::http_client::Way;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use super::keys::{Signer, jwks};
use super::{auth, issuer};
use crate::kit::programs::{program, self_signed};
use crate::kit::scratch::Scratch;

/// A host on a free port that shows the files in `folder`.
async fn host(folder: &Path) -> (Child, u16) {
    self_signed(folder, "DNS:localhost");
    let serve = "s_server -accept 127.0.0.1:0 -cert certificate.pem -key key.pem -HTTP";
    let mut command = program("openssl");
    command.args(serve.split_whitespace()).current_dir(folder);
    // The server ends with its input.
    command.stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some(port) = line.strip_prefix("ACCEPT 127.0.0.1:") {
            // It must be able to go on talking.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (child, port.parse().unwrap());
        }
    }
}

fn trusting(ca_file: Option<&Path>) -> Way {
    Way {
        ca_file: ca_file.map(Path::to_owned),
        ..Way::default()
    }
}

#[tokio::test]
async fn an_issuer_must_bear_its_name_and_a_certificate_that_somebody_vouches_for() {
    let folder = Scratch::new();
    let document = jwks(&[Signer::es256("key").jwk()]);
    // A whole answer: openssl adds nothing to it.
    let answer = format!("HTTP/1.0 200 OK\r\n\r\n{document}");
    fs::write(folder.path().join("keys.json"), answer).unwrap();
    let (_host, port) = host(folder.path()).await;
    let vouched = folder.path().join("certificate.pem");

    let published = async |at: &str, ca_file: Option<&Path>| {
        let url = format!("https://{at}:{port}/keys.json").parse().unwrap();
        let rules = issuer(KeySource::Jwks(url), &[Algorithm::ES256]);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let settings = auth(vec![rules]);
        let way = trusting(ca_file);
        let door = Authenticator::new(&settings, Naming::Plain, clock, &way).unwrap();
        door.check_issuers().await[0].1
    };
    assert_eq!(published("localhost", Some(&vouched)).await, Ok(1));
    let unknown = published("localhost", None).await;
    assert_eq!(
        unknown,
        Err(FetchError::Unreachable),
        "nobody vouches for it"
    );
    let misnamed = published("127.0.0.1", Some(&vouched)).await;
    assert_eq!(
        misnamed,
        Err(FetchError::Unreachable),
        "it is not called so"
    );

    let settings = auth(Vec::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let nothing = folder.path().join("keys.json");
    let door = Authenticator::new(&settings, Naming::Plain, clock, &trusting(Some(&nothing)));
    assert!(door.is_err(), "it holds no certificate");
}
