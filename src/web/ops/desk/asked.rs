//! Reads the query of a page, and the fields of a form.

use std::time::Duration;

use axum::extract::Request;
use url::form_urlencoded;

use super::view::{Choice, Form};
use crate::clock::Timestamp;
use crate::domain::Account;
use crate::web::error::ApiError;
use crate::web::extract::read;
use crate::web::ops::OpsState;

/// The periods that a page can show, in days.
const PERIODS: [u32; 3] = [7, 30, 90];
const USUAL: u32 = 30;
/// Upper bound on the number of a page.
const MOST_PAGES: u32 = 10_000;
/// Upper bound on the bytes of a form.
const MAX_FORM: usize = 8 * 1024;
/// Upper bound on the bytes of one name in a query.
const MAX_NAME: usize = 2048;

/// What a page is asked for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    days: Option<u32>,
    /// The measure of a chart.
    pub(super) show: Option<String>,
    /// The page of a long list, from 1.
    page: Option<u32>,
    issuer: String,
    subject: String,
    /// The table to answer as a file.
    pub(super) file: Option<(String, Form)>,
}

impl Asked {
    /// Reads a query. A name that nobody expects is an error, and so is a value out of range.
    pub(super) fn read(query: &str) -> Result<Self, ApiError> {
        let (mut asked, mut table, mut form) = (Self::default(), None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.len() > MAX_NAME {
                return Err(ApiError::at("query"));
            }
            match &*name {
                "days" => asked.days = Some(days(&value)?),
                "page" => asked.page = Some(page(&value)?),
                "show" => asked.show = Some(value.into_owned()),
                "issuer" => asked.issuer = value.into_owned(),
                "subject" => asked.subject = value.into_owned(),
                "table" => table = Some(value.into_owned()),
                "as" => form = Some(file(&value)?),
                _ => return Err(ApiError::at("query")),
            }
        }
        asked.file = form.map(|form| (table.unwrap_or_default(), form));
        Ok(asked)
    }

    /// Returns the same for the page itself.
    pub(super) fn without_file(self) -> Self {
        Self { file: None, ..self }
    }

    /// Returns the account that is asked for. Callers without identity have an account without names.
    pub(super) fn account(&self) -> Account {
        Account {
            issuer: self.issuer.as_str().into(),
            subject: self.subject.as_str().into(),
        }
    }

    pub(super) fn page(&self) -> u32 {
        self.page.unwrap_or(1)
    }

    pub(super) fn days(&self) -> u32 {
        self.days.unwrap_or(USUAL)
    }

    /// Returns the first moment of the period that is asked for.
    pub(super) fn since(&self, now: Timestamp) -> Timestamp {
        since(self.days(), now)
    }

    /// Returns the choices between periods.
    pub(super) fn periods(&self) -> Vec<Choice> {
        let choices = PERIODS.map(|days| Choice {
            label: format!("{days} days"),
            name: "days",
            value: days.to_string(),
            is_chosen: days == self.days(),
        });
        choices.into()
    }
}

/// Returns the first moment of the last `days` UTC days, today included.
pub(super) fn since(days: u32, now: Timestamp) -> Timestamp {
    now.minus(Duration::from_hours(24) * days.saturating_sub(1))
        .start_of_day()
}

fn days(text: &str) -> Result<u32, ApiError> {
    let days = text.parse().ok().filter(|days| PERIODS.contains(days));
    days.ok_or(ApiError::at("days"))
}

fn page(text: &str) -> Result<u32, ApiError> {
    let page = text
        .parse()
        .ok()
        .filter(|page| (1..=MOST_PAGES).contains(page));
    page.ok_or(ApiError::at("page"))
}

fn file(word: &str) -> Result<Form, ApiError> {
    match word {
        "csv" => Ok(Form::Csv),
        "json" => Ok(Form::Json),
        _ => Err(ApiError::at("as")),
    }
}

/// Reads the fields of a form with these names. A field that is absent is empty.
pub(super) async fn form<const N: usize>(
    ops: &OpsState,
    request: Request,
    names: [&str; N],
) -> Result<[String; N], ApiError> {
    let (_, body) = read(request, MAX_FORM, &ops.app.face).await?;
    let field = |wanted: &str| {
        let mut fields = form_urlencoded::parse(&body);
        let found = fields.find(|(name, _)| name == wanted);
        found.map_or_else(String::new, |(_, value)| value.into_owned())
    };
    Ok(names.map(field))
}
