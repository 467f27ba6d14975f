//! What operators read and do on the pages.

use axum::http::Method;
use http_body_util::BodyExt;

use crate::calls::OFFER;
use crate::kit::answer::Answer;
use crate::kit::in_process::{TestApp, student, teacher};

use super::{app, cookie, get, read, send};

/// The values of a page's cards, by name.
fn cards(page: &Answer) -> Vec<(String, String)> {
    let cards = page.text.split("<dt>").skip(1);
    let pairs = cards.map(|card| {
        let (name, rest) = card.split_once("</dt>").unwrap();
        let value = rest.split_once("value\">").unwrap().1;
        let value = value.split_once("</dd>").unwrap().0;
        (name.to_owned(), value.to_owned())
    });
    pairs.collect()
}

pub fn card(page: &Answer, name: &str) -> String {
    let found = cards(page).into_iter().find(|(known, _)| known == name);
    found
        .unwrap_or_else(|| panic!("no {name}: {}", page.text))
        .1
}

/// The rows of a table, as programs read it.
pub async fn rows(test: &TestApp, page: &str, table: &str) -> serde_json::Value {
    let mark = if page.contains('?') { '&' } else { '?' };
    let file = read(test, &format!("{page}{mark}table={table}&as=json")).await;
    assert_eq!(file.status, 200, "{}", file.text);
    let place = format!("attachment; filename=\"{table}.json\"");
    assert_eq!(file.header("content-disposition"), Some(&*place));
    file.json["rows"].clone()
}

pub async fn call(test: &TestApp, bearer: &str) {
    let opened = test.post("/calls").bearer(bearer);
    let opened = opened.body("application/sdp", OFFER).send().await;
    assert_eq!(opened.status, 201, "{}", opened.text);
}

#[tokio::test]
async fn pages_need_nothing_from_elsewhere_and_have_neither_inline_scripts_nor_inline_styles() {
    let test = app(&[]);
    for page in [
        "/",
        "/pages/calls",
        "/pages/usage",
        "/pages/users",
        "/pages/cost",
        "/pages/errors",
        "/pages/latency",
        "/pages/security",
    ] {
        let answer = read(&test, page).await;
        assert_eq!(answer.status, 200, "{page}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.text.matches("aria-current=\"page\"").count(), 1);
        for inline in ["<style", " style=", " onclick", "<script>", "javascript:"] {
            assert!(!answer.text.contains(inline), "{page} has {inline}");
        }
        let mut texts = answer.text.split(['"', '\'']);
        let link = texts.find(|text| text.contains("//"));
        assert_eq!(link, None, "{page}");
    }
    for (path, kind) in [
        ("/style.css", "text/css"),
        ("/script.js", "text/javascript"),
    ] {
        let file = get(&test, path).send().await;
        assert_eq!(file.status, 200);
        assert!(file.header("content-type").unwrap().starts_with(kind));
        assert!(!file.text.contains("http"), "{path}");
    }
}

#[tokio::test]
async fn figures_are_those_of_the_ledger() {
    let test = app(&[]);
    for bearer in [student("ana"), student("ana"), teacher("tom")] {
        test.post("/token").bearer(&bearer).send().await;
    }
    call(&test, &teacher("tom")).await;
    let today = read(&test, "/").await;
    assert_eq!(card(&today, "Sessions today"), "4");
    assert_eq!(card(&today, "Live calls"), "1");
    assert_eq!(card(&today, "Cost today"), "$0.0000");
    let days = rows(&test, "/pages/usage?days=7", "days").await;
    assert_eq!(days[0]["Day"], "2022-01-01");
    assert_eq!(
        (&days[0]["Role"], &days[0]["Sessions"]),
        (&"student".into(), &2.into())
    );
    assert_eq!(
        (&days[1]["Role"], &days[1]["Calls"]),
        (&"teacher".into(), &1.into())
    );
    let users = rows(&test, "/pages/users", "users").await;
    assert_eq!(
        (&users[0]["User"], &users[0]["Sessions"]),
        (&"ana".into(), &2.into())
    );
    let user = "/pages/user?issuer=https%3A%2F%2Fid.example.com%2F&subject=tom";
    let tom = read(&test, user).await;
    assert_eq!(card(&tom, "Sessions"), "2");
    let title = |page: &Answer, title: &str| page.text.contains(&format!("<h2>{title}</h2>"));
    assert!(title(&today, "Cost per day, by role"), "{}", today.text);
    assert!(title(&tom, "Sessions per day"), "{}", tom.text);
    assert!(!tom.text.contains("no role"), "{}", tom.text);
    assert_eq!(rows(&test, user, "days").await[0]["Calls"], 1);
    assert_eq!(rows(&test, user, "calls").await[0]["User"], "tom");
    let nobody = rows(&test, "/pages/user?issuer=&subject=", "days").await;
    assert_eq!(nobody, serde_json::json!([]));
    let file = read(&test, "/pages/usage?table=roles&as=csv").await;
    assert_eq!(file.header("content-type"), Some("text/csv; charset=utf-8"));
    let head = "\"Role\",\"Sessions\",\"Refreshes\",\"Calls\"";
    assert!(file.text.starts_with(head), "{}", file.text);
    assert!(
        file.text.contains("\r\n\"student\",2,0,0,"),
        "{}",
        file.text
    );
}

