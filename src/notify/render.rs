//! An alert as a letter: subject, text, and the identifiers that make mail programs show a recovery below its alert.
//!
//! Pure: the same alert makes the same letter on every attempt, so that a letter sent twice can be told as one.

use crate::model::{Alert, Concerned, Digest, Letter, Occasion, Seconds, Severity, Timestamp};

/// The letter about an alert that was raised at a moment, from this host; `first` for those who had none about it.
#[must_use]
pub fn letter(
    host: &str,
    alert: &Alert,
    certificates: Vec<Concerned>,
    raised_at: Timestamp,
    (occasion, date, first): (Occasion, Timestamp, bool),
) -> Letter {
    let key = alert.key.as_str();
    let thread = message_id(key, raised_at, "raised", host);
    let (message_id, follows) = if first {
        (thread, None)
    } else {
        let own = message_id(key, raised_at, &occasion.code(), host);
        (own, Some(thread))
    };
    Letter {
        host: one_line(host, LONGEST_HOST),
        key: key.to_owned(),
        occasion,
        severity: alert.severity,
        title: alert.title.clone(),
        text: match occasion {
            Occasion::Raised(_) => alert.text.trim().to_owned(),
            Occasion::Over | Occasion::Digest => String::new(),
        },
        certificates,
        digest: None,
        raised_at,
        date,
        message_id,
        follows,
    }
}

/// A digest of a period, which is named by its beginning; `way` tells those of one host apart.
#[must_use]
pub fn digest(
    (host, way): (&str, &str),
    title: String,
    digest: Digest,
    period: Timestamp,
    date: Timestamp,
) -> Letter {
    Letter {
        host: one_line(host, LONGEST_HOST),
        key: DIGEST.to_owned(),
        occasion: Occasion::Digest,
        severity: Severity::Notice,
        title,
        text: String::new(),
        certificates: Vec::new(),
        digest: Some(digest),
        raised_at: period,
        date,
        message_id: message_id(&format!("{DIGEST}/{way}"), period, "digest", host),
        follows: None,
    }
}

/// In place of the key of an alert.
const DIGEST: &str = "digest";

/// One line without control characters: host, how bad, what, and the days that are left.
pub(super) fn subject(letter: &Letter) -> String {
    let how = match (letter.occasion, letter.severity) {
        (Occasion::Over, _) => "over: ",
        (_, Severity::Critical) => "CRITICAL: ",
        (_, Severity::Warning) => "warning: ",
        (_, Severity::Notice) => "",
    };
    let left = letter
        .certificates
        .iter()
        .filter_map(|one| Some((one.not_after?, one.name.as_str())))
        .min()
        .map(|(end, name)| {
            let about = if letter.title.contains(name) {
                String::new()
            } else {
                format!("{name}: ")
            };
            format!(" ({about}{})", days_left(letter.date, end))
        })
        .unwrap_or_default();
    let title = one_line(&letter.title, LONGEST_TITLE);
    format!("[{}] {how}{title}{left}", letter.host)
}

/// For people who read plain text.
pub(super) fn text(letter: &Letter) -> String {
    let mut out = match letter.occasion {
        Occasion::Raised(_) => format!("{}\n\n{}\n", letter.title, letter.text),
        Occasion::Over => format!("This is over since {}:\n\n{}\n", letter.date, letter.title),
        Occasion::Digest => {
            return format!("{}\n-- \nrenewd on {}\n", sections(letter), letter.host);
        }
    };
    if !letter.certificates.is_empty() {
        out.push('\n');
    }
    for (name, state) in concerned(letter) {
        out.push_str(&format!("  {name}  {state}\n"));
    }
    out.push_str(&format!(
        "\n-- \nrenewd on {}, alert {} ({}), since {}\n",
        letter.host, letter.key, letter.severity, letter.raised_at
    ));
    out
}

