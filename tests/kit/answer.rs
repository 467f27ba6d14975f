//! Answers of the broker, read to their end, however they came.

use axum::http::HeaderMap;
use http_body_util::BodyExt;
use reqwest::RequestBuilder;
use serde_json::Value;

use super::waiting::amid_the_work;

/// An answer of the broker.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// The body as JSON; `null` when it is something else.
    pub json: Value,
}

impl Answer {
    /// Sends a request over the network and reads its answer.
    pub async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self::of(status, headers, response.text().await.unwrap())
    }

    /// Sends a request over the network and reads its answer, unless the connection breaks before its end.
    pub async fn to_any(request: RequestBuilder) -> Option<Self> {
        let response = request.send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Some(Self::of(status, headers, response.text().await.ok()?))
    }

    /// Reads the answer of a broker in process.
    pub async fn read(response: axum::response::Response) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Self::of(parts.status.as_u16(), parts.headers, text)
    }

    fn of(status: u16, headers: HeaderMap, text: String) -> Self {
        Self {
            status,
            headers,
            json: serde_json::from_str(&text).unwrap_or_default(),
            text,
        }
    }

    /// Returns the one value of a header, or nothing. The same header twice is a mistake, unless its value is a list.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().unwrap());
        let is_only_one = name == "vary" || values.next().is_none();
        assert!(is_only_one, "{name} is there twice: {self:?}");
        first
    }

    /// Returns the code of a failure, which must have the form of the broker's failures.
    #[track_caller]
    pub fn code(&self) -> &str {
        let error = &self.json["error"];
        assert_eq!(self.json["success"], false, "{self:?}");
        assert!(error["message"].is_string(), "{self:?}");
        assert!(error["type"].is_string(), "{self:?}");
        let id = error["request_id"].as_str();
        assert_eq!(self.header("x-request-id"), id, "{self:?}");
        error["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no code: {self:?}"))
    }

    /// Asserts status and code at once.
    #[track_caller]
    pub fn is(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{self:?}");
    }

    /// Returns the client secret, which must be there.
    #[track_caller]
    pub fn secret(&self) -> &str {
        assert_eq!(self.status, 200, "{self:?}");
        let secret = self.json["token"].as_str().or(self.json["value"].as_str());
        let secret = secret.unwrap_or_else(|| panic!("no client secret: {self:?}"));
        assert!(secret.starts_with("ek_sim_"), "{self:?}");
        secret
    }

    /// Returns the name of the request.
    #[track_caller]
    pub fn request_id(&self) -> String {
        self.header("x-request-id").unwrap().to_owned()
    }

    /// Returns the body of a failure without what differs between two requests.
    pub fn anonymised(&self) -> String {
        let id = self.json["error"]["request_id"].as_str().unwrap();
        self.text.replace(id, "req_…")
    }

    /// Waits as long as the refusal tells its caller to wait.
    pub async fn wait_as_told(&self) {
        // Only real time ends what a real broker counts.
        amid_the_work(self.retry_after() * 1_000).await;
    }

    /// Returns the seconds of `Retry-After`.
    #[track_caller]
    pub fn retry_after(&self) -> u64 {
        self.header("retry-after").unwrap().parse().unwrap()
    }
}
