//! The text of `/metrics`, in the format of Prometheus and in that of OpenMetrics.

use std::fmt::{Display, Write};

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Prometheus' own, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Form {
    /// Returns the form that an `Accept` header prefers; Prometheus' own for none.
    pub fn preferred(accept: &str) -> Self {
        let weight = |mime: &str| {
            let ranges = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let is_it = parts.next()?.eq_ignore_ascii_case(mime);
                let weight = parts.find_map(|part| part.strip_prefix("q="));
                let weight = weight.map_or(Some(1.0), |text| text.parse::<f32>().ok());
                weight.filter(|_| is_it)
            });
            ranges.fold(0.0, f32::max)
        };
        let open = weight("application/openmetrics-text");
        if open > 0.0 && open >= weight("text/plain") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// Returns the content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The name of one series: its family, and the values of its labels.
#[derive(Debug)]
pub struct Name<'a> {
    pub(super) family: &'static str,
    pub(super) labels: &'a [&'static str],
    pub(super) values: &'a [Box<str>],
}

/// The text, as far as it is written.
#[derive(Debug)]
pub struct Page {
    text: String,
    form: Form,
}

impl Page {
    pub(super) const fn new(form: Form) -> Self {
        let text = String::new();
        Self { text, form }
    }

    /// Begins a family. OpenMetrics names a counter's family without `_total`.
    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let family = match self.form {
            Form::OpenMetrics if kind == "counter" => name.strip_suffix("_total").unwrap_or(name),
            Form::OpenMetrics | Form::Text => name,
        };
        self.put(format_args!(
            "# HELP {family} {help}\n# TYPE {family} {kind}\n"
        ));
    }

    /// Writes one sample. The bound is that of a bucket.
    pub(super) fn sample(
        &mut self,
        name: &Name<'_>,
        (suffix, bound): (&str, Option<&str>),
        value: impl Display,
    ) {
        self.put(format_args!("{}{suffix}", name.family));
        let values = name.values.iter().map(|value| &**value);
        let labels = name.labels.iter().copied().zip(values);
        let mut mark = '{';
        for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            self.put(format_args!("{mark}{label}=\""));
            self.quote(value);
            self.text.push('"');
            mark = ',';
        }
        let end = if mark == ',' { "}" } else { "" };
        self.put(format_args!("{end} {value}\n"));
    }

    /// Writes a value of a label.
    fn quote(&mut self, value: &str) {
        for letter in value.chars() {
            match letter {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                letter => self.text.push(letter),
            }
        }
    }

    /// Returns the whole text.
    pub(super) fn finish(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn put(&mut self, words: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_accept_prefers() {
        for (accept, form) in [
            ("", Form::Text),
            ("*/*", Form::Text),
            ("text/plain", Form::Text),
            ("application/openmetrics-text", Form::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Form::OpenMetrics,
            ),
            ("text/plain, application/openmetrics-text;q=0.5", Form::Text),
            ("application/openmetrics-text;q=0", Form::Text),
        ] {
            assert_eq!(Form::preferred(accept), form, "{accept}");
        }
    }
}
