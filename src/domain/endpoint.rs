//! Addresses of other servers that may be asked over HTTP.

use std::net::IpAddr;

use url::{Host, Url};

use super::address::is_private;
use super::canonical;

/// Reads the address of a server that may be asked: https, or http on this machine and on the hosts of `plain`.
pub fn endpoint(text: &str, plain: &[String]) -> Result<Url, &'static str> {
    let url = web_address(text)
        .ok_or("must be a whole address, like https://id.example.com/.well-known/jwks.json")?;
    if !is_private_enough(&url, plain) {
        return Err(
            "must be https unless it is on this machine: whoever is on the way could answer in its place; \
             auth.allow_plain_http lists exceptions in a network of your own",
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

/// Reads a whole address of https or http.
pub fn web_address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok();
    url.filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
}

/// Returns the address of `path` below `base`.
pub fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// Returns true when nobody on the way can read or answer requests to `url`, or when the operator trusts the way to it: its
/// host is one of `plain`.
pub fn is_private_enough(url: &Url, plain: &[String]) -> bool {
    let is_listed = || {
        url.host_str()
            .is_some_and(|host| plain.iter().any(|it| it == host))
    };
    url.scheme() == "https" || is_loopback(url) || is_listed()
}

/// Reads a host of one's own network, as the addresses of servers hold it.
pub fn own_host(text: &str) -> Result<String, &'static str> {
    let wrong = "must be a host alone, like keycloak or 10.0.0.7: no http://, no port, no pattern";
    let host = Host::parse(text).map_err(|_| wrong)?;
    let is_own = match &host {
        Host::Domain(name) => !name.contains('*'),
        Host::Ipv4(v4) => is_private((*v4).into()),
        Host::Ipv6(v6) => is_private((*v6).into()),
    };
    is_own.then(|| host.to_string()).ok_or(wrong)
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
            assert!(endpoint(good, &[]).is_ok(), "{good}");
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
            assert!(endpoint(bad, &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn f32_plain_http_goes_to_the_listed_hosts_and_to_no_other() {
        let plain = ["Keycloak", "10.0.0.7", "[FD00::7]"].map(|text| own_host(text).unwrap());
        for good in [
            "http://keycloak:8080/x",
            "http://KEYCLOAK/",
            "http://10.0.0.7/",
            "http://[fd00::7]:80/",
        ] {
            assert!(endpoint(good, &plain).is_ok(), "{good}");
        }
        for bad in [
            "http://keycloak.example.com/",
            "http://my.keycloak/",
            "http://10.0.0.70/",
            "http://user@keycloak/",
        ] {
            assert!(endpoint(bad, &plain).is_err(), "{bad}");
        }
        for bad in [
            "",
            "*",
            "*.internal",
            "http://keycloak",
            "keycloak:8080",
            "key cloak",
            "10.0.0.0/8",
            "8.8.8.8",
            "a/b",
            "fd00::7",
        ] {
            assert!(own_host(bad).is_err(), "{bad}");
        }
    }
}
