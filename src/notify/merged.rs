//! Several letters as one: what matters most in the subject and first, what is over last.

use std::collections::BTreeSet;

use aws_lc_rs::digest;

use crate::model::{Letter, Message, Occasion, Severity, Timestamp};
use crate::notify::render::{self, escape, one_line};

/// Letters as they leave together, in the order in which they were queued; `None` of none. Of an alert that has become
/// worse meanwhile the last one is told. `references` are the mails that told of the same alerts before, and so many of
/// the letters were held back for another day.
#[must_use]
pub fn message(letters: Vec<Letter>, references: Vec<String>, held: usize) -> Option<Message> {
    let ids: Vec<String> = letters
        .iter()
        .map(|letter| letter.message_id.clone())
        .collect();
    let mut kept: Vec<Letter> = Vec::with_capacity(letters.len());
    for letter in letters {
        let same = |one: &Letter| {
            one.key == letter.key
                && one.raised_at == letter.raised_at
                && (one.occasion == Occasion::Over) == (letter.occasion == Occasion::Over)
        };
        kept.retain(|one| !same(one));
        kept.push(letter);
    }
    kept.sort_by_key(|letter| {
        let end = letter.certificates.iter().filter_map(|one| one.not_after);
        (
            letter.occasion != Occasion::Digest,
            letter.occasion == Occasion::Over,
            std::cmp::Reverse(letter.severity),
            end.min().unwrap_or(Timestamp(i64::MAX)),
            letter.key.clone(),
        )
    });
    let first = kept.first()?;
    let mut references = match references.is_empty() {
        true => {
            let mut found: Vec<String> = Vec::new();
            for before in kept.iter().filter_map(|letter| letter.follows.as_ref()) {
                if !found.contains(before) && !ids.contains(before) {
                    found.push(before.clone());
                }
            }
            found
        }
        false => references,
    };
    let references = references.split_off(references.len().saturating_sub(MOST_REFERENCES));
    // A digest comes once, whatever it takes along.
    let id = if kept.len() == 1 || first.occasion == Occasion::Digest {
        first.message_id.clone()
    } else {
        id_of(first, &ids)
    };
    Some(Message {
        id,
        references,
        letters: kept,
        held,
    })
}

/// The same for the same letters.
fn id_of(first: &Letter, ids: &[String]) -> String {
    let hash = digest::digest(&digest::SHA256, ids.join("\n").as_bytes());
    let hex: String = hash
        .as_ref()
        .iter()
        .take(12)
        .map(|b| format!("{b:02x}"))
        .collect();
    let host = first
        .message_id
        .rsplit_once('@')
        .map_or("localhost>", |(_, host)| host);
    format!("<renewd.several.{hex}@{host}")
}

/// One line without control characters: of one letter host, how bad, what, and the days that are left; of several how many
/// of what, or the worst of them.
#[must_use]
pub fn subject(message: &Message) -> String {
    let letters = &message.letters;
    let Some(first) = letters.first() else {
        return String::new();
    };
    if letters.len() == 1 {
        return render::subject(first);
    }
    let how = how(first);
    let kinds: BTreeSet<(&str, bool)> = letters
        .iter()
        .map(|letter| (kind(letter), letter.occasion == Occasion::Over))
        .collect();
    if kinds.len() == 1 {
        let left = letters
            .iter()
            .filter_map(|letter| {
                letter
                    .certificates
                    .iter()
                    .filter_map(|one| one.not_after)
                    .min()
            })
            .min()
            .map(|end| format!(" (the first: {})", render::days_left(first.date, end)))
            .unwrap_or_default();
        let what = kind(first).replace('-', " ");
        return format!("[{}] {how}{}: {what}{left}", first.host, counted(letters));
    }
    let title = one_line(&first.title, SHORT_TITLE);
    format!(
        "[{}] {how}{title}, and {} more",
        first.host,
        letters.len() - 1
    )
}

/// For people who read plain text.
#[must_use]
pub fn text(message: &Message) -> String {
    let [first, _, ..] = message.letters.as_slice() else {
        return message
            .letters
            .first()
            .map(render::text)
            .unwrap_or_default();
    };
    let mut out = held(message);
    let over = |letter: &Letter| letter.occasion == Occasion::Over;
    for (at, letter) in message.letters.iter().enumerate() {
        let title = one_line(&letter.title, render::LONGEST_TITLE);
        if letter.occasion == Occasion::Digest {
            out.push_str(&format!("{}\n", render::sections(letter)));
            continue;
        }
        if over(letter) {
            if at == 0 || !over(&message.letters[at - 1]) {
                out.push_str("Over:\n\n");
            }
            out.push_str(&format!("  {title} (since {})\n", letter.date));
            continue;
        }
        out.push_str(&format!("{}{title}\n", how(letter)));
        if at < MOST_IN_FULL {
            out.push_str(&format!("\n{}\n\n", letter.text));
            for (name, state) in render::concerned(letter) {
                out.push_str(&format!("  {name}  {state}\n"));
            }
            out.push('\n');
        }
    }
    let keys: Vec<&str> = message
        .letters
        .iter()
        .map(|letter| letter.key.as_str())
        .collect();
    out.push_str(&format!(
        "\n-- \nrenewd on {}, {} alerts: {}\n",
        first.host,
        keys.len(),
        keys.join(", ")
    ));
    out
}

