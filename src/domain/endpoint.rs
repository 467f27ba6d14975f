//! Addresses of other servers that may be asked over HTTP.

use std::net::IpAddr;

use url::{Host, Url};

use super::canonical;

/// Reads the address of a server that may be asked: https, or http on this machine.
pub fn endpoint(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
        .ok_or("must be a whole address, like https://id.example.com/.well-known/jwks.json")?;
    if url.scheme() != "https" && !is_loopback(&url) {
        return Err(
            "must be https unless it is on this machine: whoever is on the way could answer in its place",
        );
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password");
    }
    if url.fragment().is_some() {
        return Err("must not hold a #");
    }
    if address(&url).is_some_and(is_link_local) {
        return Err("must not be a link-local address: clouds serve their own secrets there");
    }
    Ok(url)
}

/// Returns the address of `path` below `base`.
pub fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// Returns true when requests to `url` never leave this machine.
pub fn is_loopback(url: &Url) -> bool {
    url.host_str() == Some("localhost") || address(url).is_some_and(|it| it.is_loopback())
}

fn is_link_local(address: IpAddr) -> bool {
    match canonical(address) {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Returns the IP address in `url`, if it holds no name.
fn address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Domain(_) => None,
        Host::Ipv4(v4) => Some(v4.into()),
        Host::Ipv6(v6) => Some(v6.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_https_or_on_this_machine_and_never_link_local() {
        for good in [
            "https://id.example.com/jwks?x=1",
            "http://127.0.0.1:9/jwks",
            "http://[::1]/jwks",
            "http://localhost:9999/",
            "https://10.0.0.7/jwks",
        ] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "jwks",
            "ftp://id.example.com/",
            "http://id.example.com/",
            "http://10.0.0.7/",
            "https://user@id.example.com/",
            "https://:pass@id.example.com/",
            "https://id.example.com/#x",
            "https://169.254.169.254/latest/meta-data/",
            "https://[fe80::1]/",
            "https://[::ffff:169.254.169.254]/",
            "http://localhost.example.com/",
            "file:///etc/passwd",
        ] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
