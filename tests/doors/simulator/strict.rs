//! What the simulator demands, gives and remembers when nothing is planned to fail.

use super::*;

#[tokio::test]
async fn the_request_is_held_to_the_rules_that_the_schema_leaves_out() {
    let bench = Bench::new().await;
    let session = |fields: Value| json!({"session": fields});
    let no_model = |name: &str| session(json!({"type": "realtime", "model": name}));
    for (body, status, code, param) in [
        (
            json!({"model": "gpt-realtime"}),
            400,
            "unknown_parameter",
            "model",
        ),
        (
            session(json!({"type": "realtime", "voice": "alloy"})),
            400,
            "unknown_parameter",
            "session.voice",
        ),
        (
            session(json!({"type": "realtime", "audio": {"output": {"voice": "nova"}}})),
            400,
            "invalid_value",
            "session.audio.output.voice",
        ),
        (
            session(
                json!({"type": "realtime", "audio": {"input": {"transcription": {"model": "ears"}}}}),
            ),
            400,
            "invalid_value",
            "session.audio.input.transcription.model",
        ),
        (
            no_model("gpt-4o-realtime-preview"),
            404,
            "model_not_found",
            "session.model",
        ),
        (
            no_model("whisper-1"),
            404,
            "model_not_found",
            "session.model",
        ),
    ] {
        let (given, answer) = bench.ask(&body).await;
        let error = &answer["error"];
        assert_eq!(
            (given.as_u16(), &error["code"], &error["param"]),
            (status, &json!(code), &json!(param))
        );
    }
    assert_eq!(bench.simulator.minted(), 0);
}

/// Each request with the status and the code that it must get.
async fn answered(table: Vec<(RequestBuilder, u16, Value)>) {
    for (request, status, code) in table {
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["x-simulated"], "true");
        let (given, answer) = read(response).await;
        let found = (given.as_u16(), &answer["error"]["code"]);
        assert_eq!(found, (status, &code), "{answer}");
        assert!(!answer.to_string().contains("0123456789"), "{answer}");
    }
}

#[tokio::test]
async fn only_the_right_key_opens() {
    let bench = Bench::new().await;
    let root = bench.simulator.base_url();
    let bare = || bench.client.post(format!("{root}/realtime/client_secrets"));
    let models = || bench.client.get(format!("{root}/models"));
    let wrong = json!("invalid_api_key");
    answered(vec![
        (bare(), 401, json!(null)),
        (bare().basic_auth(KEY, None::<&str>), 401, json!(null)),
        (bare().bearer_auth(""), 401, json!(null)),
        (
            bare().bearer_auth("sk-wrong-0123456789"),
            401,
            wrong.clone(),
        ),
        (bare().bearer_auth(&KEY[1..]), 401, wrong.clone()),
        (models(), 401, json!(null)),
        (models().bearer_auth("ek_sim_0123456789"), 401, wrong),
        (models().bearer_auth(KEY), 200, json!(null)),
    ])
    .await;
}

#[tokio::test]
async fn only_a_request_of_the_right_shape_is_heard() {
    let bench = Bench::new().await;
    let path = "/v1/realtime/client_secrets";
    let typed = |kind: &str| {
        let request = bench.request(Method::POST, path).body("{}");
        request.header("content-type", kind)
    };
    let json = || typed("application/json; charset=utf-8");
    let beta = json().header("openai-beta", "realtime=v1");
    let old = bench.request(Method::POST, "/v1/realtime/sessions");
    answered(vec![
        (json(), 200, json!(null)),
        (typed("text/plain"), 400, json!("unsupported_content_type")),
        (beta, 400, json!("beta_api_shape_disabled")),
        (json().body("{"), 400, json!(null)),
        (json().body(""), 400, json!(null)),
        (json().body(" ".repeat(300_000)), 413, json!(null)),
        (bench.request(Method::GET, path), 405, json!(null)),
        (old, 404, json!(null)),
    ])
    .await;
}

#[tokio::test]
async fn secrets_expire_on_the_clock_of_the_simulator() {
    let bench = Bench::new().await;
    let response = bench.mint().await.unwrap();
    assert_eq!(response.headers()["date"], "Fri, 15 Jan 2027 08:00:00 GMT");
    assert_eq!(response.headers()["openai-version"], "2020-10-01");
    for name in ["x-request-id", "openai-processing-ms"] {
        assert!(response.headers().contains_key(name), "{name}");
    }
    let (_, answer) = read(response).await;
    assert_eq!(answer["expires_at"], NOW + 600);
    let (_, short) = bench.ask(&json!({"expires_after": {"seconds": 10}})).await;
    let (value, short) = (
        answer["value"].as_str().unwrap(),
        short["value"].as_str().unwrap(),
    );
    assert!(value.starts_with("ek_sim_") && value != short);
    bench.clock.advance(Duration::from_secs(10));
    assert_eq!(
        bench.simulator.secret_state(short),
        Some(SecretState::Expired)
    );
    assert_eq!(bench.simulator.secret_state(value), Some(SecretState::Live));
    assert_eq!(bench.simulator.secret_state("ek_sim_never"), None);
}

#[tokio::test]
async fn requests_are_remembered_without_the_key() {
    let bench = Bench::new().await;
    for seconds in 10..80 {
        let body = json!({"expires_after": {"seconds": seconds}});
        let request = bench
            .asking(&body)
            .header("openai-safety-identifier", "someone");
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    let requests = bench.simulator.requests();
    assert_eq!(
        (
            requests.len(),
            bench.simulator.seen(),
            bench.simulator.minted()
        ),
        (64, 70, 70)
    );
    let last = requests.last().unwrap();
    assert_eq!(&last.body[..], br#"{"expires_after":{"seconds":79}}"#);
    assert_eq!(last.headers["openai-safety-identifier"], "someone");
    assert!(!format!("{requests:?}").contains(KEY));
}

#[tokio::test]
async fn the_simulator_listens_on_loopback_only() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_seconds(NOW)));
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = Simulator::start(provider(open, clock.clone(), &[])).await;
        assert_eq!(
            refused.err().unwrap().kind(),
            ErrorKind::InvalidInput,
            "{open}"
        );
    }
}

#[tokio::test]
async fn the_simulator_stops_while_a_caller_waits() {
    let bench = Bench::with_faults(&["hang"]).await;
    let waiting = bench
        .asking(&json!({}))
        .timeout(Duration::from_secs(30))
        .send();
    let stopping = async {
        while bench.simulator.seen() == 0 {
            tokio::task::yield_now().await;
        }
        bench.simulator.stop().await;
    };
    let (waited, ()) = tokio::join!(waiting, stopping);
    assert!(!waited.unwrap_err().is_timeout());
    assert!(
        bench
            .client
            .get("http://127.0.0.1:9/")
            .send()
            .await
            .is_err()
    );
}
