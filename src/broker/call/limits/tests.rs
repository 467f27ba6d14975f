//! Tests the leash over time.

use super::*;
use crate::domain::{Hold, PersonaCalls};

const MINUTE: Duration = Duration::from_mins(1);

fn settings() -> CallSettings {
    CallSettings {
        max_duration: MINUTE * 10,
        idle_timeout: MINUTE,
        join_timeout: Duration::from_secs(15),
        warn_before: Duration::from_secs(30),
        grace: Duration::from_secs(10),
        farewell: Farewell::None,
        max_turns: 0,
        max_money: None,
        max_parallel_responses: 2,
        max_live: 2,
        max_live_network: 5,
        max_live_anonymous: 10,
        max_live_total: 100,
        persona: Hold::Watched,
        strip_candidates: true,
    }
}

fn at(seconds: u64) -> Tick {
    Tick::from_duration(Duration::from_secs(1_000_000 + seconds))
}

fn leash(settings: &CallSettings) -> Leash {
    let deadline = at(0).plus(settings.max_duration);
    Leash::new(settings, at(0), deadline)
}

/// Wakes the leash whenever it is due, until `end`. Speech comes every ten seconds if `talks`.
fn run(leash: &mut Leash, talks: bool, end: Tick) -> Vec<(u64, Act)> {
    let (mut seen, mut now) = (Vec::new(), at(0));
    while now < end && !leash.has_ended {
        let next = leash.due().min(end);
        assert!(next > now, "the leash is due at {next:?}, which has passed");
        now = next.min(now.plus(Duration::from_secs(10)));
        if talks {
            leash.lives(now);
        }
        let seconds = now.since(at(0)).as_secs();
        seen.extend(leash.woke(now).into_iter().map(|act| (seconds, act)));
    }
    seen
}

#[test]
fn sd02_a_call_is_warned_once_and_ends_at_its_limit() {
    let mut leash = leash(&settings());
    assert_eq!(
        run(&mut leash, true, at(700)),
        [
            (570, Act::Warn(Farewell::None)),
            (600, Act::End(EndReason::TimeLimit))
        ]
    );
    assert!(leash.woke(at(2000)).is_empty());
}

#[test]
fn sd03_a_goodbye_is_asked_for_at_the_limit_and_ends_the_call_once_it_was_heard_or_after_the_grace()
{
    let with_goodbye = CallSettings {
        farewell: Farewell::Goodbye,
        ..settings()
    };
    let mut heard = leash(&with_goodbye);
    heard.lives(at(595));
    assert_eq!(heard.woke(at(599)), [Act::Warn(Farewell::Goodbye)]);
    assert_eq!(heard.due(), at(600));
    assert_eq!(heard.woke(at(600)), [Act::SayGoodbye]);
    // The sound that was played before is not the goodbye.
    assert!(heard.was_played(at(600)).is_empty());
    assert!(heard.response_began("resp_1", true, at(601)).is_empty());
    assert!(heard.response_ended("resp_1", at(602)).is_empty());
    assert_eq!(heard.was_played(at(605)), [Act::End(EndReason::TimeLimit)]);

    let mut unheard = leash(&with_goodbye);
    let acts = run(&mut unheard, true, at(700));
    assert_eq!(acts.last(), Some(&(610, Act::End(EndReason::TimeLimit))));
}

#[test]
fn ca25_a_page_without_a_sign_of_life_has_not_joined_unless_it_can_give_none() {
    let mut silent = leash(&settings());
    assert_eq!(
        run(&mut silent, false, at(700)),
        [(15, Act::End(EndReason::NotJoined))]
    );
    let locked = PersonaCalls {
        hold: Some(Hold::Locked),
        ..PersonaCalls::default()
    };
    let silent = PersonaCalls {
        greets: false,
        ..PersonaCalls::default()
    };
    for calls in [locked, silent] {
        let mut unheard = leash(&settings().of_persona(&calls));
        assert_eq!(
            run(&mut unheard, false, at(700)),
            [(60, Act::End(EndReason::Idle))]
        );
    }
}

#[test]
fn the_answer_of_the_last_turn_is_played_to_its_end_or_for_the_grace() {
    let settings = CallSettings {
        max_turns: 1,
        ..settings()
    };
    let last = [Act::End(EndReason::TurnLimit)];
    let spoken = || {
        let mut leash = leash(&settings);
        assert_eq!(leash.response_began("resp_1", true, at(1)), []);
        leash.is_played(at(2));
        assert_eq!(leash.response_ended("resp_1", at(3)), []);
        leash
    };
    let mut played = spoken();
    assert_eq!(
        played.response_began("resp_2", true, at(4)),
        [Act::Cancel("resp_2".into())]
    );
    assert_eq!(played.was_played(at(9)), last);
    let mut long = spoken();
    assert_eq!(long.due(), at(13));
    assert_eq!(long.woke(at(13)), last);
    let mut silent = leash(&settings);
    assert_eq!(silent.response_ended("resp_1", at(3)), last);
}

