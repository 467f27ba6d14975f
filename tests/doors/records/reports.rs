//! Reports: whatever happened, they say what a naive count over all entries says.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use token_broker::clock::Timestamp;
use token_broker::domain::{Account, EntryId, Intent, Kind, Outcome, PersonaName};
use token_broker::records::{By, Records, UsageQuery, UsageRow, measures};

use super::kinds::{FAILED, START, Subject, UNCERTAIN, account, each, mint, minted, settled};

/// One thing that happens. Numbers pick one of what is there.
#[derive(Clone, Debug)]
enum Step {
    Reserve {
        kind: Kind,
        subject: Option<u8>,
        role: Option<u8>,
        hours: u64,
    },
    Settle(usize, u8),
    GiveUp(u64),
    Forget(u64),
    Erase(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![3 => Just(Kind::Mint), 1 => Just(Kind::Refresh), 1 => Just(Kind::Call), 1 => Just(Kind::Redemption)];
    let reserve = (
        kind,
        prop::option::of(0..3_u8),
        prop::option::of(0..2_u8),
        0..72_u64,
    )
        .prop_map(|(kind, subject, role, hours)| Step::Reserve {
            kind,
            subject,
            role,
            hours,
        });
    let step = prop_oneof![
        6 => reserve,
        6 => (any::<usize>(), 0..4_u8).prop_map(|(place, outcome)| Step::Settle(place, outcome)),
        1 => (0..72_u64).prop_map(Step::GiveUp),
        1 => (0..48_u64).prop_map(Step::Forget),
        1 => (0..3_u8).prop_map(Step::Erase),
    ];
    prop::collection::vec(step, 1..40)
}

/// All entries, in a list.
#[derive(Default)]
struct Naive(Vec<(Intent, Option<Outcome>)>);

fn hour(hours: u64) -> Timestamp {
    START.plus(Duration::from_hours(hours))
}

fn outcome(number: u8) -> Outcome {
    [minted(), FAILED, UNCERTAIN, Outcome::Undelivered][usize::from(number)].clone()
}

impl Naive {
    /// Does the same to the ledger and to the list.
    async fn step(&mut self, ledger: &dyn Records, step: &Step) {
        match step {
            Step::Reserve {
                kind,
                subject,
                role,
                hours,
            } => {
                let intent = Intent {
                    kind: *kind,
                    account: subject.map(|subject| account(&format!("user-{subject}"))),
                    role: role.map(|role| format!("role-{role}").into()),
                    persona: PersonaName::parse(&format!("persona-{}", hours % 2)).unwrap(),
                    ..mint("", hour(*hours))
                };
                ledger.reserve(intent.clone()).await.unwrap();
                self.0.push((intent, None));
            }
            Step::Settle(place, number) => self.settle(ledger, *place, outcome(*number)).await,
            Step::GiveUp(hours) => {
                let mut number = 0;
                for (_, outcome) in self
                    .0
                    .iter_mut()
                    .filter(|(intent, outcome)| outcome.is_none() && intent.at < hour(*hours))
                {
                    *outcome = Some(UNCERTAIN);
                    number += 1;
                }
                assert_eq!(ledger.give_up(hour(*hours), None).await.unwrap(), number);
            }
            Step::Forget(hours) => {
                let before = self.0.len();
                self.0.retain(|(intent, _)| intent.at >= hour(*hours));
                let number = (before - self.0.len()) as u64;
                assert_eq!(ledger.forget(hour(*hours)).await.unwrap(), number);
            }
            Step::Erase(subject) => {
                let before = self.0.len();
                let gone = account(&format!("user-{subject}"));
                self.0
                    .retain(|(intent, _)| intent.account.as_ref() != Some(&gone));
                let number = (before - self.0.len()) as u64;
                assert_eq!(ledger.erase(&gone).await.unwrap(), number);
            }
        }
    }

    async fn settle(&mut self, ledger: &dyn Records, place: usize, next: Outcome) {
        let number = self.0.len().max(1);
        let Some((intent, before)) = self.0.get_mut(place % number) else {
            return;
        };
        let settlement = settled(intent.id, next.clone());
        ledger.settle(settlement).await.unwrap();
        let may = match before {
            None | Some(Outcome::Uncertain { .. }) => true,
            Some(Outcome::Minted { .. }) => next == Outcome::Undelivered,
            Some(_) => false,
        };
        if may {
            *before = Some(next);
        }
    }

