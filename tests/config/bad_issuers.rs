//! Mistakes in `[[auth.issuers]]` and in the presets: each is refused by name, with what to write instead.

use super::*;

/// Lines that go into a good table, of which each may replace one, and what the complaint must say.
const BAD_FIELDS: &str = r"
issuer = '' | auth.issuers[1].issuer (config/broker.toml:
issuer = 5 | auth.issuers[1].issuer (config/broker.toml:4): must be text
audience = [] | auth.issuers[1].audience (config/broker.toml:4): is required, unless authorized_parties
audience = [''] | entry 1 of 1 must not be empty
audience = { a = 'canary7f3a' } | must be a list of texts
jwks_url = '' | auth.issuers[1].jwks_url (config/broker.toml:4): tells where the keys are, and so do hmac_secret, hmac_secret_file and public_key_file: exactly one
jwks_url = 'canary7f3a' | auth.issuers[1].jwks_url (config/broker.toml:4): must be a whole address
jwks_url = 'http://canary7f3a.example/' | must be https unless it is on this machine
jwks_url = 'https://canary7f3a@id.example/' | must not hold a user or a password
jwks_url = 'https://id.example/#canary7f3a' | must not hold a #
jwks_url = 'https://169.254.169.254/canary7f3a' | link-local
hmac_secret = 'canary7f3a-canary7f3a-canary7f3a' | exactly one of them is required
public_key_file = 'public.pem' | exactly one of them is required
algorithms = [] | auth.issuers[1].algorithms (config/broker.toml:4): is required: what the issuer signs with
algorithms = ['none'] | entry 1 of 1 must be one of HS256
algorithms = ['es256'] | must be one of HS256
algorithms = ['ES256', 'RS256'] | must be of one family
algorithms = ['HS256'] | must be HS… with a secret, and anything else with public keys
authorized_parties = ['https://*.vercel.app'] | auth.issuers[1].authorized_parties (config/broker.toml:4): must not hold https://*.vercel.app
authorized_parties = ['https://app.example.com', 'https://app-*.example.com'] | auth.issuers[1].authorized_parties (config/broker.toml:4): must not hold https://app-*.example.com
authorized_parties = ['https://*.co.uk'] | must name a domain of yours behind the *
role_pointer = 'role' | auth.issuers[1].role_pointer (config/broker.toml:4): must be a JSON pointer
name_pointer = '$.canary7f3a' | auth.issuers[1].name_pointer
required_claims = { role = 'canary7f3a' } | auth.issuers[1].required_claims.role (config/broker.toml:4): must be named by a JSON pointer
required_claims = { '/role' = '' } | auth.issuers[1].required_claims./role
required_claims = { '/role' = true } | auth.issuers[1].required_claims (config/broker.toml:4): must be a table of texts
required_claims = 'canary7f3a' | must be a table of texts
refused_claims = { guest = 'canary7f3a' } | auth.issuers[1].refused_claims.guest (config/broker.toml:4): must be named by a JSON pointer
lookup_url = 'https://id.example/' | auth.issuers[1].lookup_url (config/broker.toml:4): is asked for nothing
lookup_url = 'http://canary7f3a.example/' | must be https
lookup_url = 'https://{subject}.example/' | not in its host
lookup_headers = { apikey = 'canary7f3a' } | auth.issuers[1].lookup_url (config/broker.toml:4): is required with lookup_headers
lookup_role_pointer = '/role' | is required with lookup_headers, lookup_role_pointer
jwks_uri = 'https://canary7f3a.example/' | auth.issuers[1].jwks_uri (config/broker.toml:4): is not a field of auth.issuers; the nearest is jwks_url
hmac_secrets = 'canary7f3a' | the nearest is hmac_secret
required_claims = [{ '/role' = 'canary7f3a' }] | auth.issuers[1].required_claims (config/broker.toml:4): must be
required_claims = [{ '/role' = 99999999999999999999 }] | auth.issuers[1].required_claims (config/broker.toml:4): must be
required_claims = { '[1]' = 'canary7f3a' } | auth.issuers[1].required_claims.[1] (default): must be named by a JSON pointer
refused_claims = [{ '/role' = 'canary7f3a' }] | auth.issuers[1].refused_claims (config/broker.toml:4): must be
lookup_headers = [{ apikey = 'canary7f3a' }] | auth.issuers[1].lookup_headers (config/broker.toml:4): must be
audience = [{ a = 'canary7f3a' }] | auth.issuers[1].audience (config/broker.toml:4): must be a list of texts
algorithms = [{ a = 'canary7f3a' }] | auth.issuers[1].algorithms (config/broker.toml:4): must be
";

const GOOD: [&str; 4] = [
    "issuer = 'https://id.example/'",
    "audience = ['a']",
    "jwks_url = 'https://id.example/jwks'",
    "algorithms = ['ES256']",
];

fn refused(lines: &[&str]) -> String {
    let text = format!(
        "[auth]\nmode = 'required'\n[[auth.issuers]]\n{}\n",
        lines.join("\n")
    );
    refusal(Mode::Serve, &good_and_file(&text))
}

#[test]
fn claims_that_are_written_as_a_list_of_tables_are_refused_rather_than_not_enforced() {
    for field in ["required_claims", "refused_claims", "lookup_headers"] {
        let table = format!("[[auth.issuers.{field}]]\n'/role' = 'canary7f3a'");
        let refusal = refused(&[&GOOD[..], &[&table]].concat());
        let says = format!("auth.issuers[1].{field} (config/broker.toml:8): must be a table");
        assert!(refusal.contains(&says), "{field}: {refusal}");
    }
}

#[test]
fn at_most_sixty_four_issuers_are_accepted() {
    let refusal = refused(&["issuer = 'x'\n[[auth.issuers]]"; 64]);
    let says = "auth.issuers (config/broker.toml:3): holds more than 64 tables";
    assert!(refusal.contains(says), "{refusal}");
    let table = format!("[[auth.issuers]]\n{}\n", GOOD.join("\n"));
    let table = |number| table.replace("id.example/'", &format!("id.example/{number}'"));
    let tables: String = (0..64).map(table).collect();
    let text = format!("auth.mode = 'required'\n{tables}");
    assert_eq!(serve(&good_and_file(&text)).config.auth.issuers.len(), 64);
}

#[test]
fn every_bad_field_of_an_issuer_is_refused_by_name_and_line_and_without_its_value() {
    for row in BAD_FIELDS.lines().filter(|row| !row.is_empty()) {
        let (line, says) = row.split_once(" | ").unwrap();
        let field = line.split(" = ").next().unwrap();
        let others = GOOD.iter().filter(|good| !good.starts_with(field));
        let lines: Vec<_> = [line].into_iter().chain(others.copied()).collect();
        let refusal = refused(&lines);
        assert!(refusal.contains(says), "{row}: {refusal}");
        assert_eq!(refusal.lines().count(), 3, "{row}: {refusal}");
    }
    for (header, value) in [
        ("Authorization", "canary7f3a"),
        ("HOST", "x"),
        ("'a b'", "x"),
        ("apikey", ""),
        ("apikey", "canary7f3a\\nX: 1"),
        ("''", "x"),
        ("\"a\\nb\"", "x"),
    ] {
        let headers = format!("lookup_headers = {{ {header} = \"{value}\" }}");
        let lookup = [
            "lookup_url = 'https://id.example/'",
            "lookup_role_pointer = '/r'",
            &headers,
        ];
        let refusal = refused(&[&GOOD[..], &lookup].concat());
        assert!(
            refusal.contains("auth.issuers[1].lookup_headers"),
            "{header}: {refusal}"
        );
    }
}

#[test]
fn keys_that_cannot_be_trusted_are_refused() {
    for (line, says) in [
        (
            "hmac_secret = 'canary7f3a'",
            "auth.issuers[1].hmac_secret (config/broker.toml:6): must be at least 32 bytes",
        ),
        ("hmac_secret_file = 'key'", "at least 32 bytes"),
        (
            "hmac_secret_file = 'nowhere'",
            "auth.issuers[1].hmac_secret_file",
        ),
        (
            "public_key_file = 'nowhere'",
            "auth.issuers[1].public_key_file",
        ),
        (
            "public_key_file = 'private.pem'",
            "a private key: it belongs to the issuer alone",
        ),
        (
            "public_key_file = 'no-certificate'",
            "without a public key in PEM form",
        ),
    ] {
        let algorithms = if line.starts_with("hmac") {
            ""
        } else {
            GOOD[3]
        };
        let refusal = refused(&[GOOD[0], GOOD[1], line, algorithms]);
        assert!(refusal.contains(says), "{line}: {refusal}");
        assert_eq!(refusal.lines().count(), 3, "{line}: {refusal}");
    }
    let both = [
        GOOD[0],
        GOOD[1],
        &format!("hmac_secret = '{LONG_SECRET}'"),
        "hmac_secret_file = 'hmac'",
    ];
    assert!(refused(&both).contains("is given twice"));
    let secret_and_es = [
        GOOD[0],
        GOOD[1],
        &format!("hmac_secret = '{LONG_SECRET}'"),
        GOOD[3],
    ];
    assert!(refused(&secret_and_es).contains("must be HS… with a secret"));
}

#[test]
fn a_list_that_is_no_list_is_explained() {
    for text in [
        "[auth.issuers]\nissuer = 'canary7f3a'",
        "[auth.issuers]",
        "[auth]\nissuers = ['canary7f3a']",
        "[auth]\nissuers = 'canary7f3a'",
    ] {
        let refusal = refusal(Mode::Serve, &good_and_file(text));
        assert!(
            refusal.contains("write [[auth.issuers]] in the settings file"),
            "{text}: {refusal}"
        );
    }
    let two = format!(
        "[[auth.issuers]]\n{0}\n[[auth.issuers]]\n{0}\nrole_pointer = 'x'",
        GOOD.join("\n")
    );
    let refusal = refusal(Mode::Serve, &good_and_file(&two));
    assert!(
        refusal.contains("auth.issuers[2].role_pointer (config/broker.toml:11)"),
        "{refusal}"
    );
}

#[test]
fn clerk_without_pages_is_refused_even_where_any_page_may_call() {
    let clerk = [("auth.clerk_domain", "clerk.example.com")];
    let errors = Config::from_pairs(Mode::Dev, &clerk)
        .unwrap_err()
        .to_string();
    assert!(
        errors.contains("auth.clerk_domain") && errors.contains("needs cors.allowed_origins"),
        "{errors}"
    );
}
