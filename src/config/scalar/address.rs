//! Endpoints and listener addresses.

use std::net::{IpAddr, Ipv6Addr};

use crate::config::scalar::Refusal;
use crate::model::Name;

/// Reads a base URL without path and gives it back in lower case without a final slash. Plain HTTP is for loopback.
pub(in crate::config) fn endpoint(text: &str, example: &str) -> Result<String, Refusal> {
    base_url(text, example, is_loopback)
}

/// The same for the metadata service of an ECS, which is at a link-local address and speaks plain HTTP.
pub(in crate::config) fn metadata(text: &str, example: &str) -> Result<String, Refusal> {
    let near = |host: &str| {
        let ip = host.parse::<std::net::Ipv4Addr>();
        is_loopback(host) || ip.is_ok_and(|ip| ip.is_link_local())
    };
    base_url(text, example, near)
}

fn base_url(
    text: &str,
    example: &str,
    may_be_plain: impl Fn(&str) -> bool,
) -> Result<String, Refusal> {
    let lower = text.to_ascii_lowercase();
    let example = format!("write for example `{example}`");
    let (scheme, rest) = match lower.split_once("://") {
        Some((scheme @ ("https" | "http"), rest)) => (scheme, rest),
        Some(_) => return Err(Refusal::new("is neither https:// nor http://").help(example)),
        None => return Err(Refusal::new("has no scheme").help(example)),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err(Refusal::new("has user and password in it").help(example));
    }
    if authority.contains(['/', '?', '#', '\\']) {
        return Err(Refusal::new("has more than scheme, host and port").help(example));
    }
    let (host, port) =
        split(authority).ok_or_else(|| Refusal::new("has no usable host and port"))?;
    let host = host_name(&host)?;
    if scheme == "http" && !may_be_plain(&host) {
        return Err(
            Refusal::new("sends credentials and certificates in the clear over a network").help(
                format!("write `https://{authority}`; plain http is for this host itself"),
            ),
        );
    }
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Ok(format!("{scheme}://{host}{port}"))
}

/// Reads `host:port` and gives it back in lower case, IPv6 in brackets.
pub(in crate::config) fn host_port(text: &str) -> Result<String, Refusal> {
    let help = "write `host:port`, such as `127.0.0.1:443` or `[::1]:443`";
    let lower = text.to_ascii_lowercase();
    let Some((host, port)) = split(&lower) else {
        return Err(Refusal::new("is no host and port").help(help));
    };
    let Some(port) = port else {
        return Err(Refusal::new("has no port").help(help));
    };
    let host = host_name(&host)?;
    Ok(format!("{host}:{port}"))
}

/// Reads a whole URL and gives it back with its host. It may hold a secret, so it is never repeated. Plain HTTP is for
/// loopback.
pub(in crate::config) fn url(text: &str) -> Result<(String, String), Refusal> {
    let help =
        "write `https://` and what follows, or where it is kept: `file:/path`, `credential:NAME`";
    let Some((scheme @ ("https" | "http"), rest)) = text.split_once("://") else {
        return Err(Refusal::new("is no URL").help(help));
    };
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
    if text.contains(odd) || !text.is_ascii() {
        return Err(Refusal::new("is no URL").help(help));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    if authority.contains('@') {
        return Err(Refusal::new("has user and password in it").help(help));
    }
    let (host, _) = split(&authority.to_ascii_lowercase())
        .ok_or_else(|| Refusal::new("has no usable host and port").help(help))?;
    let host = host_name(&host)?;
    if scheme == "http" && !is_loopback(&host) {
        return Err(Refusal::new("goes over a network in the clear")
            .help("write `https://`; plain http is for this host itself"));
    }
    Ok((text.to_owned(), host))
}

/// Reads the name or address of a server, without a port, and gives it back in lower case.
pub(in crate::config) fn server(text: &str) -> Result<String, Refusal> {
    let lower = text.to_ascii_lowercase();
    match split(&lower) {
        Some((host, None)) => host_name(&host),
        Some((_, Some(_))) => {
            Err(Refusal::new("has a port in it").help("write the port as `port`, a key of its own"))
        }
        None => Err(Refusal::new("is no host name or address")
            .help("write for example `mail.example.com` or `[2001:db8::25]`")),
    }
}

/// The same where a port may be missing and is this one then.
pub(in crate::config) fn host_maybe_port(text: &str, port: &str) -> Result<String, Refusal> {
    let help =
        "write \"names\", `host` or `host:port`, such as `lb.example.com` or `[2001:db8::7]:443`";
    let lower = text.to_ascii_lowercase();
    let Some((host, own)) = split(&lower) else {
        return Err(Refusal::new("is neither \"names\" nor a host").help(help));
    };
    let host = host_name(&host).map_err(|refusal| refusal.help(help))?;
    Ok(match own {
        Some(own) => format!("{host}:{own}"),
        None => format!("{host}:{port}"),
    })
}

/// Host (IPv6 still in brackets) and port, if there is one.
fn split(text: &str) -> Option<(String, Option<u16>)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits
            .then(|| text.parse::<u16>().ok())
            .flatten()
            .filter(|port| *port > 0)
    };
    if text.starts_with('[') {
        let (host, rest) = text.split_at(text.find(']')? + 1);
        if rest.is_empty() {
            return Some((host.to_owned(), None));
        }
        return Some((host.to_owned(), Some(number(rest.strip_prefix(':')?)?)));
    }
    match text.split_once(':') {
        None => Some((text.to_owned(), None)),
        Some((host, port)) => Some((host.to_owned(), Some(number(port)?))),
    }
}