/// The same for mail programs that show HTML: no pictures, no links, nothing from elsewhere.
pub(super) fn html(letter: &Letter) -> String {
    let colour = colour(letter);
    let title = escape(&letter.title);
    let mut out = format!(
        "<!DOCTYPE html>\n<html><body style=\"font-family:sans-serif\">\n<h3 style=\"color:{colour}\">{title}</h3>\n"
    );
    match letter.occasion {
        Occasion::Raised(_) => out.push_str(&format!(
            "<p style=\"white-space:pre-wrap\">{}</p>\n",
            escape(&letter.text)
        )),
        Occasion::Over => out.push_str(&format!("<p>This is over since {}.</p>\n", letter.date)),
        Occasion::Digest => {
            out.push_str(&lists(letter));
            let host = escape(&letter.host);
            out.push_str(&format!(
                "<hr>\n<p><small>renewd on {host}</small></p>\n</body></html>\n"
            ));
            return out;
        }
    }
    out.push_str(&table(letter));
    out.push_str(&format!(
        "<hr>\n<p><small>renewd on {}, alert {} ({}), since {}</small></p>\n</body></html>\n",
        escape(&letter.host),
        escape(&letter.key),
        letter.severity,
        letter.raised_at
    ));
    out
}

/// What a digest says, as plain text.
pub(super) fn sections(letter: &Letter) -> String {
    let Some(digest) = &letter.digest else {
        return String::new();
    };
    let since = digest
        .since
        .map_or(String::new(), |since| format!("{since} to "));
    let mut out = format!("{}\n{since}{}\n", letter.title, letter.date);
    for section in &digest.sections {
        out.push_str(&format!("\n{}\n", section.title));
        for line in &section.lines {
            out.push_str(&format!("  {}\n", one_line(line, LONGEST_LINE)));
        }
        match (section.lines.is_empty(), section.more) {
            (true, _) => out.push_str("  nothing\n"),
            (false, 0) => {}
            (false, more) => out.push_str(&format!("  … and {more} more\n")),
        }
    }
    out
}

/// What a digest says, as HTML.
pub(super) fn lists(letter: &Letter) -> String {
    let mut out = String::new();
    for section in letter.digest.iter().flat_map(|digest| &digest.sections) {
        out.push_str(&format!("<h4>{}</h4>\n<ul>\n", escape(&section.title)));
        for line in &section.lines {
            out.push_str(&format!(
                "<li>{}</li>\n",
                escape(&one_line(line, LONGEST_LINE))
            ));
        }
        if section.more > 0 {
            out.push_str(&format!("<li>… and {} more</li>\n", section.more));
        }
        out.push_str("</ul>\n");
    }
    out
}

pub(super) fn colour(letter: &Letter) -> &'static str {
    match (letter.occasion, letter.severity) {
        (Occasion::Over, _) => "#1a7f37",
        (_, Severity::Critical) => "#b42318",
        (_, Severity::Warning) => "#b54708",
        (_, Severity::Notice) => "#344054",
    }
}

/// The certificates of a letter in HTML; empty where there are none.
pub(super) fn table(letter: &Letter) -> String {
    if letter.certificates.is_empty() {
        return String::new();
    }
    let rows: String = concerned(letter)
        .iter()
        .map(|(name, state)| {
            let (name, state) = (escape(name), escape(state));
            format!("<tr><td>{name}</td><td>{state}</td></tr>\n")
        })
        .collect();
    format!("<table cellpadding=\"4\">\n{rows}</table>\n")
}

/// The certificates of a letter and how long each is valid, the first to end first; longer lists are in `renewd status`.
pub(super) fn concerned(letter: &Letter) -> Vec<(String, String)> {
    let mut all: Vec<&Concerned> = letter.certificates.iter().collect();
    all.sort_by_key(|one| (one.not_after.unwrap_or(Timestamp(i64::MAX)), &one.name));
    let mut lines: Vec<(String, String)> = all
        .iter()
        .take(MOST_SHOWN)
        .map(|one| {
            let state = match one.not_after {
                Some(end) => format!("valid until {end}, {}", days_left(letter.date, end)),
                None => "there is none yet".to_owned(),
            };
            (one.name.clone(), state)
        })
        .collect();
    if let Some(more) = all.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
        lines.push(("…".to_owned(), format!("and {more} more")));
    }
    lines
}

pub(super) fn days_left(now: Timestamp, end: Timestamp) -> String {
    let left = now.until(end);
    match left.0.div_euclid(Seconds::days(1).0) {
        _ if left.0 <= 0 => "expired".to_owned(),
        0 => format!("{left} left"),
        1 => "1 day left".to_owned(),
        days => format!("{days} days left"),
    }
}

