//! Answers what the organization is billed: `GET /v1/organization/costs`, for the admin key only.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::edge::Edge;
use super::refusal::Refusal;
use crate::domain::Money;

/// Days on a page, unless the request says otherwise.
const USUAL: u16 = 7;
/// Most days on a page.
const MOST: u16 = 180;
/// The seconds of a day.
const DAY: u64 = 24 * 60 * 60;
const GROUPS: [&str; 3] = ["line_item", "project_id", "api_key_id"];

/// What a UTC day is billed for.
#[derive(Clone, Debug)]
pub(super) struct Bill {
    /// The beginning of the day, in seconds since the Unix epoch.
    pub(super) day: u64,
    pub(super) item: Box<str>,
    pub(super) money: Money,
}

/// Answers the bills that were set, day by day and page by page.
pub(super) async fn costs(
    State(edge): State<Arc<Edge>>,
    headers: HeaderMap,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, Refusal> {
    edge.admit_admin(&headers)?;
    let asked = Asked::read(&query)?;
    let end = edge.clock.now().as_seconds();
    let end = asked.end.map_or(end, |asked| asked.min(end));
    let first = asked.start - asked.start % DAY + u64::from(asked.page) * DAY;
    let days = (0..=u64::from(asked.limit)).map(|day| first + day * DAY);
    let mut days: Vec<_> = days.take_while(|day| *day < end).collect();
    let has_more = days.len() > usize::from(asked.limit);
    days.truncate(asked.limit.into());
    let next_page = has_more.then(|| asked.page.saturating_add(asked.limit).to_string());
    let bills = edge.state().bills.clone();
    let bucket = |day: u64| {
        let bills = bills.iter().filter(|bill| bill.day == day);
        json!({
            "object": "bucket",
            "start_time": day,
            "end_time": day + DAY,
            "results": results(bills, asked.by_item),
        })
    };
    let data: Vec<_> = days.into_iter().map(bucket).collect();
    Ok(Json(json!({
        "object": "page", "data": data, "has_more": has_more, "next_page": next_page,
    })))
}

/// Returns the bills of a day one by one, or their sum.
fn results<'a>(bills: impl Iterator<Item = &'a Bill>, by_item: bool) -> Vec<Value> {
    let line = |item: Option<&str>, money: Money| {
        json!({
            "object": "organization.costs.result",
            // The provider has numbers here, or texts with more digits than a number holds.
            "amount": { "value": money.to_string(), "currency": "usd" },
            "line_item": item,
            "project_id": null,
            "api_key_id": null,
        })
    };
    if by_item {
        return bills
            .map(|bill| line(Some(&bill.item), bill.money))
            .collect();
    }
    let sum = bills.fold(None, |sum: Option<Money>, bill| {
        Some(sum.unwrap_or_default() + bill.money)
    });
    sum.map(|sum| line(None, sum)).into_iter().collect()
}

/// What is asked for.
struct Asked {
    start: u64,
    end: Option<u64>,
    limit: u16,
    /// Days before this page.
    page: u16,
    by_item: bool,
}

impl Asked {
    fn read(query: &[(String, String)]) -> Result<Self, Refusal> {
        let (mut start, mut end) = (None, None);
        let (mut limit, mut page, mut by_item) = (USUAL, 0, false);
        for (name, text) in query {
            let wrong = || {
                let message = format!("Invalid value for '{name}'.");
                Refusal::new(400, "invalid_value", message).at(name.as_str())
            };
            let time = || text.parse::<u32>().map(u64::from).map_err(|_| wrong());
            match name.trim_end_matches("[]") {
                "start_time" => start = Some(time()?),
                "end_time" => end = Some(time()?),
                "limit" => limit = text.parse().map_err(|_| wrong())?,
                "page" => page = text.parse().map_err(|_| wrong())?,
                "bucket_width" if text == "1d" => {}
                "group_by" if GROUPS.contains(&text.as_str()) => by_item |= text == GROUPS[0],
                "project_ids" | "api_key_ids" => {}
                "bucket_width" | "group_by" => return Err(wrong()),
                _ => {
                    let message = format!("Unknown parameter: '{name}'.");
                    return Err(Refusal::new(400, "unknown_parameter", message).at(name.as_str()));
                }
            }
            if !(1..=MOST).contains(&limit) {
                return Err(wrong());
            }
        }
        let missing = || {
            let message = "Missing required parameter: 'start_time'.";
            Refusal::new(400, "missing_required_parameter", message).at("start_time")
        };
        Ok(Self {
            start: start.ok_or_else(missing)?,
            end,
            limit,
            page,
            by_item,
        })
    }
}
