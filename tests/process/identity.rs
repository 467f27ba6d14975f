//! Who calls, as the executable finds out: an issuer of `dev`, keys over HTTP, a wall clock that jumps, nginx in front.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use token_broker::simulator::Simulator;
use tokio::task::JoinSet;

use super::ledger_file::Books;
use super::nginx_front::Front;
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch, Running, claims, now, student};
use crate::kit::host::{Host, Reply};
use crate::kit::issuer::{SECRET, sign, unlimited};
use crate::kit::programs::{HELP, free_address, program, run};
use crate::kit::provider::{KEY, simulator};
use crate::kit::scratch::Scratch;
use crate::kit::waiting::{eventually, until};
use crate::kit::wire::Wire;

/// What a pair of keys says of itself, and signs.
struct Signer {
    key: EncodingKey,
    jwks: String,
}

impl Signer {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "kid": "one", "alg": "ES256", "use": "sig",
            "x": coordinate(&point[1..33]), "y": coordinate(&point[33..]),
        });
        Self {
            key: EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()),
            jwks: json!({ "keys": [jwk] }).to_string(),
        }
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("one".into());
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    /// Publishes the keys there, until what it gives is dropped.
    async fn publish(&self, address: SocketAddr) -> JoinSet<std::io::Result<()>> {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let document = self.jwks.clone();
        let router = axum::Router::new().fallback(move || async { document });
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await });
        serving
    }
}

#[tokio::test]
async fn dev_vouches_for_a_student_and_a_teacher_who_get_the_personas_of_their_roles() {
    let broker = Launch::of(&["dev", "--listen", "127.0.0.1:0"]);
    let broker = broker.set("log.identity", "clear").spawn();
    let mut personas = Vec::new();
    for role in ["student", "teacher"] {
        let curl = call_of(&broker, role).await;
        let (succeeded, out, err) = run(program("sh").args(["-c", &curl])).await;
        assert!(succeeded, "{err}");
        let answer: Value = serde_json::from_str(&out).unwrap();
        assert!(
            answer["token"].as_str().unwrap().starts_with("ek_sim_"),
            "{out}"
        );
        let is_his =
            |line: &Value| line["event"] == "token_minted" && line["details"]["role"] == role;
        let told = broker.logged(is_his).await;
        assert_eq!(told["details"]["identity"], format!("dev-{role}"));
        personas.push(told["details"]["persona"].as_str().unwrap().to_owned());
    }
    assert_ne!(personas[0], personas[1]);
    for (persona, role) in personas.iter().zip(["student", "teacher"]) {
        assert!(persona.contains(role), "{role} got {persona}");
    }
}

/// The line that follows the one with this role.
async fn call_of(broker: &Running, role: &str) -> String {
    broker.said(|line| line.contains("Ctrl-C")).await;
    let said = broker.all_said();
    let place = said
        .iter()
        .position(|line| line.contains(&format!("({role})")));
    said[place.unwrap() + 1].trim().to_owned()
}

/// A broker that finds its issuer's keys at `url`.
async fn asking(simulator: &Simulator, url: &str) -> Broker {
    let by_keys = format!("jwks_url = \"{url}\"\nalgorithms = [\"ES256\"]");
    let secret = format!("hmac_secret = \"{SECRET}\"\nalgorithms = [\"HS256\"]");
    let settings = unlimited().replace(&secret, &by_keys);
    let launch = Launch::of(&["serve", "--config", "settings.toml"]);
    let launch = launch.towards(&simulator.base_url());
    launch.file("settings.toml", &settings).start().await
}

