//! Ambiguous requests, straight and through nginx: never more is handled than was sent.

use token_broker::simulator::Simulator;
use tokio::task::JoinSet;

use super::ambiguous_table::{Case, table};
use crate::kit::executable::{Broker, Launch};
use crate::kit::provider::simulator;
use crate::kit::waiting::amid_the_work;
use crate::kit::wire::{Heard, Wire};

/// A broker that refuses nothing for being too much.
pub async fn broker(extra: &[(&str, &str)]) -> (Broker, Simulator) {
    let simulator = simulator(&[]).await;
    let usual = [
        ("limits.token", "1000/60s"),
        ("limits.token_network", "1000/60s"),
        ("upstream.mints_per_second", "1000"),
        ("guard.never_block", "127.0.0.1"),
        ("server.header_timeout", "2s"),
        ("server.keep_alive", "2s"),
        ("server.body_timeout", "2s"),
    ];
    let all = usual.iter().chain(extra);
    let launch = all.fold(Launch::serve(&simulator), |launch, (name, value)| {
        launch.set(name, value)
    });
    (launch.start().await, simulator)
}

#[test]
fn the_corpus_is_large_and_names_every_case_once() {
    let table = table();
    let mut names: Vec<_> = table.iter().map(|case| &case.name).collect();
    names.sort_unstable();
    names.dedup();
    assert!(
        names.len() >= 60 && names.len() == table.len(),
        "{}",
        names.len()
    );
}

#[tokio::test]
async fn an_ambiguous_request_is_refused_or_read_in_the_one_right_way() {
    let (broker, simulator) = broker(&[]).await;
    let address = broker.address;
    let (table, mut asking) = (table(), JoinSet::new());
    for case in table.clone() {
        asking.spawn(async move {
            let mut wire = Wire::to(address).await;
            wire.send(&case.bytes).await;
            // Closed at the latest when nothing more comes.
            (case, wire.hear().await)
        });
    }
    let heard = asking.join_all().await;
    let wrong: Vec<_> = heard
        .iter()
        .filter_map(|(case, heard)| complaint(case, heard))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        table.len(),
        wrong.join("\n")
    );

    let promised: usize = table.iter().map(|case| case.mints).sum();
    assert_eq!(simulator.seen(), promised as u64);
    let sent: usize = table.iter().map(|case| case.statuses.len()).sum();
    let ended = broker.stop().await;
    let handled = ended.out.matches("\"target\":\"access\"").count();
    assert!(handled <= sent, "{handled} requests handled of {sent}");
    assert_eq!(
        ended.out.matches("\"event\":\"token_minted\"").count(),
        promised
    );
    assert_eq!(ended.err, "");
}

fn complaint(case: &Case, heard: &Heard) -> Option<String> {
    let got = (heard.statuses(), heard.secrets());
    let right = got.0 == case.statuses && got.1 == case.mints;
    (!right).then(|| {
        format!(
            "{}: {got:?}, not {:?} with {} mints",
            case.name, case.statuses, case.mints
        )
    })
}

#[tokio::test]
async fn a_request_that_comes_byte_by_byte_is_the_same_request() {
    let (broker, simulator) = broker(&[]).await;
    let mut wire = Wire::to(broker.address).await;
    wire.0.set_nodelay(true).unwrap();
    for byte in crate::kit::wire::MINT.bytes() {
        wire.send([byte]).await;
        // Each byte in a packet of its own, which the broker leaves with the kernel until the head is complete.
        amid_the_work(1).await;
    }
    assert_eq!(wire.answer().await.status, 200);
    assert_eq!(simulator.minted(), 1);
}

#[tokio::test]
async fn a_thousand_pipelined_refusals_are_answered_in_order_and_mint_nothing() {
    let (broker, simulator) = broker(&[]).await;
    let mut wire = Wire::to(broker.address).await;
    let pair = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /token HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let last = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let sent = wire.send(pair.repeat(500) + last).await;
    let heard = wire.hear().await;
    let statuses = heard.statuses();
    assert!(sent && statuses.len() == 1001, "{}", statuses.len());
    assert!(
        statuses
            .iter()
            .enumerate()
            .all(|(number, status)| *status == if number % 2 == 0 { 200 } else { 405 })
    );
    assert_eq!(simulator.seen(), 0);
}
