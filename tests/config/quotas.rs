//! `[quota.<role>]` and `[[quota.exceptions]]`.

use token_broker::domain::Money;

use super::*;

const QUOTAS: &str = r#"
[quota.default]
sessions_per_month = 100

[quota.student]
sessions_per_month = 300

[quota."head teacher v1.2"]
sessions_per_month = 1_000_000_000

[[quota.exceptions]]
issuer = "https://id.example.com/"
subject = "ana"
sessions_per_month = 1

[[quota.exceptions]]
issuer = "https://id.example.com/"
subject = "ben"
sessions_per_month = 2
"#;

fn limit(config: &Config, role: &str) -> Option<u32> {
    config.quota.roles.get(role)?.sessions_per_month
}

#[test]
fn roles_are_free_and_everybody_else_and_single_identities_have_theirs() {
    let config = serve(&good_and_file(QUOTAS)).config;
    assert_eq!(config.quota.everybody.sessions_per_month, Some(100));
    assert_eq!(config.quota.roles.len(), 2);
    assert_eq!(limit(&config, "student"), Some(300));
    assert_eq!(limit(&config, "head teacher v1.2"), Some(1_000_000_000));
    let exceptions = config.quota.exceptions.iter();
    let exceptions: Vec<_> = exceptions
        .map(|one| (one.issuer.as_str(), one.subject.as_str(), one.quota()))
        .map(|(issuer, subject, quota)| (issuer, subject, quota.sessions_per_month))
        .collect();
    let issuer = "https://id.example.com/";
    assert_eq!(
        exceptions,
        [(issuer, "ana", Some(1)), (issuer, "ben", Some(2))]
    );
}

#[test]
fn minutes_and_calls_at_once_are_quotas_too() {
    let text = "[connect]\nmode = 'call'\n[quota.student]\nminutes_per_week = 30\n[quota.default]\nlive_calls = 1\n\
        [[quota.exceptions]]\nissuer = 'x'\nsubject = 'y'\nminutes_per_day = 5\nminutes_per_month = 60";
    let quota = serve(&good_and_file(text)).config.quota;
    assert_eq!(quota.roles["student"].minutes_per_week, Some(30));
    assert_eq!(quota.everybody.live_calls, Some(1));
    let exception = quota.exceptions[0].quota();
    assert_eq!(exception.minutes_per_day, Some(5));
    let month = exception.budget().month;
    assert_eq!(month.seconds, Some(3_600));
    let sources = good_and(&[
        ("BROKER_QUOTA__STUDENT__MINUTES_PER_DAY", "10"),
        ("BROKER_CONNECT__MODE", "call"),
    ]);
    let quota = serve(&sources).config.quota;
    assert_eq!(quota.roles["student"].minutes_per_day, Some(10));
}

#[test]
fn money_is_a_quota_too_as_text_in_dollars() {
    let text = "[connect]\nmode = 'call'\n[quota.student]\nmoney_per_day = \"0.50\"\n[quota.default]\nlive_calls = 1\n\
        [[quota.exceptions]]\nissuer = 'x'\nsubject = 'y'\nmoney_per_week = '2'\nmoney_per_month = 5";
    let sources = Sources {
        file: Some(file(text)),
        ..good_and(&[
            ("BROKER_QUOTA__TEACHER__MONEY_PER_MONTH", "3"),
            ("BROKER_MONEY__PER_DAY", "20"),
        ])
    };
    let config = serve(&sources).config;
    let nanos = |money: Option<Money>| money.map(Money::as_nanos);
    let of = |role: &str| config.quota.roles[role];
    assert_eq!(nanos(of("student").money_per_day), Some(500_000_000));
    assert_eq!(nanos(of("teacher").money_per_month), Some(3_000_000_000));
    let exception = config.quota.exceptions[0].quota().budget();
    assert_eq!(nanos(exception.week.money), Some(2_000_000_000));
    assert_eq!(nanos(exception.month.money), Some(5_000_000_000));
    let limits = config.money_limits().into_iter();
    let limits: Vec<_> = limits.map(|limit| limit.name).collect();
    for name in [
        "money.per_day",
        "quota.student.money_per_day",
        "quota.teacher.money_per_month",
        "quota.exceptions[1].money_per_week",
        "quota.exceptions[1].money_per_month",
    ] {
        assert!(
            limits.iter().any(|known| known == name),
            "{name}: {limits:?}"
        );
    }
    assert_eq!(limits.len(), 5);
}

