//! A rejected API key: one slip of the provider, a key that is bad, and a key that is good again.

use std::sync::Arc;

use token_broker::domain::Condition;
use token_broker::upstream::UpstreamError;
use tokio::task::JoinSet;

use super::Door;
use crate::kit::host::{Host, Reply};

fn plan(door: &Door, planned: &str) {
    door.simulator.plan(planned.parse().unwrap());
}

async fn code(door: &Door) -> &'static str {
    door.mint().await.unwrap_err().facts().code
}

#[tokio::test]
async fn one_rejection_of_a_good_key_fails_one_request_and_keeps_nobody_out() {
    for status in ["401", "403"] {
        let door = Door::open().await;
        plan(&door, &format!("1x{status}"));
        assert_eq!(code(&door).await, "refused");
        door.mint().await.unwrap();
        assert_eq!(door.simulator.seen(), 2);
    }
}

#[tokio::test]
async fn a_bad_key_rests_for_five_seconds_and_serves_within_five_seconds_of_its_return() {
    let door = Door::open().await;
    plan(&door, "models+401");
    assert_eq!(code(&door).await, "key_rejected");
    for looks in 1..4 {
        door.advance(4999);
        assert_eq!(code(&door).await, "resting");
        assert_eq!(door.simulator.seen(), looks);
        door.advance(1);
        assert_eq!(code(&door).await, "key_rejected");
    }
    door.simulator.clear();
    door.advance(5000);
    door.mint().await.unwrap();
}

#[tokio::test]
async fn a_key_that_may_not_list_models_is_not_bad_for_that() {
    // The look is refused with another code than the mint.
    let door = Door::open().await;
    plan(&door, "1x401");
    plan(&door, "models+1x403");
    assert_eq!(code(&door).await, "refused");
    door.mint().await.unwrap();
}

#[tokio::test]
async fn a_look_that_fails_in_another_way_says_nothing_of_the_key() {
    for trouble in ["500", "disconnect", "429"] {
        let door = Door::open().await;
        plan(&door, "1x401");
        plan(&door, &format!("models+1x{trouble}"));
        assert_eq!(code(&door).await, "refused", "{trouble}");
        door.mint().await.unwrap();
    }
}

#[tokio::test]
async fn a_good_key_that_is_rejected_for_many_at_once_keeps_nobody_else_out() {
    let door = Arc::new(Door::open().await);
    plan(&door, "20x401");
    let mut mints = JoinSet::new();
    for _ in 0..20 {
        let door = Arc::clone(&door);
        mints.spawn(async move { door.mint_in_still_time().await });
    }
    for outcome in mints.join_all().await {
        assert!(matches!(outcome, Err(UpstreamError::Refused(_))));
    }
    door.mint().await.unwrap();
}

#[tokio::test]
async fn the_providers_code_and_request_id_are_in_the_error_for_every_status() {
    for fault in ["models+401", "models+403", "429", "quota", "400", "503"] {
        let door = Door::open().await;
        plan(&door, fault);
        let error = door.mint().await.unwrap_err();
        let complaint = error.complaint().unwrap();
        assert!(complaint.request.is_some(), "{fault}");
        assert!(!complaint.code.is_empty(), "{fault}");
        let shown = error.to_string();
        assert!(shown.contains(&complaint.code), "{shown}");
    }
}

#[tokio::test]
async fn f22_a_key_that_lacks_the_permission_to_mint_rests_and_the_cure_names_the_permission() {
    let door = Door::open().await;
    plan(&door, "1xscope:model.request");
    let error = door.mint().await.unwrap_err();
    assert_eq!(error.facts().code, "key_rejected");
    let complaint = error.complaint().unwrap();
    assert_eq!(complaint.code, "missing_scope model.request");
    assert!(complaint.cure().unwrap().contains("Model capabilities"));
    // The key passes a look, which does not show that it may mint.
    assert!(door.look().await.unwrap().refusal.is_none());
    assert_eq!(door.upstream.condition(), Condition::Degraded);
    door.advance(5000);
    door.mint().await.unwrap();
    assert_eq!(door.upstream.condition(), Condition::Operational);
}

#[tokio::test]
async fn f22_a_key_that_may_mint_and_not_list_models_is_not_rejected() {
    let door = Door::open().await;
    plan(&door, "models+1xscope:api.model.read");
    let refusal = door.look().await.unwrap().refusal.unwrap();
    assert!(refusal.lacks_permission());
    assert!(refusal.cure().unwrap().contains("Models to Read"));
    assert_eq!(door.upstream.condition(), Condition::Operational);
    // A bad key that was replaced by one that may only mint.
    plan(&door, "models+2x401");
    assert_eq!(code(&door).await, "key_rejected");
    assert_eq!(door.upstream.condition(), Condition::Down);
    plan(&door, "models+1xscope:api.model.read");
    door.look().await.unwrap();
    assert_eq!(door.upstream.condition(), Condition::Operational);
    door.advance(5000);
    // One slip at a mint stays one slip.
    plan(&door, "1x401");
    plan(&door, "models+1xscope:api.model.read");
    assert_eq!(code(&door).await, "refused");
    door.mint().await.unwrap();
}

#[tokio::test]
async fn f22_missing_scopes_are_known_in_every_form_that_the_provider_has_for_them() {
    let sentence =
        "You have insufficient permissions for this operation. Missing scopes: api.model.read.";
    for status in [401, 403] {
        for body in [
            serde_json::json!({ "error": { "message": sentence, "code": null } }),
            serde_json::json!({ "error": sentence }),
            serde_json::json!({ "error": { "message": "No.", "code": "insufficient_permissions" } }),
            serde_json::json!({ "error": { "message": "No.", "code": "missing_scope" } }),
        ] {
            let host = Host::that(Reply::Status(status, body.to_string())).await;
            let door = Door::with(&[("upstream.base_url", &host.url("/v1"))]).await;
            let refusal = door.look().await.unwrap().refusal.unwrap();
            assert!(refusal.lacks_permission(), "{status} {body}");
            assert_eq!(code(&door).await, "key_rejected", "{status} {body}");
        }
    }
}