    fn report(&self, by: By, since: Timestamp) -> Vec<UsageRow> {
        let day = |moment: Timestamp| moment.as_seconds() / 86_400;
        let name = |day: u64| format!("2026-11-{:02}", 22 + day - START.as_seconds() / 86_400);
        let mut rows: BTreeMap<(String, String), BTreeMap<&str, u64>> = BTreeMap::new();
        for (intent, outcome) in &self.0 {
            if day(intent.at) < day(since) {
                continue;
            }
            let role = intent.role.as_deref().unwrap_or_default().to_owned();
            let account = intent.account.as_ref();
            let (issuer, subject) = account.map_or_else(Default::default, |account| {
                (account.issuer.to_string(), account.subject.to_string())
            });
            let key = match by {
                By::Day => (name(day(intent.at)), role),
                By::Role => (role, String::new()),
                By::Persona => (intent.persona.to_string(), String::new()),
                By::User => (issuer, subject),
                By::Model => continue,
            };
            let sums = rows.entry(key).or_default();
            let counted = match (outcome, intent.kind) {
                (Some(Outcome::Failed { .. }), _) => "failed",
                (_, Kind::Mint | Kind::Call) => "sessions",
                (_, Kind::Refresh) => "refreshes",
                (_, Kind::Redemption) => "calls",
                (_, Kind::Transcription) => continue,
            };
            *sums.entry(counted).or_default() += 1;
            let is_call = counted == "sessions" && intent.kind == Kind::Call;
            *sums.entry("calls").or_default() += u64::from(is_call);
            let is_uncertain = matches!(outcome, Some(Outcome::Uncertain { .. }));
            *sums.entry("uncertain").or_default() += u64::from(is_uncertain);
            let last = sums.entry("last_at").or_default();
            *last = intent.at.as_millis().max(*last);
        }
        let mut rows: Vec<_> = rows
            .into_iter()
            .map(|((one, two), sums)| {
                let sums = serde_json::from_value(serde_json::json!(sums)).unwrap();
                let mut row = UsageRow {
                    sums,
                    ..UsageRow::default()
                };
                match by {
                    By::Day => (row.day, row.role) = (Some(one), Some(two)),
                    By::Role => row.role = Some(one),
                    By::Persona => row.persona = Some(one),
                    By::User => (row.issuer, row.subject) = (Some(one), Some(two)),
                    By::Model => {}
                }
                row
            })
            .collect();
        match by {
            By::Day => rows.sort_by(|one, two| two.day.cmp(&one.day)),
            _ => rows.sort_by_key(|row| {
                std::cmp::Reverse((row.sums.get("sessions"), row.sums.get("refreshes")))
            }),
        }
        rows
    }
}

/// The days of each account add up to its row among all accounts.
async fn agrees_on_accounts(subject: &Subject, since: Timestamp) {
    let query = UsageQuery {
        by: By::User,
        since,
        most: 100,
    };
    for row in subject.ledger.usage(query).await.unwrap() {
        let account = Account {
            issuer: row.issuer.as_deref().unwrap().into(),
            subject: row.subject.as_deref().unwrap().into(),
        };
        let days = subject.ledger.usage_of(&account, since).await.unwrap();
        assert!(days.is_sorted_by(|one, two| one.day > two.day));
        for name in measures() {
            let sum: u64 = days.iter().map(|day| day.sums.get(name)).sum();
            assert_eq!(sum, row.sums.get(name), "{} {name}", subject.name);
        }
        let last = days.iter().map(|day| day.sums.last_at).max();
        assert_eq!(last, Some(row.sums.last_at), "{}", subject.name);
    }
}

async fn agrees(steps: &[Step]) {
    each(async |subject| {
        let mut naive = Naive::default();
        for step in steps {
            naive.step(&*subject.ledger, step).await;
        }
        // After an erasure the last use of what others share is still known.
        let erased = steps.iter().any(|step| matches!(step, Step::Erase(_)));
        for by in By::ALL {
            for since in [hour(0), hour(30)] {
                let query = UsageQuery {
                    by,
                    since,
                    most: 100,
                };
                let mut seen = subject.ledger.usage(query).await.unwrap();
                let mut expected = naive.report(by, since);
                if erased && by != By::User {
                    for row in seen.iter_mut().chain(&mut expected) {
                        row.sums.last_at = 0;
                    }
                }
                assert_eq!(seen, expected, "{} {by:?}", subject.name);
                let one = UsageQuery { most: 1, ..query };
                let use_of = |row: &UsageRow| (row.sums.get("sessions"), row.sums.get("refreshes"));
                let first = subject.ledger.usage(one).await.unwrap();
                let first: Vec<_> = first.iter().map(use_of).collect();
                let expected: Vec<_> = seen.iter().take(1).map(use_of).collect();
                assert_eq!(first, expected, "{} {by:?}", subject.name);
            }
        }
        agrees_on_accounts(&subject, hour(30)).await;
        let counted = naive.0.iter().filter(|(intent, outcome)| {
            intent.at >= hour(30) && !matches!(outcome, Some(Outcome::Failed { .. }))
        });
        let mut counted: Vec<(Timestamp, EntryId)> =
            counted.map(|(intent, _)| (intent.at, intent.id)).collect();
        counted.sort_unstable();
        let recent = subject.ledger.recent(hour(30)).await.unwrap();
        let seen: Vec<_> = recent.iter().map(|recent| recent.at).collect();
        let expected: Vec<_> = counted.iter().map(|(at, _)| *at).collect();
        assert_eq!(seen, expected, "{}", subject.name);
    })
    .await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reports_say_what_a_naive_count_says(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(agrees(&steps));
    }
}
