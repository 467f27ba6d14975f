//! Where traces are sent: addresses in any usual form, headers that nobody sees.

use secrecy::ExposeSecret;

use super::*;

/// The settings with these variables given.
fn with(variables: &[(&str, &str)]) -> Loaded {
    serve(&good_and(variables))
}

#[test]
fn the_address_of_a_collector_is_completed_and_no_address_is_no_traces() {
    let usual = with(&[]).config.otel;
    assert_eq!(
        (usual.endpoint.as_ref(), usual.traced_percent()),
        (None, None)
    );
    for (given, endpoint) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        (
            "https://otlp.example.com/otlp",
            "https://otlp.example.com/otlp/v1/traces",
        ),
        (
            "https://otlp.example.com/v1/traces",
            "https://otlp.example.com/v1/traces",
        ),
    ] {
        for variable in ["BROKER_OTEL__ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"] {
            let loaded = with(&[(variable, given)]);
            let otel = loaded.config.otel;
            assert_eq!(otel.endpoint.as_ref().unwrap().as_str(), endpoint);
            assert_eq!(otel.traced_percent(), Some(100));
            assert_eq!(loaded.warnings, [""; 0], "{given}");
        }
    }
}

#[test]
fn an_address_that_cannot_be_one_is_refused_and_a_doubtful_one_is_warned_of() {
    for given in [
        "collector:4318",
        "grpc://collector:4317",
        "https://canary7f3a@collector",
        "https://collector/?canary7f3a",
    ] {
        let refusal = refusal(Mode::Serve, &good_and(&[("BROKER_OTEL__ENDPOINT", given)]));
        assert!(refusal.contains("otel.endpoint"), "{refusal}");
        assert!(!refusal.contains(CANARY), "{refusal}");
    }
    let headers = ("BROKER_OTEL__HEADERS", "x=canary7f3a");
    for (given, says) in [
        ("http://127.0.0.1:4317", "gRPC"),
        ("http://collector:4318", "otel.headers"),
    ] {
        let warnings = with(&[("BROKER_OTEL__ENDPOINT", given), headers]).warnings;
        assert!(
            warnings.len() == 1 && warnings[0].contains(says),
            "{warnings:?}"
        );
    }
}

#[test]
fn headers_are_decoded_and_never_shown() {
    let given = "Authorization=Basic%20canary7f3a==, x-scope=me+you,";
    let loaded = with(&[("OTEL_EXPORTER_OTLP_HEADERS", given)]);
    let headers = loaded.config.otel.headers.iter();
    let headers: Vec<_> = headers
        .map(|(name, value)| (name.as_str(), value.expose_secret()))
        .collect();
    let expected = [
        ("authorization", "Basic canary7f3a=="),
        ("x-scope", "me+you"),
    ];
    assert_eq!(headers, expected);
    let shown = format!("{loaded:?} {:?}", loaded.listing().collect::<Vec<_>>());
    assert!(!shown.contains("Basic"), "{shown}");
    for wrong in [
        "canary7f3a",
        "=canary7f3a",
        "a b=canary7f3a",
        "a=canary7f3a%0d%0ab",
    ] {
        let refusal = refusal(Mode::Serve, &good_and(&[("BROKER_OTEL__HEADERS", wrong)]));
        assert!(refusal.contains("otel.headers"), "{refusal}");
        assert!(!refusal.contains(CANARY), "{refusal}");
    }
}
