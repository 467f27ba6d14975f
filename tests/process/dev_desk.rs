//! The dashboard of dev: its address, its token, and the made-up month, which no other ledger ever gets.

use std::collections::BTreeSet;

use reqwest::RequestBuilder;
use serde_json::Value;

use crate::kit::answer::Answer;
use crate::kit::executable::{Launch, Running};
use crate::kit::http::client;

/// The dashboard of a running broker, as an operator sees it who is signed in.
pub struct Desk {
    home: String,
    cookie: String,
}

impl Desk {
    /// Signs in with what dev has printed.
    async fn of(broker: &Running) -> Self {
        let token = broker.said(|line| line.contains("Sign in with ")).await;
        let token = token.rsplit(' ').next().unwrap().to_owned();
        let is_address = |line: &str| line.trim().starts_with("http://") && line.ends_with('/');
        let home = broker.said(is_address).await.trim().to_owned();
        Self::enter(home, &token).await
    }

    /// Signs in at `home`, which ends with a slash.
    pub async fn enter(home: String, token: &str) -> Self {
        let enter = client().post(format!("{home}sign-in"));
        let enter = enter.header("origin", home.trim_end_matches('/'));
        let enter = enter.header("content-type", "application/x-www-form-urlencoded");
        let entered = enter.body(format!("token={token}")).send().await.unwrap();
        assert_eq!(entered.status(), 303);
        let cookie = entered.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { home, cookie }
    }

    /// Its cookie, as the browser sends it.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Returns the request for a page, not sent yet.
    pub fn get(&self, path: &str) -> RequestBuilder {
        let page = client().get(format!("{}{path}", self.home));
        page.header("cookie", &self.cookie)
    }

    pub async fn read(&self, path: &str) -> Answer {
        let page = Answer::to(self.get(path)).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        page
    }

    async fn rows(&self, page: &str, table: &str) -> Vec<Value> {
        let table = format!("pages/{page}?days=30&table={table}&as=json");
        let answer = self.read(&table).await;
        answer.json["rows"].as_array().unwrap().clone()
    }
}

fn dev(settings: &[(&str, &str)]) -> Running {
    let launch = Launch::of(&["dev", "--listen", "127.0.0.1:0"]);
    let set = |launch: Launch, (name, value): &(&str, &str)| launch.set(name, value);
    settings.iter().fold(launch, set).spawn()
}

fn sum(rows: &[Value], column: &str) -> u64 {
    rows.iter().map(|row| row[column].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn dev_prints_the_address_of_the_dashboard_and_a_token_that_signs_in() {
    let broker = dev(&[]);
    let desk = Desk::of(&broker).await;
    let today = desk.read("").await;
    assert!(today.text.contains("<h1>Today</h1>"), "{}", today.text);
}

#[tokio::test]
async fn a_newcomer_finds_a_month_that_says_that_it_is_made_up_and_counts_in_no_limit() {
    let broker = dev(&[("limits.mints_daily", "4/24h")]);
    let desk = Desk::of(&broker).await;
    for page in ["", "pages/usage", "pages/cost", "pages/users"] {
        let page = desk.read(page).await;
        assert!(page.text.contains("Made up: the use of users"), "{page:?}");
    }
    let days = desk.rows("usage", "days").await;
    let dates: BTreeSet<_> = days.iter().map(|row| row["Day"].as_str()).collect();
    assert!(dates.len() >= 28, "{dates:?}");
    assert!(sum(&days, "Calls") > 200 && sum(&days, "Time") > 10_000);
    let users = desk.rows("users", "users").await;
    assert_eq!(users.len(), 8);
    for user in &users {
        assert!(user["User"].as_str().unwrap().starts_with("example-"));
        assert_eq!(user["Issuer"], "https://example.invalid/");
    }
    let models = desk.rows("cost", "models").await;
    let marks: Vec<_> = models.iter().map(|row| row["Source"].as_str()).collect();
    assert_eq!(models.len(), 4, "{models:?}");
    assert!(marks.contains(&Some("measured")) && marks.contains(&Some("estimated")));
    let line = broker.said(|line| line.contains("listens on ")).await;
    let url = format!("{}/token", line.rsplit(' ').next().unwrap());
    Answer::to(client().post(&url)).await.secret();
}

#[tokio::test]
async fn a_ledger_of_the_settings_and_a_budget_see_nothing_made_up() {
    for setting in [
        ("ledger.url", "memory"),
        ("ledger.url", "sqlite:mine.db"),
        ("money.per_day", "5.00"),
    ] {
        let broker = dev(&[setting]);
        let desk = Desk::of(&broker).await;
        let today = desk.read("").await;
        assert!(!today.text.contains("Made up"), "{setting:?}");
        assert_eq!(desk.rows("usage", "days").await, Vec::<Value>::new());
    }
}
