//! Owns the cost of knowing who asks: a credential seen for the first time, seen a moment ago, and forged.

use std::hint::black_box;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use criterion::{Criterion, criterion_group, criterion_main};
use token_broker::auth::{Authenticator, Credential};
use token_broker::clock::{Clock, SystemClock};
use token_broker::config::{Algorithm, Auth, AuthMode, Issuer, KeySource};
use token_broker::domain::Naming;
use token_broker::http_client::Way;
use tokio::runtime::{Builder, Runtime};

/// More than are remembered, so that none is when its turn comes again.
const MANY: usize = 40_000;

/// Credentials of so many identities, and who signed them.
fn made(clock: &dyn Clock) -> Option<(Vec<Credential>, String)> {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().ok()?;
    let der = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
    let (random, now) = (SystemRandom::new(), clock.now().as_seconds());
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","typ":"JWT","kid":"7b1c2f"}"#);
    let sign = |nth: usize| {
        let claims = format!(
            r#"{{"iss":"https://id.example/","aud":"authenticated","sub":"{nth:036}","iat":{now},"exp":{},
            "app_metadata":{{"role":"student"}},"user_metadata":{{"full_name":"Ana Ruiz"}}}}"#,
            now + 86_400
        );
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = key.sign(&random, signed.as_bytes()).ok()?;
        let line = format!(
            "Bearer {signed}.{}",
            URL_SAFE_NO_PAD.encode(signature.as_ref())
        );
        Credential::parse(line.as_bytes()).ok()
    };
    let credentials: Option<Vec<_>> = (0..MANY).map(sign).collect();
    Some((credentials?, pem))
}

fn settings(pem: String) -> Auth {
    Auth {
        mode: AuthMode::Required,
        issuers: vec![Issuer {
            audience: vec!["authenticated".into()],
            role_pointer: Some("/app_metadata/role".into()),
            name_pointer: Some("/user_metadata/full_name".into()),
            ..Issuer::new(
                "https://id.example/",
                KeySource::Pem(pem),
                vec![Algorithm::ES256],
            )
        }],
        allow_plain_http: Vec::new(),
        default_role: None,
        known_roles: Vec::new(),
        service_keys: Vec::new(),
    }
}

fn authenticated(to: &Authenticator, runtime: &Runtime, credential: &Credential) -> bool {
    let screened = to.screen(credential);
    screened.is_ok_and(|screened| runtime.block_on(to.verify(screened)).is_ok())
}

fn verifications(criterion: &mut Criterion) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let Some((credentials, pem)) = made(&*clock) else {
        return;
    };
    let authenticator = Authenticator::new(&settings(pem), Naming::Plain, clock, &Way::default());
    let runtime = Builder::new_current_thread().build();
    let (Ok(authenticator), Ok(runtime)) = (authenticator, runtime) else {
        return;
    };
    let accept = |credential| {
        let credential = black_box(credential);
        assert!(authenticated(&authenticator, &runtime, credential));
    };
    let mut group = criterion.benchmark_group("authenticate");
    // Goes on where it was: from the start again, it would meet those that are still remembered.
    let mut turn = credentials.iter().cycle();
    group.bench_function("ES256, seen for the first time", |bencher| {
        bencher.iter(|| turn.next().map(accept));
    });
    group.bench_function("ES256, seen a moment ago", |bencher| {
        bencher.iter(|| accept(&credentials[0]));
    });
    let forged = Credential::parse(b"Bearer eyJhbGciOiJub25lIn0.e30.");
    group.bench_function("forged: none", |bencher| {
        bencher.iter(|| {
            let is_good = |it| authenticated(&authenticator, &runtime, black_box(it));
            assert!(forged.as_ref().is_ok_and(|it| !is_good(it)));
        });
    });
    group.finish();
}

criterion_group!(benches, verifications);
criterion_main!(benches);