#[tokio::test]
async fn without_its_issuers_keys_the_broker_starts_refuses_callers_and_recovers() {
    let (simulator, signer, place) = (simulator(&[]).await, Signer::new(), free_address());
    let broker = asking(&simulator, &format!("http://{place}/jwks.json")).await;
    let bearer = signer.sign(&claims("ana", "student"));
    for _ in 0..3 {
        let refused = broker.token_as(&bearer).await;
        refused.is(503, "auth_unavailable");
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
        assert_eq!(Answer::to(broker.get("/readyz")).await.status, 503);
    }
    assert_eq!(Answer::to(broker.get("/livez")).await.status, 200);
    Answer::to(broker.post("/token"))
        .await
        .is(401, "unauthorized");
    assert_eq!(simulator.seen(), 0);

    let _published = signer.publish(place).await;
    // A broker that is not ready gets no requests, so it has to fetch the keys by itself.
    let is_ready = async || Answer::to(broker.get("/readyz")).await.status == 200;
    let healed = eventually("it is ready", Duration::from_secs(32), is_ready).await;
    println!("healed {healed:?} after the keys were there");
    broker.token_as(&bearer).await.secret();
    let other = Signer::new().sign(&claims("ana", "student"));
    broker.token_as(&other).await.is(401, "unauthorized");
}

/// A class sits behind one address. Its requests are complete, and wait for the keys: nobody's connection may be let go.
#[tokio::test]
async fn a06_a_class_whose_issuer_stalls_is_answered_every_one() {
    let (simulator, signer) = (simulator(&[]).await, Signer::new());
    let issuer = Host::that(Reply::Hang).await;
    let broker = asking(&simulator, &issuer.url("/jwks.json")).await;
    let bearer = signer.sign(&claims("ana", "student"));
    let request = format!(
        "POST /token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\n\
         Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    let mut pupils = Vec::new();
    for _ in 0..200 {
        let mut pupil = Wire::from("127.0.0.2", broker.address).await;
        pupil.send(&request).await;
        pupils.push(pupil);
    }
    for pupil in &mut pupils {
        let answer = pupil.answer().await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.body.contains("auth_unavailable"), "{answer:?}");
    }
}

/// In seconds.
const DAY: u64 = 24 * 3600;

/// A wall clock for processes, that a test sets.
struct FakeTime {
    scratch: Scratch,
    preloaded: PathBuf,
}

impl FakeTime {
    fn new() -> Self {
        let folders = fs::read_dir("/usr/lib")
            .unwrap()
            .map(|folder| folder.unwrap().path());
        let mut places = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
        let library = places.find(|place| place.exists());
        let clock = Self {
            scratch: Scratch::new(),
            preloaded: library.unwrap_or_else(|| panic!("libfaketime is missing: {HELP}")),
        };
        clock.set("+0");
        clock
    }

    fn set(&self, offset: &str) {
        // At once: a file that is half written would be half read.
        let new = self.scratch.file("new", offset);
        fs::rename(new, self.scratch.path().join("offset")).unwrap();
    }

    /// The process sees this wall clock; its monotonic clock stays true.
    fn seen_by(&self, launch: Launch) -> Launch {
        let offset = self.scratch.path().join("offset");
        launch
            .env("LD_PRELOAD", self.preloaded.to_str().unwrap())
            .env("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1")
    }
}

/// The broker goes by another wall clock, so far from ours, and has told of the jump once.
async fn assert_jumped(broker: &Broker, jump: i64) {
    let health = Answer::to(broker.get("/health")).await;
    let their_clock = health.json["timestamp"].as_i64().unwrap() / 1000;
    let apart = their_clock - now().cast_signed();
    assert!((apart - jump).abs() < 30, "the clock did not jump: {apart}");
    // A day back, from there to now, and a day ahead, which is the second time that the clock goes forward.
    let (name, least, times) = match jump {
        0 => ("forward_s", DAY - 30, 1),
        1.. => ("forward_s", DAY - 30, 2),
        ..0 => ("back_s", DAY - 30, 1),
    };
    let is_told = |line: &Value| line[name].as_u64().is_some_and(|jump| jump >= least);
    until("the jump is told", || {
        broker.running.log(is_told).len() == times
    })
    .await;
}

async fn refresh(broker: &Broker, bearer: &str, body: &str) -> Answer {
    let refresh = broker.post("/refresh-token").bearer_auth(bearer);
    let refresh = refresh.header("content-type", "application/json");
    Answer::to(refresh.body(body.to_owned())).await
}

