//! Reads what the provider bills: `GET /organization/costs`, with an admin key.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Client, StatusCode, Url};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::Value;

use super::{ORGANIZATION, SetupError, refusal, sensitive, transport};
use crate::clock::{Clock, Timestamp};
use crate::config::Upstream;
use crate::domain::{Money, below, is_loopback};
use crate::http_client::{ClientBuilder, ReadError, read_body};
use crate::upstream::UpstreamError;

const ADMIN_KEY: &str = "upstream.admin_key";
/// Days on a page of the answer.
const DAYS: usize = 31;
/// Most pages that are read.
const PAGES: usize = 100;
/// Longest time for a page.
const DEADLINE: Duration = Duration::from_secs(30);
/// The largest page that is read.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// What the provider bills for one item on one UTC day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Billed {
    /// The beginning of the day.
    pub day: Timestamp,
    /// The item: for use of a model its name, a comma, and the kind of token.
    pub item: String,
    /// The amount. A credit is negative.
    pub money: Money,
}

/// The bills of the organization, or of one of its projects.
pub struct Bills {
    client: Client,
    url: Url,
    clock: Arc<dyn Clock>,
}

impl Bills {
    /// Returns the bills of the organization or the project in `settings`.
    pub fn new(settings: &Upstream, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        let url = &settings.base_url;
        let host = url.host_str().unwrap_or_default();
        let is_openai = url.scheme() == "https" && host.ends_with(".openai.com");
        if !is_openai && !is_loopback(url) {
            return Err(SetupError::NotOpenAi);
        }
        let key = settings.admin_key.as_ref();
        let key = key.ok_or(SetupError::Header(ADMIN_KEY))?.expose_secret();
        let mut headers = HeaderMap::new();
        headers.insert(
            AUTHORIZATION,
            sensitive(&format!("Bearer {key}"), ADMIN_KEY)?,
        );
        if let Some(organization) = &settings.organization {
            let organization = sensitive(organization, "upstream.organization")?;
            headers.insert(ORGANIZATION, organization);
        }
        let mut url = below(&settings.base_url, "organization/costs");
        url.query_pairs_mut()
            .append_pair("bucket_width", "1d")
            .append_pair("group_by", "line_item")
            .append_pair("limit", &DAYS.to_string());
        if let Some(project) = &settings.project {
            url.query_pairs_mut().append_pair("project_ids", project);
        }
        let builder = ClientBuilder::new(&settings.way(), settings.connect_timeout, headers)?;
        Ok(Self {
            client: builder.build()?,
            url,
            clock,
        })
    }

    /// Returns what is billed for the UTC days from the one that begins at `from` until the one that ends at `to`.
    pub async fn between(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Billed>, UpstreamError> {
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("start_time", &from.as_seconds().to_string())
            .append_pair("end_time", &to.as_seconds().to_string());
        let mut billed = Vec::new();
        let mut next = None;
        for _ in 0..PAGES {
            let page = self.page(&url, next.as_deref()).await?;
            for bucket in page.data {
                bucket.read(&mut billed)?;
            }
            next = page.next.filter(|_| page.has_more);
            if next.is_none() {
                return Ok(billed);
            }
        }
        Err(UpstreamError::Invalid("it has too many pages"))
    }

    async fn page(&self, url: &Url, next: Option<&str>) -> Result<Page, UpstreamError> {
        let mut url = url.clone();
        if let Some(next) = next {
            url.query_pairs_mut().append_pair("page", next);
        }
        let reading = async {
            let response = self.client.get(url).send().await.map_err(transport)?;
            if response.status() != StatusCode::OK {
                return Err(refusal(response).await);
            }
            let body = read_body(response, MAX_PAGE_BYTES).await;
            let body = body.map_err(|error| match error {
                ReadError::TooLarge(_) => UpstreamError::Invalid("it is larger than 8 MiB"),
                ReadError::Failed(error) => transport(error),
            })?;
            let page = serde_json::from_slice(&body);
            page.map_err(|_| UpstreamError::Invalid("it is no page of costs"))
        };
        let page = self.clock.timeout(DEADLINE, reading).await;
        page.unwrap_or(Err(UpstreamError::TimedOut))
    }
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Bucket>,
    #[serde(default)]
    has_more: bool,
    #[serde(rename = "next_page")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Bucket {
    start_time: u64,
    results: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    amount: Amount,
    line_item: Option<String>,
}

#[derive(Deserialize)]
struct Amount {
    /// A number, or a text with many decimal places.
    value: Value,
    currency: String,
}

impl Bucket {
    fn read(self, billed: &mut Vec<Billed>) -> Result<(), UpstreamError> {
        for Line { amount, line_item } in self.results {
            if !amount.currency.eq_ignore_ascii_case("usd") {
                return Err(UpstreamError::Invalid("its amounts are not in US dollars"));
            }
            let money = dollars(&amount.value);
            billed.push(Billed {
                day: Timestamp::from_seconds(self.start_time),
                item: line_item.unwrap_or_default(),
                money: money.ok_or(UpstreamError::Invalid("one of its amounts is none"))?,
            });
        }
        Ok(())
    }
}

/// Reads an amount of dollars. What is less than a nano-dollar is cut off.
fn dollars(value: &Value) -> Option<Money> {
    let text = match value {
        Value::String(text) => text.clone(),
        // Numbers may be written with an exponent.
        Value::Number(number) => format!("{:.9}", number.as_f64()?),
        _ => return None,
    };
    let bare = text.strip_prefix('-').unwrap_or(&text);
    let (whole, part) = bare.split_once('.').unwrap_or((bare, "0"));
    let money = Money::parse(&format!("{whole}.{}", part.get(..9).unwrap_or(part)))?;
    let is_credit = bare.len() < text.len();
    Some(if is_credit {
        Money::ZERO - money
    } else {
        money
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_numbers_or_texts_of_any_precision_and_may_be_credits() {
        for (value, nanos) in [
            (json!(0.06), 60_000_000),
            (json!(1.5e-7), 150),
            (json!(12), 12_000_000_000),
            (json!("12.34"), 12_340_000_000),
            (json!("0.123456789987654321000"), 123_456_789),
            (json!("-1.5"), -1_500_000_000),
            (json!(-0.25), -250_000_000),
            (json!("7"), 7_000_000_000),
        ] {
            assert_eq!(dollars(&value).map(Money::as_nanos), Some(nanos), "{value}");
        }
        for wrong in [json!("1e3"), json!("--1"), json!(null), json!("")] {
            assert_eq!(dollars(&wrong), None, "{wrong}");
        }
    }
}
