//! What every kind promises of transcriptions: they hold like calls, and are counted as what they are.

use std::time::Duration;

use token_broker::clock::{Clock, SystemClock};
use token_broker::domain::{
    Amount, Budget, Budgets, Call, CallState, CallStep, CallUse, Dial, Intent, Kind, Limit, Mark,
    Money, Outcome, PersonaName, Tokens, Usage,
};
use token_broker::records::{By, Records, ReserveError, UsageQuery, UsageRow};

use super::calls::{MANY, change, dial, use_of};
use super::kinds::{START, account, each, minted, settled};
use super::sessions::verified;

/// Opens a transcription of a minute's hold and a cent, of ana, who has two minutes a day.
async fn open(records: &dyn Records) -> Result<Call, ReserveError> {
    let caller = verified(account("ana"));
    let day = Limit {
        seconds: Some(120),
        money: None,
    };
    let own = Budget {
        day,
        ..Budget::default()
    };
    let dial = Dial {
        want: Amount {
            seconds: 60,
            money: Money::from_nanos(10_000_000),
        },
        budgets: Budgets {
            own,
            ..Budgets::default()
        },
        ..dial(&caller)
    };
    // A server's clock is that of this machine.
    let intent = Intent {
        at: SystemClock::new().now(),
        kind: Kind::Transcription,
        persona: PersonaName::of_transcriptions(),
        ..use_of(&caller)
    };
    records.open_call(intent, dial, MANY).await
}

/// What a transcription of 4.2 seconds uses.
fn used() -> CallUse {
    CallUse {
        id: "transcription".into(),
        is_turn: false,
        model: "whisper-1".into(),
        mark: Mark::Estimated,
        usage: Usage {
            output: Tokens {
                text: 7,
                ..Tokens::default()
            },
            transcribed: Duration::from_millis(4_200),
            ..Usage::default()
        },
        cost: Money::from_nanos(420_000),
    }
}

const MEASURES: [&str; 7] = [
    "sessions",
    "calls",
    "seconds",
    "output_text",
    "transcribed_ms",
    "nanodollars",
    "estimated_nanodollars",
];

async fn by_persona(records: &dyn Records) -> Vec<UsageRow> {
    let query = UsageQuery {
        by: By::Persona,
        since: START,
        most: 10,
    };
    records.usage(query).await.unwrap()
}

#[tokio::test]
async fn a_transcription_holds_until_its_end_and_counts_its_seconds_and_no_session() {
    each(async |subject| {
        let (name, records) = (subject.name, &*subject.ledger);
        let first = open(records).await.unwrap();
        open(records).await.unwrap();
        let full = open(records).await;
        assert!(
            matches!(full, Err(ReserveError::Exhausted(_))),
            "{name}: {full:?}"
        );
        for _ in 0..2 {
            records.use_call(first.entry, used()).await.unwrap();
        }
        let ended = change(
            records,
            &first,
            CallStep::Transcribed(Duration::from_millis(4_200)),
        )
        .await;
        let ended = ended.unwrap();
        assert_eq!(
            (ended.state, ended.used.seconds),
            (CallState::Ended, 5),
            "{name}"
        );
        let again = CallStep::Transcribed(Duration::from_secs(9));
        assert_eq!(change(records, &first, again).await, None, "{name}");
        records
            .settle(settled(first.entry, minted()))
            .await
            .unwrap();
        let third = open(records).await.unwrap();
        assert_eq!(third.held.seconds, 55, "{name}: five seconds are spent");

        let rows = by_persona(records).await;
        assert_eq!(rows[0].persona.as_deref(), Some("transcription"), "{name}");
        let sums = MEASURES.map(|name| rows[0].sums.get(name));
        assert_eq!(sums, [0, 0, 5, 7, 4_200, 420_000, 420_000], "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_transcription_that_failed_gives_back_what_it_held() {
    each(async |subject| {
        let (name, records) = (subject.name, &*subject.ledger);
        for _ in 0..3 {
            let opened = open(records).await.unwrap();
            let failed = settled(opened.entry, Outcome::Failed { code: "refused" });
            records.settle(failed).await.unwrap();
        }
        assert_eq!(open(records).await.unwrap().held.seconds, 60, "{name}");
    })
    .await;
}
