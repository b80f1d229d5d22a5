//! What the documentation promises: its policies are accepted, its links and commands exist.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use renewd::model::{AlertKey, Blocked, DriftKind, ErrorClass, Timestamp};
use renewd::plan::backoff;
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
fn no_page_waits_for_something_to_be_filled_in() {
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for mark in ["@@", "TODO", "TBD", "FIXME"] {
            assert!(!text.contains(mark), "{}: {mark}", page.display());
        }
    }
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
fn what_an_installed_page_refers_to_is_installed_beside_it() {
    let manifest = read("Cargo.toml");
    let assets = manifest
        .split("\nassets = [\n")
        .nth(1)
        .and_then(|rest| rest.split("\n]").next())
        .expect("the assets of the package");
    // By source, and by the place that they get.
    let mut packed = BTreeMap::new();
    for line in assets.lines() {
        let words: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        let [source, place, _mode] = words[..] else {
            panic!("{line}");
        };
        for file in matching(source) {
            let name = file.rsplit('/').next().unwrap_or_default().to_owned();
            let to = match place.strip_suffix('/') {
                Some(directory) => format!("{directory}/{name}"),
                None => place.to_owned(),
            };
            packed.insert(file, PathBuf::from(to));
        }
    }
    let script = read("packaging/install.sh");
    let mut broken = Vec::new();
    let mut links = 0;
    let pages = packed.iter().filter(|(source, _)| source.ends_with(".md"));
    for (source, place) in pages.filter(|(source, _)| *source != "CHANGELOG.md") {
        let page = read(source);
        let from = Path::new(source).parent().expect("a directory");
        for target in page.split("](").skip(1) {
            let target = target.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            let of_source = from.join(target);
            let directory = of_source.parent().expect("a directory").display();
            let directory = format!("\"$here\"/{directory}/*.md");
            let of_source = of_source.display().to_string();
            let beside = place.parent().expect("a directory").join(target);
            if packed.get(&of_source) != Some(&beside) {
                broken.push(format!("the package: {source}: {target}"));
            }
            if !script.contains(&of_source) && !script.contains(&directory) {
                broken.push(format!("install.sh: {source}: {target}"));
            }
        }
        // Such as `docs/adr/0010`, which is no link and leads nowhere either.
        if page.contains("docs/adr/0") {
            broken.push(format!("{source} names a place of the source"));
        }
    }
    assert!(links > 10, "{links} links");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Files of the repository by a pattern with one `*` at most.
fn matching(pattern: &str) -> Vec<String> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let (directory, begin) = before.rsplit_once('/').unwrap_or((".", before));
    let entries = fs::read_dir(root().join(directory)).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with(begin) && name.ends_with(after))
        .map(|name| format!("{directory}/{name}"))
        .collect()
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
    let page = read("docs/operations.md") + &read("docs/alerts.md");
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
    let all: Vec<&str> = codes.chain(kinds).collect();
    for told in ["hook-failing", "agent-was-down", "observed-differs"] {
        assert!(all.contains(&told), "{told} was not found: {all:?}");
    }
    assert!(all.len() > 40, "the codes were not found: {all:?}");
    let missing: Vec<&str> = all
        .into_iter()
        .filter(|code| !page.contains(&format!("`{code}`")))
        .collect();
    assert!(missing.is_empty(), "not in docs: {missing:?}");
}

/// The kinds of alerts, as the code writes them: the kind follows the severity, or is a kind of something that has its
/// own list of codes.
fn kinds() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut sources = vec![root().join("src/plan")];
    let mut text = String::new();
    while let Some(directory) = sources.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                sources.push(path);
            } else if !path.ends_with("testing.rs") && !path.ends_with("tests.rs") {
                let source = fs::read_to_string(path).expect("a source");
                let code = source.split("#[cfg(test)]").next().unwrap_or_default();
                text.push_str(code);
            }
        }
    }
    for rest in text.split("Severity::").skip(1) {
        let Some(kind) = rest.lines().nth(1) else {
            continue;
        };
        let kind = kind.trim().trim_start_matches('(').strip_prefix('"');
        if let Some((kind, _)) = kind.and_then(|kind| kind.split_once('"'))
            && !kind.contains([' ', '{'])
        {
            found.insert(kind.to_owned());
        }
    }
    // Such as `tell("channel-expiring", …)`, `(severity, ("watched-expiring", step), …)`.
    for piece in text.split('"').skip(1).step_by(2) {
        let watched = piece
            .strip_prefix("watched-")
            .or_else(|| piece.strip_suffix("-expiring"));
        if watched.is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        }) {
            found.insert(piece.to_owned());
        }
    }
    found.extend(DriftKind::ALL.map(|kind| kind.code().to_owned()));
    let named = [
        AlertKey::CREDENTIALS,
        AlertKey::ISSUER,
        AlertKey::ENDING,
        AlertKey::AUTHORITY,
        AlertKey::ROOTS,
        "expiring",
        Blocked::IssuerShortens {
            not_after: Timestamp(0),
        }
        .code(),
        "clock",
    ];
    found.extend(named.map(str::to_owned));
    for file in ["src/model/standing.rs", "src/model/watch.rs"] {
        let source = read(file);
        let codes = source
            .lines()
            .filter_map(|line| line.trim().split_once("=> \""));
        let codes = codes.filter_map(|(_, code)| code.strip_suffix("\","));
        found.extend(
            codes
                .filter(|code| file.contains("standing") || code.starts_with("watched-"))
                .map(str::to_owned),
        );
    }
    found
}

