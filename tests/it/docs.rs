//! What the documentation promises: its policies are accepted, its links and commands exist.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::fs;
use std::path::{Path, PathBuf};

use renewd::model::AlertKey;
use tempfile::TempDir;

#[test]
fn the_policy_in_the_readme_is_accepted() {
    let readme = read("README.md");
    let blocks = fenced(&readme, "toml");
    assert_eq!(blocks.len(), 1, "one policy is shown");
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("renewd.toml");
    fs::write(&file, &blocks[0]).expect("the policy");
    let loaded = renewd::config::load(&file);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.policy.targets.len(), 1);
    assert!(blocks[0].lines().count() <= 10, "ten lines are promised");
}

#[test]
fn the_readme_fits_on_one_screen() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 66, "{lines} lines");
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let directory = page.parent().expect("a page lies in a directory");
            if !directory.join(target).exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = read("Makefile");
    let mut unknown = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        let fenced = fenced(&text, "sh").join("\n");
        let inline = text.split('`').skip(1).step_by(2);
        for command in inline
            .chain(fenced.lines())
            .filter_map(|code| code.strip_prefix("make "))
        {
            let target = command.split_whitespace().next().unwrap_or_default();
            if !makefile
                .lines()
                .any(|line| line.starts_with(&format!("{target}:")))
            {
                unknown.push(format!("{}: make {target}", page.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[test]
fn every_decision_is_listed() {
    let index = read("docs/adr/README.md");
    for entry in fs::read_dir(root().join("docs/adr")).expect("docs/adr") {
        let name = entry.expect("a directory entry").file_name();
        let name = name.to_string_lossy();
        assert!(
            name == "README.md" || index.contains(&format!("({name})")),
            "{name} is not listed"
        );
    }
}

#[test]
fn every_reason_and_every_alert_is_explained() {
    let page = read("docs/operations.md");
    let reasons = read("src/model/reason.rs");
    let codes = reasons
        .lines()
        .filter_map(|line| line.trim().split_once("=> \"")?.1.strip_suffix("\","));
    let alerts = read("src/plan/alerts.rs");
    let more = read("src/plan/widespread.rs") + &read("src/plan/observed.rs");
    // The kind follows the severity, with or without a step.
    let kinds = [&alerts, &more].into_iter().flat_map(|text| {
        text.split("Severity::").filter_map(|rest| {
            let mut lines = rest.lines();
            let _severity = lines.next()?;
            let kind = lines.next()?.trim().trim_start_matches('(');
            let (kind, _) = kind.strip_prefix('"')?.split_once('"')?;
            // Where the severity is chosen, what follows is a sentence.
            (!kind.contains(' ')).then_some(kind)
        })
    });
    let own = [AlertKey::CREDENTIALS, AlertKey::ISSUER];
    let all: Vec<&str> = codes.chain(kinds).chain(own).collect();
    for told in ["hook-failing", "agent-was-down", "observed-differs"] {
        assert!(all.contains(&told), "{told} was not found: {all:?}");
    }
    assert!(all.len() > 40, "the codes were not found: {all:?}");
    let missing: Vec<&str> = all
        .into_iter()
        .filter(|code| !page.contains(&format!("`{code}`")))
        .collect();
    assert!(missing.is_empty(), "not in docs/operations.md: {missing:?}");
}

/// Every Markdown page of the repository.
fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join("docs")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.push(root().join("README.md"));
    found.push(root().join("CHANGELOG.md"));
    found
}

/// The fenced blocks of one language.
fn fenced(page: &str, language: &str) -> Vec<String> {
    page.split(&format!("\n```{language}\n"))
        .skip(1)
        .filter_map(|rest| rest.split("\n```").next())
        .map(|block| format!("{block}\n"))
        .collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