/// The same for mail programs that show HTML: no pictures, no links, nothing from elsewhere.
#[must_use]
pub fn html(message: &Message) -> String {
    let [first, _, ..] = message.letters.as_slice() else {
        return message
            .letters
            .first()
            .map(render::html)
            .unwrap_or_default();
    };
    let mut out = "<!DOCTYPE html>\n<html><body style=\"font-family:sans-serif\">\n".to_owned();
    if message.held > 0 {
        out.push_str(&format!("<p>{}</p>\n", escape(held(message).trim())));
    }
    for (at, letter) in message.letters.iter().enumerate() {
        let (colour, title) = (render::colour(letter), escape(&letter.title));
        if letter.occasion == Occasion::Over {
            out.push_str(&format!(
                "<p style=\"color:{colour}\">Over since {}: {title}</p>\n",
                letter.date
            ));
            continue;
        }
        out.push_str(&format!("<h3 style=\"color:{colour}\">{title}</h3>\n"));
        out.push_str(&render::lists(letter));
        if at < MOST_IN_FULL {
            out.push_str(&format!(
                "<p style=\"white-space:pre-wrap\">{}</p>\n",
                escape(&letter.text)
            ));
            out.push_str(&render::table(letter));
        }
    }
    out.push_str(&format!(
        "<hr>\n<p><small>renewd on {}, {} alerts</small></p>\n</body></html>\n",
        escape(&first.host),
        message.letters.len()
    ));
    out
}

fn held(message: &Message) -> String {
    match message.held {
        0 => String::new(),
        held => format!(
            "{held} of these were held back until now, since this recipient had the mails of a day (`mails_per_day`).\n\n"
        ),
    }
}

fn how(letter: &Letter) -> &'static str {
    match (letter.occasion, letter.severity) {
        (Occasion::Over, _) => "over: ",
        (_, Severity::Critical) => "CRITICAL: ",
        (_, Severity::Warning) => "warning: ",
        (_, Severity::Notice) => "",
    }
}

fn kind(letter: &Letter) -> &str {
    letter
        .key
        .split_once('/')
        .map_or(letter.key.as_str(), |(kind, _)| kind)
}

/// Such as `14 certificates`, where each letter is about another one, or `3 alerts`.
fn counted(letters: &[Letter]) -> String {
    let names: BTreeSet<&str> = letters
        .iter()
        .filter(|letter| letter.certificates.len() == 1)
        .flat_map(|letter| letter.certificates.iter().map(|one| one.name.as_str()))
        .collect();
    let what = if names.len() == letters.len() {
        "certificates"
    } else {
        "alerts"
    };
    format!("{} {what}", letters.len())
}

/// The latest of the mails that one refers to: servers bound what headers take.
const MOST_REFERENCES: usize = 24;
/// In characters, of the first of several.
const SHORT_TITLE: usize = 100;
/// Letters with all of their words; of the others the line is told.
const MOST_IN_FULL: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Alert, AlertKey, Concerned, Seconds};

    const T: Timestamp = Timestamp(1_900_000_000);

    fn letter(kind: &str, name: &str, severity: Severity, occasion: Occasion) -> Letter {
        let alert = Alert {
            key: AlertKey::new(kind, name),
            severity,
            step: 0,
            title: format!("{name}: <{kind}>"),
            text: "Do something.".to_owned(),
        };
        let one = Concerned {
            name: name.to_owned(),
            not_after: Some(T + Seconds::days(6) + Seconds(5)),
        };
        let first = matches!(occasion, Occasion::Raised(0));
        render::letter("web1", &alert, vec![one], T, (occasion, T, first))
    }

    #[test]
    fn several_of_a_kind_are_counted_and_of_several_kinds_the_worst_is_named() {
        let failing = |name: &str| {
            letter(
                "renewal-failing",
                name,
                Severity::Warning,
                Occasion::Raised(0),
            )
        };
        let many: Vec<Letter> = (0..14).map(|n| failing(&format!("c{n}"))).collect();
        let message = message(many.clone(), Vec::new(), 3).unwrap();
        assert_eq!(
            subject(&message),
            "[web1] warning: 14 certificates: renewal failing (the first: 6 days left)"
        );
        assert!(text(&message).starts_with("3 of these were held back"));
        assert!(text(&message).contains("warning: c13: <renewal-failing>\n\nDo something."));
        assert!(html(&message).contains("c13: &lt;renewal-failing&gt;"));
        let again = super::message(many.clone(), Vec::new(), 0).unwrap();
        assert_eq!(
            again.id, message.id,
            "the same letters, the same identifier"
        );
        assert!(again.id.ends_with("@web1>") && again.id != many[0].message_id);

        let bad = letter("expiring", "www", Severity::Critical, Occasion::Raised(2));
        let over = letter("rolled-back", "nginx", Severity::Critical, Occasion::Over);
        let mixed = super::message(vec![over, many[0].clone(), bad], Vec::new(), 0).unwrap();
        assert_eq!(
            subject(&mixed),
            "[web1] CRITICAL: www: <expiring>, and 2 more"
        );
        assert!(text(&mixed).contains("Over:\n\n  nginx: <rolled-back> (since "));
        // What two of them follow, since nothing is known of what was sent.
        assert_eq!(mixed.references.len(), 2, "{:?}", mixed.references);
    }

    #[test]
    fn one_that_became_worse_is_told_once_as_it_is_now() {
        let step = |step| letter("expiring", "www", Severity::Warning, Occasion::Raised(step));
        let message =
            message(vec![step(0), step(1), step(2)], vec!["<a@b>".to_owned()], 0).unwrap();
        assert_eq!(message.letters, [step(2)]);
        assert_eq!(message.id, step(2).message_id);
        assert_eq!(message.references, ["<a@b>"]);
        assert_eq!(super::message(Vec::new(), Vec::new(), 0), None);
    }
}
