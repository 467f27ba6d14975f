//! Deserializes socket addresses, secrets, lists of names, and tables whose keys are free.

use std::convert::Infallible;
use std::net::SocketAddr;

use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, Error};
use url::Url;

use crate::domain::written::{list, optional, text};
use crate::domain::{PersonaName, web_address};

/// Reads an address and a port to listen on.
pub(super) fn socket_address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let wrong = |_| "must be an address and a port, like 127.0.0.1:8080, [::1]:8080 or, for all addresses, 0.0.0.0:8080";
    text(from, |text| in_numbers(text).parse().map_err(wrong))
}

/// Returns the address to listen on in numbers: `localhost` and a port without an address stand for this machine.
pub(super) fn in_numbers(text: &str) -> String {
    let is_port = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.strip_prefix("localhost") {
        Some(rest) if rest.is_empty() || rest.starts_with(':') => format!("127.0.0.1{rest}"),
        _ if is_port => format!("127.0.0.1:{text}"),
        _ => text.to_owned(),
    }
}

/// Reads a secret; an empty text is `None`. The content of a `…_file` is in its place already.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    optional(from, |text| Ok::<_, Infallible>(text.into()))
}

/// Reads a secret of at least `LEAST` bytes; an empty text is `None`.
pub(super) fn long_secret<'de, const LEAST: usize, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<SecretString>, D::Error> {
    optional(from, |text| strong::<LEAST>(text).map(Into::into))
}

/// Returns a secret that cannot be guessed, because it has `LEAST` bytes.
pub(super) fn strong<const LEAST: usize>(text: &str) -> Result<String, String> {
    let is_strong = text.len() >= LEAST;
    is_strong.then(|| text.to_owned()).ok_or_else(|| {
        format!("must be at least {LEAST} bytes long, like `openssl rand -hex 32` gives")
    })
}

/// Reads a list of texts, none of them empty.
pub(super) fn texts<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: for<'text> From<&'text str>,
    D: Deserializer<'de>,
{
    list(from, |text| match text {
        "" => Err("must not be empty"),
        text => Ok(text.into()),
    })
}

/// Reads a list of names of personas.
pub(super) fn persona_names<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<PersonaName>, D::Error> {
    list(from, PersonaName::parse)
}

/// Reads an address below which a server has its paths. `whole` says what to write, and `user` what to write instead of a user.
pub(super) fn base(
    text: &str,
    whole: &'static str,
    user: &'static str,
) -> Result<Url, &'static str> {
    let url = web_address(text).ok_or(whole)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(user);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path: no ? and no #");
    }
    Ok(url)
}

/// Reads a table of texts in the order in which it is written.
pub(super) fn pairs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    let wrong =
        || Error::custom("must be a table of texts, like { \"/role\" = \"authenticated\" }");
    let table = toml::Table::deserialize(from).map_err(|_: D::Error| wrong())?;
    let pairs = table.into_iter();
    pairs
        .map(|(key, value)| {
            value
                .as_str()
                .map(|text| (key, text.to_owned()))
                .ok_or_else(wrong)
        })
        .collect()
}
