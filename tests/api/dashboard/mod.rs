//! The dashboard: who gets in, what a stranger's page can do, and what its pages show.

mod crowds;
mod keys;
mod pages;
mod strangers;

use crate::kit::answer::Answer;
use crate::kit::in_process::{Call, TestApp};
use crate::kit::issuer::optional;

const TOKEN: &str = "operators-token-that-is-long-enough";
const HOME: &str = "http://broker.example.com";
const FORM: &str = "application/x-www-form-urlencoded";

/// A broker whose dashboard has the name that all requests of tests are for.
fn app(settings: &[(&str, &str)]) -> TestApp {
    let usual = [("ops.token", TOKEN), ("ops.hosts", "broker.example.com")];
    TestApp::of(&optional(), &[&usual, settings].concat())
}

fn get(test: &TestApp, path: &str) -> Call {
    test.get(path).through(test.app.ops_onion().unwrap())
}

/// A form of the dashboard's own page.
fn post(test: &TestApp, path: &str, fields: &str) -> Call {
    let call = test.post(path).through(test.app.ops_onion().unwrap());
    call.origin(HOME).body(FORM, fields.to_owned())
}

/// Signs in, and returns the cookie.
async fn cookie(test: &TestApp) -> String {
    let answer = post(test, "/sign-in", &format!("token={TOKEN}"))
        .send()
        .await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
    let cookie = answer.header("set-cookie").unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// Reads a page as an operator who is signed in.
async fn read(test: &TestApp, path: &str) -> Answer {
    get(test, path)
        .header("cookie", cookie(test).await)
        .send()
        .await
}

/// Sends a form as an operator who is signed in.
async fn send(test: &TestApp, path: &str, fields: &str) -> Answer {
    post(test, path, fields)
        .header("cookie", cookie(test).await)
        .send()
        .await
}
