//! The simulator failing as it is told to.

use super::*;

#[tokio::test]
async fn refusals_come_in_the_envelope_of_the_provider() {
    let bench = Bench::with_faults(&[
        "1x429:7", "1x429", "1xquota", "1x401", "1x403", "1x400", "1x500", "1x503",
    ])
    .await;
    for (status, kind, code, retry_after) in [
        (429, "requests", json!("rate_limit_exceeded"), Some("7")),
        (429, "requests", json!("rate_limit_exceeded"), None),
        (429, "insufficient_quota", json!("insufficient_quota"), None),
        (401, "invalid_request_error", json!("invalid_api_key"), None),
        (
            403,
            "request_forbidden",
            json!("unsupported_country_region_territory"),
            None,
        ),
        (400, "invalid_request_error", json!("invalid_value"), None),
        (500, "server_error", json!(null), None),
        (503, "server_error", json!("server_is_overloaded"), None),
    ] {
        let response = bench.mint().await.unwrap();
        let given = response.headers().get("retry-after").cloned();
        assert_eq!(
            given.as_ref().map(|value| value.to_str().unwrap()),
            retry_after
        );
        let (given, answer) = read(response).await;
        assert_eq!(given.as_u16(), status);
        assert_eq!(
            (&answer["error"]["type"], &answer["error"]["code"]),
            (&json!(kind), &code)
        );
    }
    assert_eq!(bench.mint().await.unwrap().status(), 200);
    assert_eq!(bench.simulator.minted(), 1);
}

#[tokio::test]
async fn answers_are_late_or_never_come() {
    let bench = Bench::with_faults(&["1xslow:100ms", "1xhang", "1xhang-mid-body"]).await;
    let minting = tokio::spawn(bench.asking(&json!({})).send());
    bench.clock.awaited(Duration::from_millis(100)).await;
    bench.clock.advance(Duration::from_millis(99));
    bench.clock.awaited(Duration::from_millis(1)).await;
    assert!(!minting.is_finished());
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(minting.await.unwrap().unwrap().status(), 200);
    let impatient = || bench.asking(&json!({})).timeout(PATIENCE).send();
    assert!(impatient().await.unwrap_err().is_timeout());
    let mut half = impatient().await.unwrap();
    assert_eq!(half.status(), 200);
    assert!(
        half.chunk()
            .await
            .unwrap()
            .unwrap()
            .starts_with(b"{\"value\":")
    );
    assert!(half.chunk().await.unwrap_err().is_timeout());
}

#[tokio::test]
async fn connections_break_before_and_in_the_answer() {
    let bench = Bench::with_faults(&["1xdisconnect", "1xtruncated"]).await;
    let gone = bench.mint().await.unwrap_err();
    assert!(gone.is_request() && !gone.is_timeout(), "{gone:?}");
    let cut = bench.mint().await.unwrap();
    assert!(cut.content_length().unwrap() > 1000);
    let cut = cut.bytes().await.unwrap_err();
    assert!(!cut.is_timeout(), "{cut:?}");
    assert_eq!(bench.mint().await.unwrap().status(), 200);
}

#[tokio::test]
async fn faulty_answers_are_broken_as_their_names_say() {
    let faults = [
        "1xgarbage",
        "1xhtml",
        "1xhuge",
        "1xexpired",
        "1xmissing-value",
        "1xredirect:http://127.0.0.1:9/x",
    ];
    let bench = Bench::with_faults(&faults).await;
    let garbage = bench.mint().await.unwrap();
    assert_eq!(garbage.headers()["content-type"], "application/json");
    assert!(serde_json::from_slice::<Value>(&garbage.bytes().await.unwrap()).is_err());
    let html = bench.mint().await.unwrap();
    assert_eq!(
        (html.status().as_u16(), &html.headers()["content-type"]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    let huge = bench
        .asking(&json!({}))
        .timeout(Duration::from_secs(10))
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert!(huge.len() > 10_000_000 && serde_json::from_slice::<Value>(&huge).is_ok());
    let (_, expired) = read(bench.mint().await.unwrap()).await;
    assert!(expired["expires_at"].as_u64().unwrap() < NOW);
    let state = bench
        .simulator
        .secret_state(expired["value"].as_str().unwrap());
    assert_eq!(state, Some(SecretState::Expired));
    let (status, missing) = read(bench.mint().await.unwrap()).await;
    assert!(status == 200 && missing.get("value").is_none() && missing["session"].is_object());
    let redirect = bench.mint().await.unwrap();
    assert_eq!(
        (redirect.status().as_u16(), &redirect.headers()["location"]),
        (307, &"http://127.0.0.1:9/x".parse().unwrap())
    );
}

#[tokio::test]
async fn models_are_listed_and_fail_only_when_told_to() {
    let bench = Bench::with_faults(&["500"]).await;
    let models = || async {
        read(
            bench
                .request(Method::GET, "/v1/models")
                .send()
                .await
                .unwrap(),
        )
        .await
    };
    let (status, list) = models().await;
    assert_eq!((status.as_u16(), &list["object"]), (200, &json!("list")));
    assert!(
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|model| model["id"] == "gpt-realtime-2.1")
    );
    bench.simulator.clear();
    bench.simulator.plan("models+1x503".parse().unwrap());
    assert_eq!(models().await.0, 503);
    assert_eq!(models().await.0, 200);
}

#[tokio::test]
async fn faults_are_planned_and_cleared_while_it_runs() {
    let bench = Bench::new().await;
    let (status, shown) = bench
        .faults(Method::PUT, &json!({"fault": "429:7", "times": 2}))
        .await;
    assert_eq!(
        (status.as_u16(), &shown["plan"][0]["times"]),
        (200, &json!(2))
    );
    assert_eq!(bench.mint().await.unwrap().status(), 429);
    let (_, shown) = bench.faults(Method::GET, &json!(null)).await;
    assert_eq!(
        shown,
        json!({"plan": [{"fault": "429:7", "times": 1, "models": false}], "seen": 1, "minted": 0})
    );
    bench
        .faults(
            Method::PUT,
            &json!([{"fault": "500", "times": 1}, {"fault": "quota"}]),
        )
        .await;
    for status in [500, 429, 429, 429] {
        assert_eq!(bench.mint().await.unwrap().status(), status);
    }
    bench.faults(Method::DELETE, &json!(null)).await;
    assert_eq!(bench.mint().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_plan_that_is_not_understood_changes_nothing() {
    let bench = Bench::new().await;
    bench.simulator.plan("403".parse().unwrap());
    for wrong in [
        json!({"fault": "404"}),
        json!({"fault": "500", "times": 0}),
        json!({"fault": "500", "x": 1}),
        json!(vec![json!({"fault": "500"}); 65]),
        json!(1),
    ] {
        assert_eq!(bench.faults(Method::PUT, &wrong).await.0, 400, "{wrong}");
    }
    assert_eq!(bench.mint().await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_stranger_neither_sees_nor_changes_the_plan() {
    let bench = Bench::with_faults(&["403"]).await;
    let url = format!("http://{}/_simulator/faults", bench.simulator.address());
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let request = bench.client.request(method, &url);
        assert_eq!(request.send().await.unwrap().status(), 401);
    }
    assert_eq!(bench.mint().await.unwrap().status(), 403);
}