/// An identifier of atoms only (RFC 5322, 3.2.3), different for different keys: other bytes are written as `=2F`.
fn message_id(key: &str, raised_at: Timestamp, step: &str, host: &str) -> String {
    let key = atoms(key);
    let host = match atoms(host) {
        empty if empty.is_empty() => "localhost".to_owned(),
        host => host,
    };
    format!("<renewd.{key}.{}.{step}@{host}>", raised_at.0)
}

fn atoms(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for part in text.split('.').filter(|part| !part.is_empty()) {
        if !out.is_empty() {
            out.push('.');
        }
        for byte in part.bytes() {
            if byte.is_ascii_alphanumeric() || byte == b'-' {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("={byte:02X}"));
            }
        }
    }
    out
}

/// Without control characters, and no longer than this.
pub(super) fn one_line(text: &str, longest: usize) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let clean = clean.trim();
    if clean.chars().count() <= longest {
        return clean.to_owned();
    }
    let short: String = clean.chars().take(longest - 1).collect();
    format!("{short}…")
}

pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// In characters; a title may carry the whole message of an issuer.
pub(super) const LONGEST_TITLE: usize = 160;
/// In characters, of a digest: a title with the moment behind it.
const LONGEST_LINE: usize = 250;
/// In characters; host names have at most 64 on Linux.
const LONGEST_HOST: usize = 64;
/// Certificates in one letter.
const MOST_SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AlertKey;

    const T: Timestamp = Timestamp(1_900_000_000);

    fn alert(title: &str) -> Alert {
        Alert {
            key: AlertKey::new("expired", "web"),
            severity: Severity::Critical,
            step: 0,
            title: title.to_owned(),
            text: "Do something.\n".to_owned(),
        }
    }

    fn about(title: &str, occasion: Occasion, date: Timestamp) -> Letter {
        let web = Concerned {
            name: "web".to_owned(),
            not_after: Some(T + Seconds::days(6) + Seconds(5)),
        };
        let alert = alert(title);
        letter(
            "web1.example.com",
            &alert,
            vec![web],
            T,
            (occasion, date, date == T),
        )
    }

    #[test]
    fn what_comes_later_follows_the_first_letter_and_every_attempt_has_the_same_identifier() {
        let raised = about("web: expired", Occasion::Raised(0), T);
        assert_eq!(raised, about("web: expired", Occasion::Raised(0), T));
        let first = "<renewd.expired=2Fweb.1900000000.raised@web1.example.com>";
        assert_eq!(raised.message_id, first);
        assert_eq!(raised.follows, None);
        let later = T + Seconds(60);
        let over = about("web: expired", Occasion::Over, later);
        let worse = about("web: expired", Occasion::Raised(3), later);
        for next in [&over, &worse] {
            assert_eq!(next.follows.as_deref(), Some(first));
            assert_ne!(next.message_id, raised.message_id);
        }
        assert_ne!(over.message_id, worse.message_id);
    }

    #[test]
    fn the_subject_says_host_certificate_and_days_left() {
        let raised = about("web: ends soon", Occasion::Raised(0), T);
        assert_eq!(
            subject(&raised),
            "[web1.example.com] CRITICAL: web: ends soon (6 days left)"
        );
        let over = about("nginx: rolled back", Occasion::Over, T + Seconds::days(6));
        assert_eq!(
            subject(&over),
            "[web1.example.com] over: nginx: rolled back (web: 5s left)"
        );
    }

    #[test]
    fn a_title_can_neither_add_a_header_nor_markup() {
        let raised = about(
            "web\r\nBcc: all@example.com\r\n\r\n<script>",
            Occasion::Raised(0),
            T,
        );
        assert!(!subject(&raised).chars().any(char::is_control));
        assert!(!html(&raised).contains("<script>"));
        let long = about(&"ü".repeat(5000), Occasion::Raised(0), T);
        assert!(subject(&long).ends_with("… (web: 6 days left)"));
        assert!(subject(&long).chars().count() < 250);
    }

    #[test]
    fn identifiers_stay_apart_and_stay_atoms() {
        assert_ne!(atoms("a/b"), atoms("a=2Fb"));
        assert_eq!(atoms(".a..b."), "a.b");
        let id = message_id("k>\r\n@x", Timestamp(1), "raised", "");
        assert_eq!(id, "<renewd.k=3E=0D=0A=40x.1.raised@localhost>");
    }
}
