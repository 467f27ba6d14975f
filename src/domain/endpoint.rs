//! Addresses of other servers that may be asked over HTTP.

use url::{Host, Url};

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
    if is_link_local(&url) {
        return Err("must not be a link-local address: clouds serve their own secrets there");
    }
    Ok(url)
}

/// True when requests to `url` never leave this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn is_link_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_link_local(),
        Some(Host::Ipv6(address)) => {
            let mapped = address.to_ipv4_mapped();
            address.is_unicast_link_local() || mapped.is_some_and(|v4| v4.is_link_local())
        }
        Some(Host::Domain(_)) | None => false,
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
