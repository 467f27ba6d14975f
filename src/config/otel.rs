//! `[otel]`: where traces are sent, and how many.

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::fields;
use super::settings::Settings;
use crate::domain::is_private_enough;
use crate::domain::written::{optional, text, whole};

const ENDPOINT: &str = "otel.endpoint";
/// The usual port of collectors for OTLP over gRPC.
const GRPC: u16 = 4317;

/// Where traces are sent, and how many.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otel {
    /// The address of the collector. `None` for no traces.
    #[serde(deserialize_with = "address")]
    pub endpoint: Option<Url>,
    /// Headers that the collector asks for.
    #[serde(deserialize_with = "headers")]
    pub headers: Vec<(String, SecretString)>,
    /// The name of the service in traces.
    #[serde(deserialize_with = "name")]
    pub service: String,
    /// The share of new traces that are recorded, in percent.
    #[serde(deserialize_with = "whole::<0, 100, _, _>")]
    pub percent: u32,
}

impl Otel {
    /// Returns the percentage of new traces that are recorded; `None` without traces.
    pub fn traced_percent(&self) -> Option<u32> {
        self.endpoint.as_ref().map(|_| self.percent)
    }

    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let otel: Self = settings.section("otel")?;
        let Some(endpoint) = &otel.endpoint else {
            return Some(otel);
        };
        settings.warn_if(
            endpoint.port() == Some(GRPC),
            ENDPOINT,
            "has the usual port of OTLP over gRPC; traces are sent by HTTP, usually to port 4318",
        );
        settings.warn_if(
            !is_private_enough(endpoint, &[]) && !otel.headers.is_empty(),
            ENDPOINT,
            "is plain http: anybody in between can read otel.headers; use https",
        );
        Some(otel)
    }
}

/// Reads the address of a collector as OpenTelemetry's own variable has it, and completes its path.
fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Url>, D::Error> {
    const TRACES: &str = "/v1/traces";
    optional(from, |text| {
        let whole = "must be a whole address, like http://collector:4318";
        let user = "must not hold a user or a password; put them into otel.headers";
        let mut url = fields::base(text, whole, user)?;
        let base = url.path().trim_end_matches('/');
        let path = base.strip_suffix(TRACES).unwrap_or(base).to_owned() + TRACES;
        url.set_path(&path);
        Ok::<_, &str>(url)
    })
}

/// Reads headers as OpenTelemetry's own variable has them: `name=value,name=value`, with percent-encoded values.
fn headers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, SecretString)>, D::Error> {
    text(from, |text| {
        let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
        let headers: Option<Vec<_>> = pairs.map(header).collect();
        headers
            .ok_or("must be headers and their values, like authorization=Bearer%20abc,x-tenant=me")
    })
}

fn header(pair: &str) -> Option<(String, SecretString)> {
    let (name, value) = pair.split_once('=')?;
    let name = name.trim().to_ascii_lowercase();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    let is_line = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    let is_header = !name.is_empty() && name.bytes().all(is_plain) && value.bytes().all(is_line);
    is_header.then(|| (name, SecretString::from(value.into_owned())))
}

/// Reads the name of a service.
fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    text(from, |text| {
        let is_name = (1..=128).contains(&text.len());
        is_name
            .then(|| text.to_owned())
            .ok_or("must be a name, like token-broker")
    })
}