fn host_name(host: &str) -> Result<String, Refusal> {
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        let address: Ipv6Addr = inner.parse().map_err(|_| {
            Refusal::new(format!("has the host `{host}`, which is no IPv6 address"))
        })?;
        return Ok(format!("[{address}]"));
    }
    match Name::parse(host) {
        Ok(Name::Ip(address)) => Ok(address.to_string()),
        Ok(name @ Name::Dns(_)) if !name.is_wildcard() => Ok(name.to_string()),
        Ok(_) => Err(Refusal::new(format!(
            "has the host `{host}`, which is no host name"
        ))),
        Err(error) => Err(Refusal::new(format!(
            "has the host `{host}`, which {error}"
        ))),
    }
}

/// Whether a host is this one, whatever name servers say.
pub(in crate::config) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_normalised() {
        let good = [
            ("https://CCM.example.com", "https://ccm.example.com"),
            (
                "https://ccm.example.com:8443/",
                "https://ccm.example.com:8443",
            ),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://localhost:1", "http://localhost:1"),
            ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
        ];
        for (text, want) in good {
            assert_eq!(endpoint(text, "").as_deref(), Ok(want));
        }
    }

    #[test]
    fn metadata_may_be_asked_for_in_the_clear_next_door() {
        assert!(metadata("http://169.254.169.254", "").is_ok());
        assert!(metadata("http://127.0.0.1:8080", "").is_ok());
        assert!(metadata("http://10.0.0.1", "").is_err());
        assert!(endpoint("http://169.254.169.254", "").is_err());
    }

    #[test]
    fn unsafe_and_odd_endpoints_are_refused() {
        for bad in [
            "",
            "ccm.example.com",
            "ftp://x",
            "https://",
            "https://x/v1",
            "https://x?y",
            "https://u:p@x",
            "https://x:0",
            "https://x:99999",
            "https://x:+1",
            "https://a..b",
            "https://*.example.com",
            "https://[::1",
            "https://[1.2.3.4]",
            "http://ccm.example.com",
            "http://10.0.0.1",
        ] {
            assert!(endpoint(bad, "").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_place_without_a_port_gets_one() {
        for (text, want) in [
            ("LB.example.com", "lb.example.com:443"),
            ("lb.example.com:8443", "lb.example.com:8443"),
            ("192.0.2.7", "192.0.2.7:443"),
            ("[2001:DB8::7]", "[2001:db8::7]:443"),
            ("[2001:db8::7]:8443", "[2001:db8::7]:8443"),
        ] {
            assert_eq!(host_maybe_port(text, "443").as_deref(), Ok(want));
        }
        for bad in ["", "::1", "a:b", "a:0", "*.example.com", "https://x"] {
            assert!(host_maybe_port(bad, "443").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_listener_has_host_and_port() {
        assert_eq!(host_port("[::1]:443").as_deref(), Ok("[::1]:443"));
        assert_eq!(host_port("Web.local:8443").as_deref(), Ok("web.local:8443"));
        for bad in [
            "",
            "443",
            ":443",
            "127.0.0.1",
            "::1:443",
            "a:b",
            "a:0",
            "[::1]",
        ] {
            assert!(host_port(bad).is_err(), "{bad}");
        }
    }
}