#[test]
fn money_is_limited_only_where_answers_are_bounded() {
    let money = ("BROKER_MONEY__PER_MONTH", "5.00");
    serve(&good_and(&[money]));
    let named = ("BROKER_PERSONAS__FILE", "personas.toml");
    let default = ("BROKER_PERSONAS__DEFAULT", "zoe");
    let text = refusal(Mode::Serve, &good_and(&[money, named, default]));
    for says in [
        "money.per_month",
        "set max_output_tokens in [NAME.session] of zoe, adam",
    ] {
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn without_a_quota_nobody_is_limited() {
    let quota = serve(&good_and(&[])).config.quota;
    assert_eq!(quota.everybody.sessions_per_month, None);
    assert!(quota.roles.is_empty() && quota.exceptions.is_empty());
    serve(&good_and_file("[quota]"));
}

#[test]
fn the_environment_and_flags_set_quotas_of_roles_that_no_file_names() {
    let sources = Sources {
        flags: pairs(&[("quota.teacher.sessions_per_month", "7")]),
        file: Some(file(QUOTAS)),
        ..good_and(&[
            ("BROKER_QUOTA__STUDENT__SESSIONS_PER_MONTH", "5"),
            ("BROKER_QUOTA__FAMILY__SESSIONS_PER_MONTH", "6"),
        ])
    };
    let loaded = serve(&sources);
    assert_eq!(limit(&loaded.config, "student"), Some(5));
    assert_eq!(limit(&loaded.config, "family"), Some(6));
    assert_eq!(limit(&loaded.config, "teacher"), Some(7));
    for (name, value, source) in [
        (
            "quota.student.sessions_per_month",
            "5",
            "environment BROKER_QUOTA__STUDENT__SESSIONS_PER_MONTH",
        ),
        (
            "quota.default.sessions_per_month",
            "100",
            "config/broker.toml:3",
        ),
        (
            "quota.exceptions[2].subject",
            "ben",
            "config/broker.toml:18",
        ),
        (
            "quota.exceptions[2].sessions_per_month",
            "2",
            "config/broker.toml:19",
        ),
    ] {
        assert_eq!(shown(&loaded, name), (value.into(), source.into()));
    }
}

/// A settings file, its lines parted by ⏎, and what the complaint must say.
const BAD_FILES: &str = r"
[quota.student] ⏎ sessions_per_month = 0 | quota.student.sessions_per_month (config/broker.toml:2): must be between 1 and 1000000000
[quota.student] ⏎ sessions_per_month = '300' | must be a whole number
[quota.student] ⏎ session_per_month = 300 | quota.student.session_per_month (config/broker.toml:2): is not a setting; the nearest is quota.student.sessions_per_month
[quota.student] ⏎ tokens_per_month = 300 | quota.student.tokens_per_month (config/broker.toml:2): needs measured use, which direct mode does not have
[quota.student] ⏎ cost_per_month = 300 | needs measured use, which direct mode does not have
[quota.student] | quota.student (config/broker.toml:1): is a section, not a setting; it holds quota.student.sessions_per_month
[quota] ⏎ student = 300 | quota.student (config/broker.toml:2): is a section
[quota.student] ⏎ minutes_per_week = 0 | quota.student.minutes_per_week (config/broker.toml:2): must be between 1 and 1000000
[quota.student] ⏎ money_per_day = 0.5 | quota.student.money_per_day (config/broker.toml:2): must be an amount of dollars
[quota.student] ⏎ money_per_day = '0' | must be an amount of dollars
[transcription] ⏎ models = ['gpt 4o'] | transcription.models (config/broker.toml:2): entry 1 of 1 must be the name of a model
[transcription] ⏎ timeout = '30s' | must not be longer than transcription.timeout
[transcription] ⏎ max_in_flight = 0 | transcription.max_in_flight (config/broker.toml:2): must be between 1 and 10000
[money] ⏎ per_day = '1,50' | money.per_day (config/broker.toml:2): must be an amount of dollars
[money] ⏎ prices = 'nowhere.toml' | money.prices (config/broker.toml:2): nowhere.toml cannot be read
[quota.student] ⏎ minutes_per_week = 30 | quota.student (config/broker.toml:2): limits time, turns or money, which direct mode does not measure, and persona
[quota.default] ⏎ minutes_per_day = 30 | quota.default (config/broker.toml:2): limits time, turns or money
[[quota.exceptions]] ⏎ issuer = 'x' ⏎ subject = 'y' ⏎ minutes_per_day = 30 | quota.exceptions[1] (config/broker.toml:2): limits time, turns or money
[quota.student.call] ⏎ max_turns = 5 | quota.student (config/broker.toml:2): limits time, turns or money
[connect] ⏎ mode = 'phone' | connect.mode (config/broker.toml:2): must be direct, call or relay
[connect] ⏎ public_url = 'http://voice.example.com' | connect.public_url (config/broker.toml:2): must be https unless it is on this machine
[connect] ⏎ public_url = 'voice.example.com' | connect.public_url (config/broker.toml:2): must be a whole address
[connect] ⏎ public_url = 'https://voice.example.com/?a=b' | connect.public_url (config/broker.toml:2): must end with its path
[quota.student] ⏎ minutes_a_week = 30 | the nearest is quota.student.minutes_per_week
[quota.student.call] ⏎ max_duration = '5s' | quota.student.call.max_duration (config/broker.toml:2): must be between 15s and 1h
[quota.student] ⏎ call.max_money = '0' | quota.student.call.max_money (config/broker.toml:2): must be an amount of dollars
[quota.student.call] ⏎ max_live = 5 | quota.student.call.max_live (config/broker.toml:2): is not a setting
[[quota.student]] ⏎ sessions_per_month = 5 | quota.student (config/broker.toml:1): is a section, not a list: write [quota.student] once, with one bracket
[[quota.default]] ⏎ sessions_per_month = 5 | quota.default (config/broker.toml:1): is a section, not a list: write [quota.default] once, with one bracket
[[quota.student]] | quota.student (config/broker.toml:1): must be
[quota] ⏎ student = [{ sessions_per_month = 5 }] | quota.student (config/broker.toml:2): is a section, not a list
[[limits]] ⏎ token = '5/60s' | limits (config/broker.toml:1): is a section, not a list: write [limits] once, with one bracket
[quota.student] ⏎ '[1]' = 5 | quota.student[1] (config/broker.toml:2): is not a setting
[[quota]] ⏎ student.sessions_per_month = 5 | quota (config/broker.toml:1): is a section
[quota.exceptions] ⏎ '[2]' = 5 | is a list of tables: write [[quota.exceptions]]
[quota.exceptions.'[2]'] ⏎ issuer = 'x' | is a list of tables: write [[quota.exceptions]]
quota = 300 | quota (config/broker.toml:1): is a section
[quota.exceptions] ⏎ issuer = 'x' | is a list of tables: write [[quota.exceptions]]
[[quota.exceptions]] ⏎ issuer = 'x' ⏎ subject = 'y' | quota.exceptions[1].sessions_per_month (config/broker.toml:2): is required
[[quota.exceptions]] ⏎ issuer = 'x' ⏎ subject = 'y' ⏎ sessions_per_month = '1' | quota.exceptions[1].sessions_per_month (config/broker.toml:4): must be a whole number
[[quota.exceptions]] ⏎ issuer = 'x' ⏎ subject = 'y' ⏎ sessions_per_month = -1 | must be between 1 and
[[quota.exceptions]] ⏎ subject = 'y' ⏎ sessions_per_month = 1 | quota.exceptions[1].issuer (config/broker.toml:2): is required
[[quota.exceptions]] ⏎ issuer = 'x' ⏎ subjects = 'y' ⏎ subject = 'y' ⏎ sessions_per_month = 1 | quota.exceptions[1].subjects (config/broker.toml:3): is not a field of quota.exceptions; the nearest is subject
[[quota.exceptions]] ⏎ issuer = 'x' ⏎ subject = 'y' ⏎ sessions_per_month = 1 ⏎ [[quota.exceptions]] ⏎ issuer = 'x' ⏎ subject = 'y' ⏎ sessions_per_month = 2 | quota.exceptions[2].subject (config/broker.toml:7): is excepted twice
";

#[test]
fn every_bad_quota_is_refused_by_name_and_line() {
    for row in BAD_FILES.lines().filter(|row| !row.is_empty()) {
        let (text, says) = row.split_once(" | ").unwrap();
        let refusal = refusal(Mode::Serve, &good_and_file(&text.replace(" ⏎ ", "\n")));
        assert!(refusal.contains(says), "{row}: {refusal}");
        assert_eq!(refusal.lines().count(), 3, "{row}: {refusal}");
    }
}

#[test]
fn a_list_has_a_longest_length() {
    let table = |number: usize| {
        format!(
            "[[quota.exceptions]]\nissuer = 'x'\nsubject = '{number}'\nsessions_per_month = 1\n"
        )
    };
    let many = |count| (0..count).map(table).collect::<String>();
    let quota = serve(&good_and_file(&many(1000))).config.quota;
    assert_eq!(quota.exceptions.len(), 1000);
    let refusal = refusal(Mode::Serve, &good_and_file(&many(1001)));
    let says = "quota.exceptions (config/broker.toml:1): holds more than 1000 tables";
    assert!(refusal.contains(says), "{refusal}");
}
