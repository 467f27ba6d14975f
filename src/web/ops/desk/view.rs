//! The parts of a page of the dashboard, and how they are written as HTML, CSV and JSON.

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::{
    CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::Tab;
use super::chart::Chart;
use super::words::{dollars, grouped, moment_of, span};
use crate::clock::Timestamp;
use crate::domain::{Mark, Money, csv_cell};
use crate::web::code::Code;
use crate::web::error::{ApiError, PAGE};
use crate::web::ops::OpsState;

/// Allows the page's own style, script, requests and forms, and nothing else.
pub(super) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

/// One page.
#[derive(Default)]
pub(super) struct View {
    pub(super) title: &'static str,
    /// A sentence about the figures.
    pub(super) lead: String,
    /// The names of the page's subject, which its links repeat.
    pub(super) query: Vec<(&'static str, String)>,
    /// The choices above the page: what they choose, and the name and value of each.
    pub(super) choices: Vec<Choice>,
    pub(super) cards: Vec<Card>,
    pub(super) chart: Option<Chart>,
    pub(super) actions: Vec<Action>,
    pub(super) tables: Vec<Table>,
    /// True when the first table changes while it is read.
    pub(super) is_live: bool,
}

/// A choice between views of one page.
pub(super) struct Choice {
    pub(super) label: String,
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) is_chosen: bool,
}

/// One figure.
pub(super) struct Card {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) note: String,
    /// How the figure came to be known.
    pub(super) mark: &'static str,
}

/// One table.
pub(super) struct Table {
    /// The name in links and files.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
    /// The sentence in place of rows.
    pub(super) empty: &'static str,
}

/// One column.
#[derive(Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    /// How its figures came to be known; empty for names.
    pub(super) mark: &'static str,
}

/// One row.
#[derive(Default)]
pub(super) struct Row {
    /// The name of the row while the page is live.
    pub(super) key: String,
    pub(super) cells: Vec<Cell>,
    pub(super) action: Option<Action>,
}

/// One cell.
pub(super) struct Cell {
    /// For people.
    pub(super) text: String,
    /// For programs.
    exact: Value,
    pub(super) link: Option<String>,
}

/// A button that changes something.
#[derive(Clone)]
pub(super) struct Action {
    pub(super) label: &'static str,
    /// What assistive technology says in addition.
    pub(super) whom: String,
    pub(super) path: &'static str,
    pub(super) fields: Vec<(&'static str, String)>,
}

/// The forms of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Csv,
    Json,
}

impl Column {
    pub(super) const fn name(name: &'static str) -> Self {
        Self { name, mark: "" }
    }

    pub(super) const fn figure(name: &'static str, mark: Mark) -> Self {
        Self {
            name,
            mark: mark.as_str(),
        }
    }

    /// Returns a column of figures whose rows say how they came to be known, in their cell "Source".
    pub(super) const fn by_row(name: &'static str) -> Self {
        Self {
            name,
            mark: "see source",
        }
    }

    pub(super) const fn is_figure(&self) -> bool {
        !self.mark.is_empty()
    }
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            exact: Value::from(text.clone()),
            text,
            link: None,
        }
    }

    pub(super) fn count(number: u64) -> Self {
        Self {
            text: grouped(number),
            exact: number.into(),
            link: None,
        }
    }

    /// Returns nano-dollars as dollars.
    pub(super) fn money(nanos: u64) -> Self {
        Self {
            text: dollars(nanos),
            exact: Money::from_count(nanos).to_string().into(),
            link: None,
        }
    }

    /// Returns seconds as minutes and seconds.
    pub(super) fn span(seconds: u64) -> Self {
        Self {
            text: span(seconds),
            exact: seconds.into(),
            link: None,
        }
    }

    /// Returns a moment in UTC.
    pub(super) fn moment(moment: Timestamp) -> Self {
        Self {
            text: moment_of(moment),
            exact: moment.as_millis().into(),
            link: None,
        }
    }

    pub(super) fn link(self, path: String) -> Self {
        Self {
            link: Some(path),
            ..self
        }
    }
}

/// Returns a path with a query.
pub(super) fn path_with<'a>(
    path: &str,
    query: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut written = form_urlencoded::Serializer::new(String::new());
    let query = written.extend_pairs(query).finish();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}

impl Table {
    pub(super) fn has_actions(&self) -> bool {
        self.rows.iter().any(|row| row.action.is_some())
    }

