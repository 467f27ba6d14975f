//! Whom callers act for: credentials, and what is done with who shows a bad one.

use axum::http::StatusCode;
use serde_json::json;

use crate::kit::in_process::{START, TestApp, claims, student, teacher};
use crate::kit::issuer::{ISSUER, REQUIRED, optional, sign, sign_with};

#[tokio::test]
async fn without_a_credential_where_one_is_required_there_is_a_challenge_and_no_mint() {
    let test = TestApp::of(REQUIRED, &[]);
    let answer = test.post("/token").send().await;
    answer.is(401, "unauthorized");
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Bearer realm=\"token-broker\"")
    );
    assert_eq!(answer.header("x-ratelimit-remaining"), None);
    assert_eq!(answer.json["error"]["type"], "authentication_error");
    assert_eq!(test.minter.asked(), 0);
}

#[tokio::test]
async fn every_kind_of_bad_credential_is_answered_alike() {
    let test = TestApp::of(
        REQUIRED,
        &[("limits.token", "1000/60s"), ("guard.threshold", "1000")],
    );
    let mut expired = claims("ana", "student");
    expired["exp"] = (START.as_seconds() - 31).into();
    let mut elsewhere = claims("ana", "student");
    elsewhere["aud"] = "another-app".into();
    let good = student("ana");
    let (head, _) = good.split_at(good.len() - 3);
    let bad = [
        sign(&expired),
        sign(&elsewhere),
        sign_with(
            &claims("ana", "student"),
            "another secret that is long enough too",
        ),
        format!("{head}AAA"),
        "e30.e30.".to_owned(),
        "junk".to_owned(),
        format!("{good}{}", "A".repeat(8 * 1024)),
    ];
    let mut texts = Vec::new();
    for credential in &bad {
        let answer = test.post("/token").bearer(credential).send().await;
        answer.is(401, "unauthorized");
        let refusal = "Bearer realm=\"token-broker\", error=\"invalid_token\"";
        assert_eq!(
            answer.header("www-authenticate"),
            Some(refusal),
            "{credential}"
        );
        texts.push(answer.anonymised());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert_eq!(test.minter.asked(), 0);
    let reasons: Vec<_> = test
        .events("auth_failed")
        .iter()
        .map(|line| line["details"]["reason"].clone())
        .collect();
    assert!(!reasons.is_empty());
    for line in test.all_events() {
        assert!(!line.to_string().contains(&good[..20]), "{line}");
    }
}

#[tokio::test]
async fn headers_that_are_not_one_bearer_token_are_refused() {
    let test = TestApp::of(
        REQUIRED,
        &[("limits.token", "1000/60s"), ("guard.threshold", "1000")],
    );
    let good = student("ana");
    for line in [
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        &good,
        &format!("Bearer {good} x"),
        "Bearer \u{e9}",
    ] {
        test.post("/token")
            .header("authorization", line)
            .send()
            .await
            .is(401, "unauthorized");
    }
    let two = test.post("/token").bearer(&good).bearer(&good).send().await;
    two.is(401, "unauthorized");
    let lower = test
        .post("/token")
        .header("authorization", format!("bearer {good}"))
        .send()
        .await;
    assert_eq!(lower.status, StatusCode::OK);
}

#[tokio::test]
async fn with_optional_auth_callers_without_credential_may_mint_and_a_bad_credential_is_refused() {
    let test = TestApp::of(&optional(), &[]);
    assert_eq!(test.post("/token").send().await.status, StatusCode::OK);
    assert_eq!(
        test.post("/token")
            .bearer(&student("ana"))
            .send()
            .await
            .status,
        StatusCode::OK
    );
    test.post("/token")
        .bearer("junk")
        .send()
        .await
        .is(401, "unauthorized");
    assert_eq!(test.minter.asked(), 2);
}

#[tokio::test]
async fn with_auth_off_a_credential_is_ignored() {
    let test = TestApp::new();
    let answer = test
        .post("/v1/realtime/client_secrets")
        .bearer("sk-anything")
        .send()
        .await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn every_paid_route_requires_a_credential_and_no_other_route_does() {
    let test = TestApp::of(REQUIRED, &[("compat.get_token", "true")]);
    for path in [
        "/token",
        "/refresh-token",
        "/session",
        "/v1/realtime/client_secrets",
    ] {
        test.post(path).send().await.is(401, "unauthorized");
    }
    test.get("/token").send().await.is(401, "unauthorized");
    for path in ["/health", "/livez", "/openapi.json"] {
        assert_eq!(test.get(path).send().await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn the_upstream_learns_a_keyed_hash_of_issuer_and_subject_wherever_they_call_from() {
    let test = TestApp::of(REQUIRED, &[]);
    for (address, subject) in [
        ("203.0.113.7", "ana"),
        ("198.51.100.9", "ana"),
        ("203.0.113.7", "ben"),
    ] {
        test.post("/token")
            .from(address)
            .bearer(&student(subject))
            .send()
            .await;
    }
    let behalf: Vec<_> = test
        .minter
        .orders()
        .iter()
        .map(|order| order.behalf)
        .collect();
    assert_eq!(behalf[0], behalf[1]);
    assert_ne!(behalf[0], behalf[2]);
}

#[tokio::test]
async fn forged_credentials_earn_a_block_and_expired_ones_do_not() {
    let test = TestApp::of(REQUIRED, &[("limits.token", "1000/60s")]);
    let mut expired = claims("ana", "student");
    expired["exp"] = (START.as_seconds() - 3600).into();
    for _ in 0..20 {
        test.post("/token")
            .bearer(&sign(&expired))
            .send()
            .await
            .is(401, "unauthorized");
    }
    let forged = sign_with(
        &claims("ana", "teacher"),
        "another secret that is long enough too",
    );
    for _ in 0..3 {
        test.post("/token")
            .bearer(&forged)
            .send()
            .await
            .is(401, "unauthorized");
    }
    assert_eq!(test.events("client_blocked").len(), 1);
    test.post("/token").send().await.is(429, "blocked");
    test.post("/token")
        .bearer("junk")
        .send()
        .await
        .is(429, "blocked");
    // A block of an address stops callers without identity only.
    let good = test.post("/token").bearer(&student("ana")).send().await;
    assert_eq!(good.status, StatusCode::OK, "{}", good.text);
}

#[tokio::test]
async fn refused_credentials_have_a_window_of_their_own_that_a_good_one_never_meets() {
    let settings = [
        ("limits.refused_credentials", "3/60s"),
        ("limits.token", "3/60s"),
        ("limits.mints", "3/60s"),
    ];
    let test = TestApp::of(&optional(), &settings);
    for _ in 0..3 {
        test.post("/token")
            .bearer("junk")
            .send()
            .await
            .is(401, "unauthorized");
    }
    let refused = test.post("/token").bearer("junk").send().await;
    refused.is(429, "rate_limited");
    assert_eq!(refused.json["error"]["limit"], "refused_credentials");
    let good = test.post("/token").bearer(&student("ana")).send().await;
    assert_eq!(good.status, StatusCode::OK, "{}", good.text);
    let without = test.post("/token").send().await;
    assert_eq!(without.status, StatusCode::OK, "a 401 takes nothing else");
    assert_eq!(without.header("x-ratelimit-remaining"), Some("2"));
}

#[tokio::test]
async fn a_session_is_its_identitys_wherever_it_calls_from_and_nobody_elses() {
    let test = TestApp::of(REQUIRED, &[]);
    let ana = student("ana");
    let opened = test.post("/token").bearer(&ana).send().await;
    let id = json!({ "sessionId": opened.json["sessionId"] });
    test.advance(10);
    let moved = test
        .post("/refresh-token")
        .from("2001:db8::1")
        .bearer(&ana)
        .json(&id)
        .send()
        .await;
    assert_eq!(moved.status, StatusCode::OK, "{}", moved.text);
    assert_eq!(test.events("session_mismatch").len(), 1);
    assert_eq!(
        test.events("session_mismatch")[0]["details"]["allowed"],
        true
    );
    test.advance(10);
    let stolen = test
        .post("/refresh-token")
        .bearer(&student("ben"))
        .json(&id)
        .send()
        .await;
    stolen.is(404, "unknown_session");
    let unknown = json!({ "sessionId": format!("rts_{}", "A".repeat(43)) });
    let nobodys = test
        .post("/refresh-token")
        .bearer(&student("ben"))
        .json(&unknown)
        .send()
        .await;
    assert_eq!(
        stolen.json["error"]["message"],
        nobodys.json["error"]["message"]
    );
    test.post("/refresh-token")
        .json(&id)
        .send()
        .await
        .is(401, "unauthorized");
}

#[tokio::test]
async fn strict_binding_holds_identities_to_their_network_too() {
    let test = TestApp::of(REQUIRED, &[("session.ip_binding", "strict")]);
    let ana = student("ana");
    let opened = test.post("/token").bearer(&ana).send().await;
    let id = json!({ "sessionId": opened.json["sessionId"] });
    test.advance(10);
    let moved = test
        .post("/refresh-token")
        .from("198.51.100.9")
        .bearer(&ana)
        .json(&id)
        .send()
        .await;
    moved.is(404, "unknown_session");
}

#[tokio::test]
async fn a_caller_who_signs_in_opens_a_new_session_and_commits_no_offence() {
    let test = TestApp::of(&optional(), &[]);
    let id = json!({ "sessionId": test.open().await });
    test.advance(10);
    let signed_in = test
        .post("/refresh-token")
        .bearer(&student("ana"))
        .json(&id)
        .send()
        .await;
    signed_in.is(404, "unknown_session");
    assert!(test.events("suspicious_activity").is_empty());
}

#[tokio::test]
async fn an_entry_has_the_identity_and_the_role() {
    let test = TestApp::of(REQUIRED, &[]);
    test.post("/token").bearer(&teacher("tom")).send().await;
    let minted = &test.events("token_minted")[0]["details"];
    assert_eq!(
        (&minted["identity"], &minted["role"]),
        (&json!("tom"), &json!("teacher"))
    );
}

#[tokio::test]
async fn with_pseudonyms_no_record_names_an_identity() {
    let key = "0123456789abcdef0123456789abcdef";
    let settings = [
        ("ledger.pseudonymous", "true"),
        ("ledger.pseudonym_key", key),
    ];
    let test = TestApp::of(REQUIRED, &settings);
    test.post("/token")
        .bearer(&student("ana-canary"))
        .send()
        .await;
    for line in test.all_events() {
        assert!(!line.to_string().contains("ana-canary"), "{line}");
    }
    let recent = test.ledger.recent(START).await.unwrap();
    let account = recent[0].account.clone().unwrap();
    assert_eq!(&*account.issuer, ISSUER);
    assert!(account.subject.starts_with("anon_"), "{account:?}");
}