#[tokio::test]
async fn when_the_wall_clock_jumps_windows_stay_credentials_follow_it_and_sessions_end_only_when_it_goes_forward()
 {
    let (clock, books) = (FakeTime::new(), Books::new());
    let upstream = Launch::of(&["simulate", "--listen", "127.0.0.1:0", "--key", KEY]);
    let upstream = clock.seen_by(upstream).spawn();
    let line = upstream
        .said(|line| line.contains("OPENAI_BASE_URL="))
        .await;
    let base_url = line.split("OPENAI_BASE_URL=").nth(1).unwrap();
    let base_url = base_url.split_whitespace().next().unwrap();
    let launch = books
        .of(&["serve", "--config", "settings.toml"])
        .towards(base_url)
        .set("limits.identity", "2/1h")
        // Too short to be given again within the interval.
        .set("session.token_seconds", "10")
        .set("session.min_refresh_interval", "1s");
    let broker = clock.seen_by(launch).start().await;

    let lasting = |subject: &str, from: u64, to: u64| {
        let mut claims = claims(subject, "student");
        (claims["iat"], claims["nbf"], claims["exp"]) = (from.into(), from.into(), to.into());
        sign(&claims)
    };
    // These are good for an hour around now, the others for days.
    let hour = |subject: &str| lasting(subject, now() - 1800, now() + 1800);
    let (ana, dia) = (hour("ana"), hour("dia"));
    let long = |subject: &str| lasting(subject, now() - 3 * DAY, now() + 3 * DAY);
    let (ben, cem) = (long("ben"), long("cem"));
    broker.token_as(&ana).await.secret();
    for _ in 0..2 {
        broker.token_as(&ben).await.secret();
    }
    let opened = broker.token_as(&cem).await;
    let body = json!({ "sessionId": opened.json["sessionId"] }).to_string();
    for (offset, jump) in [("-1d", -86_400_i64), ("+0", 0), ("+1d", 86_400)] {
        clock.set(offset);
        assert_jumped(&broker, jump).await;
        let refused = broker.token_as(&ben).await;
        refused.is(429, "rate_limited");
        assert_eq!(refused.json["error"]["limit"], "identity", "{offset}");
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((3500..=3600).contains(&wait), "{offset}: {wait}");
        // Ana's was believed a moment ago, which helps it no longer than it is good; Dia's was never shown.
        match jump {
            0 => assert_eq!(broker.token_as(&ana).await.status, 200),
            1.. => broker.token_as(&ana).await.is(401, "unauthorized"),
            _ => broker.token_as(&dia).await.is(401, "unauthorized"),
        }
        let mut refreshed = refresh(&broker, &cem, &body).await;
        if refreshed.status == 429 {
            assert_eq!(refreshed.code(), "refresh_too_soon");
            refreshed.wait_as_told().await;
            refreshed = refresh(&broker, &cem, &body).await;
        }
        match jump {
            // Sessions outlive the process, so their age is that of the database's clock.
            1.. => refreshed.is(404, "unknown_session"),
            _ => {
                refreshed.secret();
            }
        }
    }
    assert_eq!(Answer::to(broker.get("/readyz")).await.status, 200);
    assert_eq!(broker.stop().await.code, Some(0));
}

#[tokio::test]
async fn behind_nginx_credentials_reach_the_broker_and_no_log() {
    let issuer = "http://127.0.0.1:1";
    let settings = [
        ("auth.mode", "required"),
        ("auth.supabase_url", issuer),
        ("auth.supabase_jwt_secret", SECRET),
        ("log.identity", "clear"),
    ];
    let front = Front::with(&settings, &[]).await;
    let mut claims = claims("ana", "student");
    claims["iss"] = format!("{issuer}/auth/v1").into();
    claims["role"] = "authenticated".into();
    let bearer = sign(&claims);
    let answer = Answer::to(front.post("/token").bearer_auth(&bearer)).await;
    answer.secret();
    let told = front
        .broker()
        .running
        .logged(|line| line["event"] == "token_minted")
        .await;
    assert_eq!(told["details"]["identity"], "ana");
    assert_eq!(told["details"]["role"], "student");
    Answer::to(front.post("/token"))
        .await
        .is(401, "unauthorized");
    Answer::to(front.post("/token").bearer_auth(student("ben")))
        .await
        .is(401, "unauthorized");
    let log = format!("{:?}", front.nginx.log());
    assert!(!log.contains(&bearer), "{log}");
}
