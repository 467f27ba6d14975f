//! Which persona an identity gets, and which it does not.

use axum::http::StatusCode;
use serde_json::json;

use crate::kit::in_process::{TestApp, claims, student, teacher};
use crate::kit::issuer::{REQUIRED, sign};

#[tokio::test]
async fn the_verified_role_chooses_the_persona_whatever_is_claimed() {
    let test = TestApp::of(REQUIRED, &[]);
    for (bearer, claimed, persona) in [
        (teacher("tom"), "student", "teacher"),
        (student("ana"), "teacher", "student-es"),
    ] {
        let asked = json!({ "userRole": claimed, "language": "es-MX" });
        let call = test.post("/token").bearer(&bearer).json(&asked);
        let answer = call.send().await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert_eq!(test.personas().pop().unwrap(), persona);
    }
}

#[tokio::test]
async fn a_persona_for_other_roles_is_refused_by_name_and_at_the_next_refresh() {
    let test = TestApp::of(REQUIRED, &[]);
    let named = json!({ "persona": "staff" });
    let ask = async |role: &str| {
        let bearer = sign(&claims("ana", role));
        test.post("/token")
            .bearer(&bearer)
            .json(&named)
            .send()
            .await
    };
    let refused = ask("student").await;
    refused.is(403, "forbidden");
    assert_eq!(refused.json["error"]["param"], "persona");
    let opened = ask("staff").await;
    assert_eq!(opened.status, StatusCode::OK, "{}", opened.text);
    test.advance(10);
    let id = json!({ "sessionId": opened.json["sessionId"] });
    let refresh = async |role: &str| {
        let bearer = sign(&claims("ana", role));
        test.post("/refresh-token")
            .bearer(&bearer)
            .json(&id)
            .send()
            .await
    };
    refresh("student").await.is(403, "forbidden");
    assert_eq!(refresh("staff").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_persona_greets_by_name_in_the_language_asked_for_at_every_mint_of_the_session() {
    let test = TestApp::of(REQUIRED, &[]);
    let ana = student("ana");
    let asked = json!({ "language": "pt-BR" });
    let opened = test.post("/token").bearer(&ana).json(&asked).send().await;
    test.advance(10);
    let id = json!({ "sessionId": opened.json["sessionId"] });
    test.post("/refresh-token")
        .bearer(&ana)
        .json(&id)
        .send()
        .await;
    let orders = test.minter.orders();
    assert_eq!(orders.len(), 2);
    for order in orders {
        let session: serde_json::Value =
            serde_json::from_str(order.session.as_json().get()).unwrap();
        assert_eq!(session["instructions"], "Hello \"ana Test\". Speak pt-BR.");
    }
}
