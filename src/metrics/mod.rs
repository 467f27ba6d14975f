//! Measures of the service for Prometheus: every series by its name, and the counts behind `/health`.

mod cells;
mod process;
mod text;
mod vitals;

pub use cells::{Counts, Family, Latency, Length, Level, Nanos, Total};
pub use process::open_files;
pub use text::Form;
pub use vitals::{Reading, Vitals};

use text::Page;

/// Declares [`Series`]: a field for each series, with the kind and the number of its labels, its name, labels and meaning.
macro_rules! series {
    ($($field:ident: $kind:ident<$number:literal> = $name:literal $labels:tt $help:literal;)*) => {
        /// Every series that the broker exports. Values of labels come from small sets, and each family bounds them again.
        pub struct Series {
            $(#[doc = $help] pub $field: Family<$number, $kind>,)*
        }

        impl Default for Series {
            fn default() -> Self {
                Self { $($field: Family::new($name, $help, $labels),)* }
            }
        }

        impl Series {
            fn write(&self, page: &mut Page) {
                $(self.$field.write(page);)*
            }
        }
    };
}

series! {
    build_info: Level<1> = "broker_build_info" ["version"] "Always 1. The label names the running version.";
    draining: Level<0> = "broker_draining" [] "1 while the replica is about to stop.";
    condition: Level<1> = "broker_condition" ["part"] "Condition of a part: 0 operational, 1 degraded, 2 down.";

    http_requests: Total<3> = "broker_http_requests_total" ["route", "method", "code"] "Requests by route pattern, method and status, without probes. The code `left` means that the caller did not wait for the answer.";
    http_duration: Latency<2> = "broker_http_request_duration_seconds" ["route", "method"] "Time from a request to its answer.";
    own_duration: Latency<1> = "broker_http_own_duration_seconds" ["route"] "Time from a request to its answer without the time that the provider took. Counts only requests that asked the provider.";
    refusals: Total<2> = "broker_refusals_total" ["code", "route"] "Requests that failed, by the error code of their answer.";
    rate_limited: Total<2> = "broker_rate_limited_total" ["limit", "route"] "Requests refused by a limit, a quota or a budget, by its setting.";

    auth_failures: Total<1> = "broker_auth_failures_total" ["reason"] "Credentials and tickets that were refused.";
    origin_rejected: Total<1> = "broker_origin_rejected_total" ["reason"] "Requests from origins that are not allowed, sent by a page or by a program.";
    anomalies: Total<1> = "broker_anomalies_total" ["reason"] "Offences that add to the score of an address or an identity.";
    blocks: Total<1> = "broker_blocks_total" ["reason"] "Blocks of addresses and identities, by the last offence.";
    audit_events: Total<1> = "broker_audit_events_total" ["event"] "Audit events, folded ones included.";

    minted: Total<3> = "broker_tokens_minted_total" ["role", "model", "outcome"] "Mints of client secrets and tickets. The model is empty when nothing was minted.";
    refreshed: Total<3> = "broker_token_refreshes_total" ["role", "model", "outcome"] "Refreshes of sessions.";
    sessions: Level<0> = "broker_sessions_active" [] "Sessions that can be refreshed, on all replicas.";

    upstream_duration: Latency<2> = "broker_upstream_request_duration_seconds" ["operation", "outcome"] "Time that the provider took for an operation.";
    upstream_errors: Total<2> = "broker_upstream_errors_total" ["operation", "kind"] "Operations that failed at the provider, or before they could ask it.";
    breaker_open: Level<0> = "broker_upstream_breaker_open" [] "1 while the circuit breaker is open, so that no requests are sent to the provider.";
    key_rejected: Level<1> = "broker_key_rejected" ["key"] "1 while the provider rejects the API key.";
    key_success: Level<1> = "broker_key_last_success_timestamp_seconds" ["key"] "Time of the last operation that the provider carried out; 0 before the first.";
    key_cost: Nanos<2> = "broker_key_cost_usd_total" ["key", "source"] "Money that calls and transcriptions cost, measured or estimated, by the API key that pays.";

    calls_open: Level<0> = "broker_calls_open" [] "Calls that this replica watches, without relays.";
    relays_open: Level<0> = "broker_relay_connections" [] "Relays that this replica carries.";
    call_duration: Length<2> = "broker_call_duration_seconds" ["role", "end_reason"] "Duration of calls and relays that ended, from the page's first sign of life; the count is that of ends by reason.";
    hang_ups: Total<1> = "broker_hang_ups_total" ["outcome"] "Hang-ups that the provider confirmed, or did not confirm.";
    hang_ups_pending: Level<0> = "broker_hangups_pending" [] "Calls whose hang-up is owed, on all replicas.";
    side_channel_reconnects: Total<0> = "broker_side_channel_reconnects_total" [] "Side channels that were joined again after a loss.";
    odd_events: Total<1> = "broker_side_channel_odd_events_total" ["kind"] "Events of calls and relays that were ignored, because they are unknown, incomplete or no event, and errors that the provider reported.";
    persona_corrections: Total<0> = "broker_persona_corrections_total" [] "Changes of pinned fields that were undone.";

    announcements: Total<1> = "broker_live_announcements_total" ["outcome"] "GPT-Live sessions that the provider announced: known, adopted, unowned, closed, over or old.";

    usage_tokens: Total<6> = "broker_usage_tokens_total" ["direction", "modality", "cache", "model", "role", "source"] "Tokens of calls and transcriptions. The labels cut one sum into parts.";
    usage_audio: Nanos<3> = "broker_usage_transcribed_seconds_total" ["model", "role", "source"] "Audio that is billed by its duration.";
    usage_cost: Nanos<3> = "broker_usage_cost_usd_total" ["model", "role", "source"] "Money that calls and transcriptions cost, measured or estimated.";
    price_misses: Total<1> = "broker_price_lookup_misses_total" ["model"] "Uses without a price. The cost does not contain them.";
    budget_spent: Level<1> = "broker_budget_spent_usd" ["budget"] "Money that calls cost in the period of a budget, on all replicas.";
    budget_limit: Level<1> = "broker_budget_limit_usd" ["budget"] "Limit of the budget. Absent when none is set.";

    ledger_queue: Level<0> = "broker_ledger_queue_length" [] "Commands that wait to be written.";
    ledger_commits: Total<0> = "broker_ledger_commits_total" [] "Transactions that were committed.";
    ledger_written: Total<0> = "broker_ledger_commands_total" [] "Commands that were written, many in one transaction.";
    ledger_dropped: Total<0> = "broker_ledger_dropped_total" [] "Settlements that were dropped in a long outage. Their reservations stay counted.";
    store_errors: Total<1> = "broker_store_errors_total" ["store"] "Losses of the database; late answers, rejected calls and lost connections of Redis.";

    log_dropped: Total<0> = "broker_log_lines_dropped_total" [] "Log lines that were dropped because standard output was not read.";
    workers: Level<0> = "broker_runtime_workers" [] "Threads that run tasks.";
    tasks: Level<0> = "broker_runtime_tasks" [] "Tasks that exist.";
    task_queue: Level<0> = "broker_runtime_queue_length" [] "Tasks that wait in the common queue.";

    process_cpu: Nanos<0> = "process_cpu_seconds_total" [] "CPU time of the process.";
    process_start: Level<0> = "process_start_time_seconds" [] "Time at which the service started.";
    process_resident: Level<0> = "process_resident_memory_bytes" [] "Resident memory.";
    process_virtual: Level<0> = "process_virtual_memory_bytes" [] "Virtual memory.";
    process_threads: Level<0> = "process_threads" [] "Threads of the process.";
    process_fds: Level<0> = "process_open_fds" [] "Open file descriptors.";
    process_max_fds: Level<0> = "process_max_fds" [] "Most file descriptors that may be open.";
}

impl Series {
    /// Returns all series as text, with the figures of the process at this moment.
    pub fn page(&self, form: Form) -> String {
        self.look_at_process();
        let mut page = Page::new(form);
        self.write(&mut page);
        page.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn lines(text: &str, start: &str) -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with(start));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn both_forms_name_a_counter_as_their_rules_say() {
        let series = Series::default();
        series.http_requests.add(["/token", "POST", "200"], 2);
        let sample = "broker_http_requests_total{route=\"/token\",method=\"POST\",code=\"200\"} 2";
        let plain = series.page(Form::Text);
        assert_eq!(lines(&plain, "broker_http_requests_total{"), [sample]);
        assert!(plain.contains("# TYPE broker_http_requests_total counter\n"));
        let open = series.page(Form::OpenMetrics);
        assert_eq!(lines(&open, "broker_http_requests_total{"), [sample]);
        assert!(open.contains("# TYPE broker_http_requests counter\n"));
        assert!(open.ends_with("\n# EOF\n") && !plain.contains("EOF"));
    }

    #[test]
    fn a_histogram_adds_up_from_bucket_to_bucket() {
        let series = Series::default();
        for millis in [3, 5, 80, 20_000] {
            series
                .own_duration
                .observe(["/token"], Duration::from_millis(millis));
        }
        let page = series.page(Form::Text);
        let buckets = lines(&page, "broker_http_own_duration_seconds_bucket{");
        assert_eq!(buckets.len(), 15);
        assert!(buckets[0].ends_with("le=\"0.005\"} 2"), "{}", buckets[0]);
        assert!(buckets[5].ends_with("le=\"0.1\"} 3"), "{}", buckets[5]);
        assert!(buckets[14].ends_with("le=\"+Inf\"} 4"), "{}", buckets[14]);
        let read = series.own_duration.read(|times| {
            let quantiles = [0.5, 0.75, 0.99].map(|share| times.quantile(share));
            (times.count(), times.mean(), quantiles)
        });
        let bounds = [Some(5), Some(100), None].map(|bound| bound.map(Duration::from_millis));
        assert_eq!(read[0].1, (4, Duration::from_millis(5_022), bounds));
        let sum = lines(&page, "broker_http_own_duration_seconds_sum");
        assert_eq!(
            sum,
            ["broker_http_own_duration_seconds_sum{route=\"/token\"} 20.088"]
        );
        let count = lines(&page, "broker_http_own_duration_seconds_count");
        assert_eq!(
            count,
            ["broker_http_own_duration_seconds_count{route=\"/token\"} 4"]
        );
    }

    #[test]
    fn a_flood_of_label_values_is_counted_under_other() {
        let series = Series::default();
        for number in 0..10_000 {
            series.price_misses.add([&format!("model-{number}")], 1);
        }
        let page = series.page(Form::Text);
        let samples = lines(&page, "broker_price_lookup_misses_total{");
        assert!(samples.len() <= 513, "{} samples", samples.len());
        let values = samples.iter().map(|line| line.rsplit(' ').next().unwrap());
        let sum: u64 = values.map(|value| value.parse::<u64>().unwrap()).sum();
        assert_eq!(sum, 10_000);
        assert!(page.contains("broker_price_lookup_misses_total{model=\"other\"} 9488\n"));
    }

    #[test]
    fn values_of_labels_are_quoted_and_cut() {
        let series = Series::default();
        series.price_misses.add(["a\"b\\c\nd"], 1);
        series.price_misses.add([&"é".repeat(1000)], 1);
        let page = series.page(Form::Text);
        assert!(page.contains("{model=\"a\\\"b\\\\c\\nd\"} 1\n"));
        assert!(page.contains(&format!("{{model=\"{}\"}} 1\n", "é".repeat(50))));
    }

    #[test]
    fn counts_in_billionths_are_written_as_whole_units() {
        let series = Series::default();
        series.usage_cost.add(["m", "", "measured"], 1_500_000_000);
        series.usage_cost.add(["m", "", "measured"], 7);
        let page = series.page(Form::Text);
        let cost = lines(&page, "broker_usage_cost_usd_total{");
        assert!(cost[0].ends_with(" 1.500000007"), "{}", cost[0]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_has_memory_threads_and_files() {
        let page = Series::default().page(Form::Text);
        for name in [
            "process_resident_memory_bytes ",
            "process_threads ",
            "process_open_fds ",
        ] {
            let line = lines(&page, name);
            let value: f64 = line[0].rsplit(' ').next().unwrap().parse().unwrap();
            assert!(value >= 1.0, "{line:?}");
        }
    }
}
