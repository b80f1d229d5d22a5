//! Mail addresses, and hours in which no mail is wanted.

use jiff::tz::TimeZone;

use crate::config::scalar::Refusal;
use crate::model::Quiet;

/// Reads `name@example.com` and gives it back with its domain as the network knows it (`xn--…`).
pub(in crate::config) fn mail_address(text: &str) -> Result<String, Refusal> {
    let help = "write `name@example.com`, without a display name";
    let no = || Refusal::new("is no mail address").help(help);
    let (local, domain) = text.rsplit_once('@').ok_or_else(no)?;
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"' | ',');
    if local.is_empty() || local.contains(odd) || domain.contains(odd) || text.len() > LONGEST {
        return Err(no());
    }
    let domain = if domain.starts_with('[') {
        domain.to_owned()
    } else {
        idna::domain_to_ascii(domain).map_err(|_| {
            Refusal::new(format!("has the domain `{domain}`, which is none")).help(help)
        })?
    };
    let address = format!("{local}@{domain}");
    address
        .parse::<lettre::Address>()
        .map(|_| address)
        .map_err(|_| no())
}

/// Reads `22:00-07:00`.
pub(in crate::config) fn quiet(text: &str) -> Result<Quiet, Refusal> {
    let help = "write `22:00-07:00`: from, until";
    let no = || Refusal::new("is no part of a day").help(help);
    let (from, until) = text.split_once('-').ok_or_else(no)?;
    let (from, until) = (
        minute(from.trim()).ok_or_else(no)?,
        minute(until.trim()).ok_or_else(no)?,
    );
    if from == until {
        return Err(Refusal::new("begins when it ends").help(help));
    }
    Ok(Quiet {
        from,
        until,
        zone: TimeZone::UTC,
    })
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

/// Bytes: a path of RFC 5321, 4.5.3.1.3, without its brackets.
const LONGEST: usize = 254;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_their_domains_written_as_the_network_knows_them() {
        for (text, want) in [
            ("ops@example.com", "ops@example.com"),
            ("Ops+tls@Example.COM", "Ops+tls@example.com"),
            ("root@localhost", "root@localhost"),
            ("ops@bücher.example", "ops@xn--bcher-kva.example"),
        ] {
            assert_eq!(mail_address(text).as_deref(), Ok(want));
        }
        for bad in [
            "",
            "ops",
            "@example.com",
            "ops@",
            "ops@example.com\r\nBcc: all@example.com",
            "Ops <ops@example.com>",
            "a@example.com,b@example.com",
            "ops @example.com",
            "ops@exa mple.com",
            "ops@-.example",
        ] {
            assert!(mail_address(bad).is_err(), "{bad:?}");
        }
        assert!(mail_address(&format!("{}@example.com", "a".repeat(300))).is_err());
    }

    #[test]
    fn quiet_hours_are_two_times_of_a_day() {
        let night = Quiet {
            from: 1320,
            until: 420,
            zone: TimeZone::UTC,
        };
        assert_eq!(quiet("22:00-07:00"), Ok(night.clone()));
        assert_eq!(quiet("22:00 - 07:00"), Ok(night));
        for bad in [
            "",
            "22-7",
            "24:00-07:00",
            "22:60-07:00",
            "22:00",
            "7:00-8:00",
            "07:00-07:00",
        ] {
            assert!(quiet(bad).is_err(), "{bad}");
        }
    }
}
