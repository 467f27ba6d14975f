//! What is allowed but probably not meant, and presets that refuse what would be.

use super::*;

#[test]
fn presets_refuse_sign_ins_that_stand_for_nobody() {
    let issuers = serve(&good_and(&[
        ("BROKER_AUTH__MODE", "required"),
        ("BROKER_AUTH__SUPABASE_URL", "https://p.supabase.co"),
        ("BROKER_AUTH__SUPABASE_JWT_SECRET_FILE", "hmac"),
        ("BROKER_AUTH__FIREBASE_PROJECT", "my-app-1"),
    ]))
    .config
    .auth
    .issuers;
    let (supabase, firebase) = issuers.split_at(3);
    for one in supabase {
        assert_eq!(one.refused_claims, pairs(&[("/is_anonymous", "true")]));
    }
    let provider = pairs(&[("/firebase/sign_in_provider", "anonymous")]);
    assert_eq!(firebase[0].refused_claims, provider);
}
