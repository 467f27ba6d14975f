//! Calls that the records do not know, or that nobody watches: they are hung up, or watched, however often that fails.

use std::sync::Arc;

use token_broker::records::CallRecords;
use token_broker::upstream::UpstreamError;

use super::leash::{done, named};
use super::{Opened, offer, pass, says};
use crate::fragile::{Fragile, fragile};
use crate::kit::in_process::TestApp;
use crate::kit::waiting::{SOON, eventually};

#[tokio::test]
async fn sd13_a_call_whose_id_cannot_be_written_down_is_hung_up_until_the_provider_confirms_it() {
    let (app, records) = fragile("");
    records.fail(false, true);
    for _ in 0..3 {
        app.calls.fail_hang_up(UpstreamError::Broken(500.into()));
    }
    offer(&app).send().await.is(503, "ledger_unavailable");
    assert!(app.calls.hung_up().is_empty());
    eventually("the hang-up", SOON, async || {
        pass(&app, 1).await;
        app.calls.hung_up().len() == 1
    })
    .await;
    pass(&app, 70).await;
    assert_eq!(app.calls.hung_up().len(), 1);
}

#[tokio::test]
async fn sd13_a_call_whose_id_is_written_down_late_owes_its_hang_up_from_then_on() {
    let (app, records) = fragile("[call]\nmax_live_network = 1\n");
    records.fail(false, true);
    for _ in 0..5 {
        app.calls.fail_hang_up(UpstreamError::Broken(500.into()));
    }
    offer(&app).send().await.is(503, "ledger_unavailable");
    records.fail(false, false);
    // The records owe it now, and whoever tends calls makes up for it.
    eventually("the obligation", SOON, async || {
        pass(&app, 1).await;
        records.owed_hang_ups().await.unwrap() == 1
    })
    .await;
    offer(&app).send().await.is(429, "call_limit");
    eventually("the hang-up", SOON, async || {
        pass(&app, 1).await;
        app.app.state().broker.tend_calls().await;
        app.calls.hung_up().len() == 1
    })
    .await;
    pass(&app, 2).await;
    Opened::by(&app).await;
}

#[tokio::test]
async fn ca07_a_call_that_is_created_late_is_hung_up_although_its_entry_could_not_be_settled() {
    let (app, records) = fragile("");
    let holds = app.calls.hold_exchange();
    let dialled = tokio::spawn(offer(&app).send());
    eventually("the exchange", SOON, async || {
        tokio::task::yield_now().await;
        app.calls.orders().len() == 1
    })
    .await;
    records.fail(true, true);
    eventually("the answer", SOON, async || {
        pass(&app, 1).await;
        dialled.is_finished()
    })
    .await;
    dialled.await.unwrap().is(503, "ledger_unavailable");
    drop(holds);
    eventually("the hang-up", SOON, async || {
        pass(&app, 1).await;
        app.calls.hung_up().len() == 1
    })
    .await;
}

#[tokio::test]
async fn sd17_calls_whose_claim_got_no_answer_are_watched_nevertheless() {
    let (one, records) = fragile("");
    Opened::by(&one).await;
    let (ledger, clock) = (Arc::<Fragile>::clone(&records), Arc::clone(&one.clock));
    let two = TestApp::over(ledger, clock, ("", &[]));
    records.lose_claim();
    let broker = two.app.state().broker.clone();
    broker.tend_calls().await;
    pass(&two, 1).await;
    assert!(two.calls.channels().is_empty());
    broker.tend_calls().await;
    eventually("the side channel", SOON, async || {
        pass(&two, 1).await;
        two.calls.channels().len() == 1
    })
    .await;
    broker.tend_calls().await;
    pass(&two, 2).await;
    assert_eq!(two.calls.channels().len(), 1);
}

#[tokio::test]
async fn sd12_a_call_that_the_records_have_lost_is_hung_up_with_its_next_use_or_at_its_limit() {
    for speaks in [true, false] {
        let (app, records) = fragile("[call]\nmax_duration = '60s'\npersona = 'free'\n");
        Opened::by(&app).await;
        let side = named(&app);
        side.say(&says("input_audio_buffer.speech_started"));
        pass(&app, 1).await;
        records.lose_calls();
        if speaks {
            side.say(&done("resp_1"));
        }
        drop(side);
        app.calls.fail_hang_up(UpstreamError::Broken(500.into()));
        let lasts = if speaks { 10 } else { 65 };
        pass(&app, lasts).await;
        assert_eq!(app.calls.hung_up().len(), 1, "{speaks}");
    }
}

#[tokio::test]
async fn sd02_a_call_whose_end_was_written_down_without_an_answer_is_hung_up_at_once() {
    let (app, records) =
        fragile("[call]\nmax_duration = '20s'\nwarn_before = '5s'\npersona = 'free'\n");
    let call = Opened::by(&app).await;
    named(&app).say(&says("input_audio_buffer.speech_started"));
    records.lose_end();
    pass(&app, 21).await;
    assert_eq!(app.calls.hung_up().len(), 1);
    assert_eq!(call.look(&app).await["reason"], "time_limit");
}
