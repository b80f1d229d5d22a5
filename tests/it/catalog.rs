//! The journal's catalog: made from the table of alerts and that of other events, and taken by journalctl.
//!
//! `make man` writes it anew; these tests fail while it does not say what its sources say.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use renewd::model::{Kind, Milestone};

#[test]
fn the_catalog_says_what_the_tables_say() {
    let made = render();
    let file = root().join("systemd/renewd.catalog");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &made).unwrap();
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert!(there == made, "run `make man` and commit");
}

#[test]
fn each_alert_has_a_number_and_each_number_an_alert() {
    let told: BTreeSet<String> = rows("docs/alerts.md").into_keys().collect();
    let known: BTreeSet<String> = Kind::ALL.iter().map(|kind| kind.code.to_owned()).collect();
    assert_eq!(told, known);
}

#[test]
fn journalctl_takes_the_catalog() {
    // The database is made of all catalogs below a root, and asked for one entry.
    let machine = tempfile::tempdir().unwrap();
    let place = machine.path().join("usr/lib/systemd/catalog");
    fs::create_dir_all(&place).unwrap();
    fs::create_dir_all(machine.path().join("var/lib/systemd/catalog")).unwrap();
    fs::copy(
        root().join("systemd/renewd.catalog"),
        place.join("renewd.catalog"),
    )
    .unwrap();
    let journalctl = |arguments: &[&str]| {
        let output = Command::new("journalctl")
            .arg(format!("--root={}", machine.path().display()))
            .args(arguments)
            .output()
            .expect("journalctl is installed");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        (String::from_utf8_lossy(&output.stdout).into_owned(), said)
    };
    let (_, said) = journalctl(&["--update-catalog"]);
    assert_eq!(said, "");
    let (listed, _) = journalctl(&["--list-catalog", "--no-pager"]);
    for kind in Kind::ALL {
        assert!(listed.contains(kind.message), "{}", kind.code);
    }
    for one in Milestone::ALL {
        assert!(listed.contains(one.message()), "{}", one.code());
    }
    assert_eq!(
        listed.lines().count(),
        Kind::ALL.len() + Milestone::ALL.len(),
        "{listed}"
    );
}

fn render() -> String {
    let mut text = "# The journal's catalog; see journalctl(1), -x. Made from docs/alerts.md and docs/operations.md by `make man`.\n".to_owned();
    let alerts = rows("docs/alerts.md");
    for kind in Kind::ALL {
        let Some(cells) = alerts.get(kind.code) else {
            panic!("{} is not in docs/alerts.md", kind.code);
        };
        let again = match cells[3].as_str() {
            "" => String::new(),
            again => format!(" It is told again at: {again}."),
        };
        let help = format!("{}{again} It is over when {}.", cells[2], cells[4]);
        let subject = format!("Alert @RENEWD_ALERT@ ({})", cells[1]);
        text.push_str(&entry(kind.message, &subject, &help));
        text.push_str("The entry itself says what to do. `renewd status` shows all that stands.\n");
    }
    let events = rows("docs/operations.md");
    for one in Milestone::ALL {
        let Some(cells) = events.get(one.code()) else {
            panic!("{} is not in docs/operations.md", one.code());
        };
        let subject = match one {
            Milestone::Over => "The end of alert @RENEWD_ALERT@".to_owned(),
            Milestone::Issued | Milestone::Live | Milestone::RolledBack => {
                format!("renewd: {} (@RENEWD_SUBJECT@)", one.code())
            }
            Milestone::Started
            | Milestone::Stopped
            | Milestone::PolicyInForce
            | Milestone::PolicyRefused => format!("renewd: {}", one.code()),
        };
        text.push_str(&entry(one.message(), &subject, &cells[1]));
    }
    text
}

fn entry(number: &str, subject: &str, help: &str) -> String {
    let mut text = format!(
        "\n-- {number}\nSubject: {subject}\nDefined-By: renewd\nDocumentation: man:renewd(8)\n\n"
    );
    // An @ asks for a field.
    let help = help.replace('@', "(at)");
    let mut length = 0;
    for word in help.split_whitespace() {
        if length > 0 && length + 1 + word.chars().count() > 78 {
            text.push('\n');
            length = 0;
        } else if length > 0 {
            text.push(' ');
            length += 1;
        }
        text.push_str(word);
        length += word.chars().count();
    }
    text.push('\n');
    text
}

/// The rows of the tables of a page whose first cell is a code, as plain text.
fn rows(page: &str) -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    // Of the operations' page it is one table among others.
    let table = text
        .split_once("\n| event | is |\n")
        .map(|(_, rest)| rest.split("\n\n").next().unwrap_or_default());
    let rows = table.unwrap_or(&text).lines();
    let rows = rows.filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells = line.trim_matches('|').split(" | ");
        let cells: Vec<String> = cells.map(|cell| plain(cell.trim())).collect();
        (cells[0].trim_matches('`').to_owned(), cells)
    })
    .collect()
}

/// Links become what they are called.
fn plain(cell: &str) -> String {
    let mut text = String::new();
    let mut rest = cell;
    while let Some((before, after)) = rest.split_once("](") {
        let (before, name) = before.rsplit_once('[').unwrap_or((before, ""));
        text.push_str(before);
        text.push_str(name);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    text
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
