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

/// The warnings of what is good, a settings file of this text, and callers who must show who they are.
fn warnings(text: &str) -> Vec<String> {
    let believed = "[auth]\nmode = 'required'\nfirebase_project = 'my-app-1'\n";
    serve(&good_and_file(&format!("{believed}{text}"))).warnings
}

#[test]
fn quotas_of_roles_without_one_for_everybody_else_are_warned_of() {
    let student = "[quota.student]\nsessions_per_month = 5\n";
    let said = warnings(student);
    let says = "quota.default.sessions_per_month: is not set, although roles have quotas";
    assert!(said.len() == 1 && said[0].starts_with(says), "{said:?}");
    let everybody = "[quota.default]\nsessions_per_month = 5\n";
    for fine in ["", everybody, &format!("{student}{everybody}")] {
        assert_eq!(warnings(fine), [""; 0], "{fine}");
    }
}

#[test]
fn quotas_while_nobody_is_asked_are_warned_of() {
    let exception = "[[quota.exceptions]]\nissuer = 'x'\nsubject = 'y'\nsessions_per_month = 1";
    for text in ["[quota.default]\nsessions_per_month = 5", exception] {
        let said = serve(&good_and_file(text)).warnings;
        let says = "quota: limits nobody while auth.mode is off";
        assert!(said.len() == 1 && said[0].starts_with(says), "{said:?}");
        // The issuer of dev comes later.
        let dev = Config::from_sources(Mode::Dev, &good_and_file(text)).unwrap();
        assert_eq!(dev.warnings, [""; 0]);
    }
}

#[test]
fn exceptions_for_people_of_issuers_that_nobody_believes_are_warned_of() {
    let table = |issuer: &str| {
        format!(
            "[[quota.exceptions]]\nissuer = '{issuer}'\nsubject = 'y'\nsessions_per_month = 1\n"
        )
    };
    let known = table("https://securetoken.google.com/my-app-1");
    assert_eq!(warnings(&known), [""; 0]);
    let slash = table("https://securetoken.google.com/my-app-1/");
    let said = warnings(&format!("{known}{slash}"));
    let says = "quota.exceptions[2].issuer: matches none of the configured issuers";
    assert!(said.len() == 1 && said[0].starts_with(says), "{said:?}");
}

#[test]
fn a_ledger_on_another_machine_without_tls_is_warned_of_and_its_url_is_not_shown() {
    let said = |url: &str| serve(&good_and(&[("DATABASE_URL", url)])).warnings;
    let open = said("postgres://canary7f3a:canary7f3a@db.example.com/ledger");
    let says = "ledger.url: goes over a network without requiring TLS";
    assert!(open.len() == 1 && open[0].starts_with(says), "{open:?}");
    assert!(!open[0].contains(CANARY), "{open:?}");
    for fine in [
        "postgres://u:p@db.example.com/ledger?sslmode=verify-full",
        "postgres://u:p@127.0.0.1/ledger",
        "sqlite://broker.db",
    ] {
        assert_eq!(said(fine), [""; 0], "{fine}");
    }
}

#[test]
fn an_issuer_without_audience_is_refused_unless_its_credentials_name_us_otherwise() {
    let entry = |more: &str| {
        format!(
            "[auth]\nmode = 'required'\n[[auth.issuers]]\nissuer = 'https://id.example/'\n\
             jwks_url = 'https://id.example/jwks'\nalgorithms = ['RS256']\n{more}\n"
        )
    };
    let load = |more: &str| Config::from_sources(Mode::Serve, &good_and_file(&entry(more)));
    // Amazon Cognito's access tokens have no aud.
    for good in [
        "audience = 'app'",
        "authorized_parties = ['https://app.example']",
        "required_claims = { '/client_id' = 'app' }",
    ] {
        assert!(load(good).is_ok(), "{good}");
    }
    for bad in ["", "required_claims = { '/token_use' = 'access' }"] {
        let said = load(bad).unwrap_err().to_string();
        assert!(said.contains("auth.issuers[1].audience"), "{said}");
    }
}

#[test]
fn f31_patterns_that_others_may_get_names_for_are_warned_of_where_they_are_allowed() {
    let origins = "https://app-*-team.vercel.app,https://*.netlify.app,https://*.example.com";
    let loaded = serve(&sources(&[
        KEY,
        ("ALLOWED_ORIGINS", origins),
        ("BROKER_CORS__ALLOW_SHARED_SUFFIX", "true"),
    ]));
    let said = loaded.warnings;
    assert_eq!(said.len(), 2, "{said:?}");
    for (warning, pattern) in said.iter().zip(origins.split(',')) {
        assert!(warning.starts_with("cors.allowed_origins: "), "{warning}");
        assert!(warning.contains(pattern), "{warning}");
    }
    let origins = loaded.config.cors.allowed_origins;
    let preview = b"https://app-git-main-team.vercel.app";
    assert!(origins.admit(preview).is_some());
    assert!(origins.admit(b"https://app.vercel.app").is_none());
}

#[test]
fn f24_a_base_url_without_its_version_or_with_another_providers_is_warned_of() {
    let said = |url: &str| serve(&good_and(&[("OPENAI_BASE_URL", url)])).warnings;
    for (url, cure) in [
        ("https://api.openai.com", "OpenAI's ends with /v1"),
        ("https://eu.api.openai.com/", "OpenAI's ends with /v1"),
        (
            "https://r.openai.azure.com/openai",
            "Azure's with /openai/v1",
        ),
        ("https://r.openai.azure.com/v1", "must end with /openai/v1"),
        (
            "https://r.services.ai.azure.com/v1/",
            "must end with /openai/v1",
        ),
    ] {
        let warnings = said(url);
        assert_eq!(warnings.len(), 1, "{url}: {warnings:?}");
        assert!(
            warnings[0].starts_with("upstream.base_url: "),
            "{warnings:?}"
        );
        assert!(warnings[0].contains(cure), "{url}: {warnings:?}");
    }
    for fine in [
        "https://us.api.openai.com/v1",
        "https://r.openai.azure.com/openai/v1/",
        "https://gateway.example.com/openai/v1beta",
    ] {
        assert_eq!(said(fine), [""; 0], "{fine}");
    }
}

#[test]
fn an_unknown_transcription_model_is_warned_of_and_a_known_snapshot_is_not() {
    let models = |names: &str| warnings(&format!("[transcription]\nmodels = {names}\n"));
    let warned = models("['gpt-4o-mini-transcribe-2025-12-15', 'whisper-9']");
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("\"whisper-9\""), "{warned:?}");
    assert!(models("['whisper-1']").is_empty());
}