#[test]
fn sd05_a_call_without_speech_for_a_minute_is_idle_and_speech_in_the_last_second_saves_it() {
    let mut leash = leash(&settings());
    leash.joined(at(1));
    leash.joined(at(40));
    leash.lives(at(59));
    assert!(leash.woke(at(60)).is_empty());
    assert_eq!(leash.due(), at(119));
    assert_eq!(leash.woke(at(119)), [Act::End(EndReason::Idle)]);
}

#[test]
fn sd12_a_call_without_a_side_channel_for_thirty_seconds_ends() {
    let mut leash = leash(&settings());
    leash.lives(at(9));
    leash.sees(false, at(10));
    leash.sees(false, at(20));
    assert_eq!(leash.due(), at(40));
    leash.sees(true, at(39));
    assert_eq!(leash.due(), at(69));
    leash.sees(false, at(39));
    assert_eq!(leash.woke(at(69)), [Act::End(EndReason::Blind)]);
}

#[test]
fn the_last_turn_ends_the_call() {
    let mut leash = leash(&CallSettings {
        max_turns: 2,
        ..settings()
    });
    assert!(leash.response_ended("resp_1", at(1)).is_empty());
    assert_eq!(
        leash.response_ended("resp_2", at(2)),
        [Act::End(EndReason::TurnLimit)]
    );
}

#[test]
fn sd06_the_fourth_correction_within_ten_seconds_ends_the_call_and_slower_ones_do_not() {
    let mut slow = leash(&settings());
    for second in 0..100 {
        assert!(slow.corrected(at(second * 4)).is_empty());
    }
    let mut fast = leash(&settings());
    for second in 0..3 {
        assert!(fast.corrected(at(second)).is_empty());
    }
    assert_eq!(
        fast.corrected(at(9)),
        [Act::End(EndReason::PersonaViolation)]
    );
}

#[test]
fn sd09_responses_beyond_the_persona_or_beyond_the_bound_are_cancelled() {
    let mut leash = leash(&settings());
    let cancelled = |id: &str| vec![Act::Cancel(id.into())];
    assert_eq!(leash.response_began("a", false, at(1)), cancelled("a"));
    assert!(leash.response_began("b", true, at(1)).is_empty());
    assert_eq!(leash.response_began("c", true, at(2)), cancelled("c"));
    leash.response_ended("a", at(3));
    leash.response_ended("c", at(3));
    assert!(leash.response_began("d", true, at(3)).is_empty());
}

#[test]
fn sd20_a_call_whose_use_cannot_be_recorded_for_two_minutes_ends() {
    let mut leash = leash(&settings());
    leash.is_recorded(false, at(10));
    leash.lives(at(100));
    leash.is_recorded(false, at(100));
    assert_eq!(leash.due(), at(130));
    assert_eq!(leash.woke(at(130)), [Act::End(EndReason::Blind)]);
}

#[test]
fn sd04_a_call_that_has_cost_its_money_ends() {
    let cents = |text| Money::parse(text).unwrap();
    let mut leash = leash(&CallSettings {
        max_money: Some(cents("0.10")),
        ..settings()
    });
    assert!(leash.has_cost(cents("0.099")).is_empty());
    assert_eq!(
        leash.has_cost(cents("0.10")),
        [Act::End(EndReason::MoneyLimit)]
    );
}

#[test]
fn mo13_a_call_without_money_is_warned_and_ends_after_the_grace_or_with_the_next_answer() {
    let broke = || {
        let mut leash = leash(&settings());
        leash.lives(at(9));
        assert_eq!(leash.is_broke(at(10)), [Act::Warn(Farewell::None)]);
        assert!(leash.is_broke(at(12)).is_empty());
        leash
    };
    let end = || Act::End(EndReason::MoneyLimit);
    let mut silent = broke();
    let left = Duration::from_secs(8);
    assert_eq!(silent.ends_soon(at(12)), (EndReason::MoneyLimit, left));
    assert_eq!(silent.due(), at(20));
    assert_eq!(silent.woke(at(20)), [end()]);
    assert_eq!(broke().was_played(at(13)), [end()]);
    let next = broke().response_began("a", true, at(14));
    assert_eq!(next, [Act::Cancel("a".into()), end()]);
}