    /// Returns the answer with the table as a file.
    pub(super) fn file(&self, form: Form) -> Response {
        let (ending, kind, text) = match form {
            Form::Csv => ("csv", "text/csv; charset=utf-8", self.csv()),
            Form::Json => ("json", "application/json", self.json()),
        };
        let place = format!("attachment; filename=\"{}.{ending}\"", self.name);
        ([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, &*place)], text).into_response()
    }

    /// Returns the table as RFC 4180 wants it.
    fn csv(&self) -> String {
        let line = |cells: Vec<String>| cells.join(",") + "\r\n";
        let head = self.columns.iter().map(|column| csv_cell(column.name));
        let rows = self.rows.iter().map(|row| {
            let cells = row.cells.iter().map(|cell| match &cell.exact {
                Value::String(text) => csv_cell(text),
                exact => exact.to_string(),
            });
            line(cells.collect())
        });
        line(head.collect()) + &rows.collect::<String>()
    }

    fn json(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let names = self.columns.iter().map(|column| column.name.to_owned());
            let exact = row.cells.iter().map(|cell| cell.exact.clone());
            Value::Object(names.zip(exact).collect::<Map<_, _>>())
        });
        let columns = self.columns.iter().map(|column| {
            let mark = column.is_figure().then_some(column.mark);
            json!({ "name": column.name, "source": mark })
        });
        let (columns, rows): (Vec<_>, Vec<_>) = (columns.collect(), rows.collect());
        json!({ "table": self.name, "columns": columns, "rows": rows }).to_string()
    }
}

/// A page as a template sees it.
#[derive(Template)]
#[template(path = "ops/page.html")]
struct Page<'a> {
    view: &'a View,
    tab: Tab,
    now: String,
    /// True when the records began with a made-up month.
    has_past: bool,
}

impl Page<'_> {
    /// Returns the names of the page's subject.
    fn query(&self) -> impl Iterator<Item = (&str, &str)> {
        let given = self.view.query.iter();
        given.map(|(name, value)| (*name, value.as_str()))
    }

    /// Returns the path of the stream that tells this page of changes.
    fn live(&self) -> String {
        path_with(super::LIVE, self.query())
    }

    /// Returns a link to this page with one field of the query set.
    fn link(&self, fields: &[(&str, &str)]) -> String {
        let is_set = |name: &str| fields.iter().any(|(set, _)| *set == name);
        let kept = self.query().filter(|(name, _)| !is_set(name));
        path_with(self.tab.path(), kept.chain(fields.iter().copied()))
    }

    /// True for the page that the navigation shows as current.
    fn is_current(&self, tab: Tab) -> bool {
        tab == self.tab || (tab == Tab::Users && self.tab == Tab::User)
    }
}

/// The page on which operators sign in.
#[derive(Template)]
#[template(path = "ops/sign_in.html")]
struct SignIn {
    trouble: String,
}

/// Returns the page as an answer.
pub(super) fn html(ops: &OpsState, view: &View, tab: Tab) -> Result<Response, ApiError> {
    let face = &ops.app.face;
    let page = Page {
        view,
        tab,
        now: moment_of(face.clock.now()),
        has_past: face.demo.as_ref().is_some_and(|demo| demo.has_past),
    };
    rendered(StatusCode::OK, &page)
}

/// Returns the page on which operators sign in, with a sentence about what went wrong.
pub(super) fn sign_in(status: StatusCode, trouble: String) -> Result<Response, ApiError> {
    rendered(status, &SignIn { trouble })
}

fn rendered(status: StatusCode, page: &impl Template) -> Result<Response, ApiError> {
    let text = page.render().map_err(|_| Code::Internal)?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(PAGE)),
        (CONTENT_SECURITY_POLICY, POLICY),
        // With `no-referrer`, browsers hide the origin of a form from its own server.
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    Ok((status, headers, text).into_response())
}

/// A table as a live page reads it.
#[derive(Serialize)]
pub(super) struct Live {
    rows: Vec<(String, Vec<String>, bool)>,
}

impl Live {
    pub(super) fn of(table: Table) -> Self {
        let rows = table.rows.into_iter().map(|row| {
            let cells = row.cells.into_iter().map(|cell| cell.text).collect();
            (row.key, cells, row.action.is_some())
        });
        Self {
            rows: rows.collect(),
        }
    }
}