#[tokio::test]
async fn every_figure_says_how_it_came_to_be_known() {
    let test = app(&[]);
    let cost = read(&test, "/pages/cost").await;
    let marks = cost.text.matches("<dd class=\"mark\">").count();
    assert_eq!(marks, cards(&cost).len());
    assert!(cost.text.contains("Forecast of the month"));
    let estimated = cost.text.split("Forecast of the month").nth(1).unwrap();
    let mark = estimated.split("class=\"mark\">").nth(1).unwrap();
    assert!(mark.starts_with("estimated"), "{mark}");
    let models = read(&test, "/pages/cost?as=json&table=models").await;
    let cost = &models.json["columns"][5];
    assert_eq!(
        (&cost["name"], &cost["source"]),
        (&"Cost".into(), &"see source".into()),
        "rows have their own"
    );
    let usage = read(&test, "/pages/usage?as=json&table=days").await;
    let columns = usage.json["columns"].as_array().unwrap();
    for column in columns {
        let is_name = ["Day", "Role"].contains(&column["name"].as_str().unwrap());
        assert_eq!(column["source"].is_null(), is_name, "{column}");
    }
}

#[tokio::test]
async fn a_month_with_a_budget_shows_its_share_and_where_it_is_heading() {
    let personas = ("personas.file", "tests/api/calls/personas.toml");
    let test = app(&[("money.per_month", "250"), personas]);
    let cost = read(&test, "/pages/cost").await;
    assert!(cost.text.contains("0 % of $250.00"), "{}", cost.text);
    assert!(cost.text.contains("pace: 0 % of $250.00"));
}

#[tokio::test]
async fn an_operator_hangs_up_one_call_all_calls_and_those_of_a_user() {
    let test = app(&[]);
    let live = async || card(&read(&test, "/pages/calls").await, "Live calls");
    for subject in ["ana", "ben", "cid"] {
        call(&test, &student(subject)).await;
    }
    assert_eq!(live().await, "3");
    let page = read(&test, "/pages/calls").await;
    let id = page.text.split("name=\"id\" value=\"").nth(1).unwrap();
    let id = id.split('"').next().unwrap().to_owned();
    let done = send(&test, "/pages/calls/hangup", &format!("id={id}")).await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, Some("/pages/calls"))
    );
    let ended = rows(&test, "/pages/calls", "calls").await;
    let ended = ended.as_array().unwrap().iter();
    let ended: Vec<_> = ended.filter(|row| row["Reason"] == "operator").collect();
    assert_eq!(ended.len(), 1);
    let last = ended[0]["User"].as_str().unwrap();
    let other = ["ana", "ben", "cid"].into_iter().find(|name| *name != last);
    let other = other.unwrap();
    let fields = format!("issuer=https%3A%2F%2Fid.example.com%2F&subject={other}");
    let done = send(&test, "/pages/user/end", &fields).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert_eq!(test.events("sessions_ended").len(), 1);
    let wrong = send(&test, "/pages/calls/hangup", "id=..%2Fadmin").await;
    wrong.is(400, "bad_request");
    let done = send(&test, "/pages/calls/hangup", "all=yes").await;
    assert_eq!(done.status, 303);
    let rows = rows(&test, "/pages/calls", "calls").await;
    let reasons = rows.as_array().unwrap().iter().map(|row| &row["Reason"]);
    assert!(reasons.into_iter().all(|reason| reason != ""), "{rows}");
}

