//! Reads when the provider shuts its models down.

use reqwest::StatusCode;
use serde::Deserialize;

use super::{OpenAi, UpstreamError, read_capped, refusal, transport};

#[derive(Deserialize)]
struct List {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    /// A day like `2027-01-20`. Absent or null: none is announced.
    shutdown_date: Option<String>,
}

impl OpenAi {
    /// Lists the models that have an announced end, each with its day in UTC, like `2027-01-20`.
    pub async fn shutdowns(&self) -> Result<Vec<(String, String)>, UpstreamError> {
        let connection = self.connections.take();
        let (header, key) = (&self.keys.header, self.keys.first());
        let asked = connection.get(self.models_url.clone());
        let asked = asked.header(header, &key.value);
        let response = asked.send().await.map_err(transport)?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response).await);
        }
        let body = read_capped(response).await?;
        let unreadable = |_| UpstreamError::Invalid("it is no list of models");
        let list: List = serde_json::from_slice(&body).map_err(unreadable)?;
        let ends = list.data.into_iter();
        Ok(ends
            .filter_map(|model| Some((model.id, model.shutdown_date?)))
            .collect())
    }
}