#[test]
fn the_table_of_alerts_has_each_of_them_and_what_shows_it() {
    let page = read("docs/alerts.md");
    let mut rows = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 6, "{line}");
        let kind = cells[0].trim_matches('`').to_owned();
        assert!(rows.insert(kind.clone(), cells).is_none(), "{kind} twice");
    }
    let kinds = kinds();
    let listed: BTreeSet<String> = rows.keys().cloned().collect();
    let missing: Vec<_> = kinds.difference(&listed).collect();
    assert!(missing.is_empty(), "not in docs/alerts.md: {missing:?}");
    let unknown: Vec<_> = listed.difference(&kinds).collect();
    assert!(unknown.is_empty(), "nothing raises {unknown:?}");

    for entry in fs::read_dir(root().join("tests/scenarios/golden")).expect("the transcripts") {
        let transcript = fs::read_to_string(entry.expect("a transcript").path()).expect("text");
        for told in transcript
            .lines()
            .filter_map(|line| line.strip_prefix("> alert "))
        {
            let Some((kind, _)) = told.split_once('/') else {
                continue;
            };
            assert!(listed.contains(kind), "{kind} is raised and not listed");
        }
    }

    let tests = sources(&["tests/it", "src"]);
    let mut scenarios = 0;
    for (kind, cells) in &rows {
        let severities: Vec<&str> = cells[1].split(", ").collect();
        assert!(
            severities
                .iter()
                .all(|word| ["notice", "warning", "critical"].contains(word)),
            "{kind}: {severities:?}"
        );
        assert!(!cells[2].is_empty() && !cells[4].is_empty(), "{kind}");
        for shown in cells[5].split(", ").map(|name| name.trim_matches('`')) {
            let golden = root().join(format!("tests/scenarios/golden/{shown}.txt"));
            let Ok(transcript) = fs::read_to_string(golden) else {
                assert!(
                    tests.contains(&format!("fn {shown}(")),
                    "{kind}: there is no test {shown}"
                );
                continue;
            };
            scenarios += 1;
            let begin = format!("> alert {kind}/");
            let told: Vec<&str> = transcript
                .lines()
                .filter(|line| line.starts_with(&begin))
                .collect();
            assert!(!told.is_empty(), "{kind} is not raised in {shown}");
            // The end of both waits for another policy, or for what somebody else does.
            let ends = !["renewal-rule", "served-newer"].contains(&kind.as_str());
            let over = transcript.contains(&format!("> resolved {kind}/"));
            assert!(over || !ends, "{kind} does not end in {shown}");
            for line in told {
                let fits = |word: &&str| line.contains(&format!(" ({word}): "));
                assert!(severities.iter().any(fits), "{kind} in {shown}: {line}");
            }
        }
    }
    assert!(scenarios > 25, "{scenarios}");
}

/// All of Rust in these directories.
fn sources(directories: &[&str]) -> String {
    let mut open: Vec<PathBuf> = directories.iter().map(|one| root().join(one)).collect();
    let mut text = String::new();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(path).expect("a source"));
            }
        }
    }
    text
}

#[test]
fn every_class_of_failure_is_listed_with_its_waits() {
    let page = read("docs/operations.md");
    let listed: Vec<Vec<&str>> = page
        .lines()
        .skip_while(|line| !line.starts_with("| class | means | first wait | longest wait |"))
        .skip(2)
        .map_while(|line| line.strip_prefix("| "))
        .map(|row| row.trim_end_matches(" |").split(" | ").collect())
        .collect();
    let told: Vec<(&str, &str, &str)> = listed.iter().map(|row| (row[0], row[2], row[3])).collect();
    let known = ErrorClass::ALL.map(|class| {
        let (first, longest) = backoff::pace(class);
        let code = format!("`{class}`");
        (code, first.to_string(), longest.to_string())
    });
    let mut known: Vec<(&str, &str, &str)> = known
        .iter()
        .map(|(code, first, longest)| (code.as_str(), first.as_str(), longest.as_str()))
        .collect();
    let mut told = told;
    told.sort_unstable();
    known.sort_unstable();
    assert_eq!(told, known);
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