#[tokio::test]
async fn a_live_page_is_told_where_the_calls_stand() {
    let test = app(&[]);
    call(&test, &student("ana")).await;
    let live = get(&test, "/pages/calls/live").header("cookie", cookie(&test).await);
    let sent = live.stream().await;
    assert_eq!(sent.headers()["content-type"], "text/event-stream");
    let mut body = sent.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let said = String::from_utf8(first.to_vec()).unwrap();
    let rows: serde_json::Value =
        serde_json::from_str(said.trim().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(rows["rows"][0][1][1], "ana", "{said}");
    assert_eq!(rows["rows"][0][2], true, "it can be hung up");
    let stranger = get(&test, "/pages/calls/live").send().await;
    assert_eq!(stranger.status, 401);
}

#[tokio::test]
async fn an_operator_lifts_a_block_by_its_button() {
    let test = app(&[("limits.token", "100/60s")]);
    for _ in 0..12 {
        let call = test.post("/token").from("203.0.113.9");
        call.body("application/json", "{").send().await;
    }
    let page = read(&test, "/pages/security").await;
    assert!(page.text.contains("203.0.113.9/32"), "{}", page.text);
    let party = page.text.split("name=\"party\" value=\"").nth(1).unwrap();
    let party = party.split('"').next().unwrap().to_owned();
    let done = send(&test, "/pages/security/lift", &format!("party={party}")).await;
    assert_eq!(done.header("location"), Some("/pages/security"));
    let page = read(&test, "/pages/security").await;
    assert!(page.text.contains("Nobody is blocked."));
    send(&test, "/pages/security/lift", "party=x")
        .await
        .is(400, "bad_request");
}

#[tokio::test]
async fn errors_limits_latency_and_keys_are_counted() {
    let test = app(&[("limits.token", "1/60s")]);
    for _ in 0..2 {
        test.post("/token").send().await;
    }
    let errors = rows(&test, "/pages/errors", "errors").await;
    assert_eq!(errors[0]["Code"], "rate_limited");
    assert_eq!(
        (&errors[0]["Route"], &errors[0]["Count"]),
        (&"/token".into(), &1.into())
    );
    let limits = rows(&test, "/pages/errors", "limits").await;
    assert_eq!(limits[0]["Setting"], "token");
    let times = rows(&test, "/pages/latency", "requests").await;
    let mut times = times.as_array().unwrap().iter();
    let token = times.find(|row| row["Route"] == "/token").unwrap();
    assert_eq!(token["Count"], 2);
    let keys = rows(&test, "/pages/security", "keys").await;
    assert_eq!(keys[0]["State"], "accepted", "{keys}");
    let head = test.call(Method::HEAD, "/pages/latency");
    let head = head.through(test.app.ops_onion().unwrap());
    let head = head.header("cookie", cookie(&test).await).send().await;
    assert_eq!((head.status, head.text.len()), (200, 0));
}

#[tokio::test]
async fn the_busiest_users_are_on_the_page_and_all_are_in_its_files() {
    let paces = [
        ("limits.verified_address", "1000/60s"),
        ("upstream.mints_per_second", "1000"),
    ];
    let test = app(&paces);
    for number in 0..201 {
        let minted = test.post("/token").bearer(&student(&format!("u{number}")));
        assert_eq!(minted.send().await.status, 200, "{number}");
    }
    test.post("/token").bearer(&student("u7")).send().await;
    let page = read(&test, "/pages/users").await;
    assert_eq!(page.text.matches("/pages/user?").count(), 200);
    let users = rows(&test, "/pages/users", "users").await;
    assert_eq!(users.as_array().unwrap().len(), 201);
    assert_eq!(users[0]["User"], "u7");
}
