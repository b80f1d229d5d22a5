//! The sample policy and the policies in the documentation: accepted as they stand, and true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use renewd::config::{self, Code, KeyInfo};
use renewd::model::Policy;

use crate::config::Etc;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Takes the `#` away from keys and headers; what has a space behind it is prose.
pub(crate) fn uncommented(text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest,
        _ => line,
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// Loads a policy without any diagnostic, or fails with what was said. A certificate is proven in one way, so that most of
/// those that the sample shows are not used.
fn accepted(text: &str) -> Policy {
    let etc = Etc::new();
    etc.write("renewd.toml", text);
    let shown = |problem: &config::Problem<'_>| {
        problem.code == Code::Unused && problem.message.starts_with("validation ")
    };
    match etc.load() {
        Ok(loaded) if loaded.warnings.iter().all(|problem| shown(&problem)) => loaded.policy,
        Ok(loaded) => panic!("{}", etc.shown(&loaded.warnings)),
        Err(problems) => panic!("{}", etc.shown(&problems)),
    }
}

/// `target.nginx.web.export.pem.site` as [`KeyInfo`] writes it: `target.KIND.NAME.export.pem.NAME`.
fn general(header: &str) -> String {
    let mut parts: Vec<&str> = header.split('.').collect();
    let named: &[usize] = match parts.first() {
        Some(&"certificate" | &"watch" | &"push") => &[1],
        Some(&"issuer" | &"target" | &"alert" | &"validation") => &[2, 5],
        _ => &[],
    };
    let deep = parts.len() > 3 && parts[0] != "certificate";
    for at in named {
        if let Some(part) = parts.get_mut(*at) {
            *part = "NAME";
        }
    }
    // What only one kind has is described with it.
    let own = matches!(parts.last(), Some(&("applicant" | "purchase")));
    if deep && !own {
        parts[1] = "KIND";
    }
    parts.join(".")
}

/// The lines with a key of each kind of table.
fn keys_of(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut table = String::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            table = general(header);
        } else if !line.starts_with('#') && line.contains(" = ") {
            found
                .entry(table.clone())
                .or_default()
                .push(line.to_owned());
        }
    }
    found
}

#[test]
fn the_sample_as_shipped_is_an_empty_policy() {
    let policy = accepted(&read("config/renewd.toml"));
    assert_eq!(policy.state_dir, Path::new("/var/lib/renewd"));
    assert!(policy.certificates.is_empty());
}

#[test]
fn every_setting_of_the_sample_is_accepted() {
    let policy = accepted(&uncommented(&read("config/renewd.toml")));
    assert_eq!(policy.issuers.len(), 2);
    assert_eq!(policy.certificates.len(), 3);
    assert_eq!(policy.targets.len(), 13);
}

#[test]
fn the_sample_shows_every_key() {
    // These exclude others that are shown: a password instead of an access key, and the other way round.
    let beside = ["access_key", "secret_key", "security_token"];
    let shown = keys_of(&uncommented(&read("config/renewd.toml")));
    let mut missing = Vec::new();
    for KeyInfo { table, key, .. } in config::keys() {
        let lines = shown.get(table).map_or(&[][..], Vec::as_slice);
        let there = lines
            .iter()
            .any(|line| line.starts_with(&format!("{key} = ")));
        if !(there || table == "issuer.scm.NAME" && beside.contains(&key)) {
            missing.push(format!("[{table}] {key}"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_defaults_in_the_sample_are_those_of_the_code() {
    let text = uncommented(&read("config/renewd.toml"));
    let shown = keys_of(&text);
    let mut removed: BTreeSet<String> = BTreeSet::new();
    for KeyInfo {
        table,
        key,
        default,
        ..
    } in config::keys()
    {
        let Some(default) = default else { continue };
        let line = format!("{key} = {default}");
        let lines = shown.get(table).map_or(&[][..], Vec::as_slice);
        assert!(lines.contains(&line), "[{table}] should show `{line}`");
        removed.insert(line);
    }
    assert!(removed.len() > 15);
    let mut table = String::new();
    let without: String = text
        .lines()
        .filter(|line| {
            if let Some(header) = line.strip_prefix('[') {
                table = general(header.trim_end_matches(']'));
            }
            // What is required somewhere or inherited stays there.
            let optional = config::keys().iter().any(|info| {
                info.table == table
                    && info
                        .default
                        .is_some_and(|default| *line == format!("{} = {default}", info.key))
            });
            !optional
        })
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(without.lines().count() < text.lines().count() - 15);
    assert_eq!(accepted(&text), accepted(&without));
}

#[test]
fn every_example_drop_in_is_accepted_alone_and_with_the_others() {
    let etc = Etc::new();
    etc.write("renewd.toml", "");
    let mut count = 0;
    for entry in fs::read_dir(root().join("config/policy.d")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(accepted(&text).certificates.is_empty(), "{name} is active");
        let text = uncommented(&text);
        assert_eq!(accepted(&text).certificates.len(), 1, "{name}");
        etc.write(&format!("policy.d/{name}"), text);
        count += 1;
    }
    let loaded = etc.load().unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.policy.certificates.len(), count);
    assert_eq!(loaded.files.len(), count + 1);
}

#[test]
fn the_policy_of_the_demo_is_accepted() {
    let policy = accepted(&read("config/demo.toml"));
    assert_eq!(policy.certificates.len(), 1);
}

/// Every Markdown file of the repository that people read.
fn pages() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md")];
    let mut open = vec![root().join("docs")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The fenced blocks of TOML: the word behind the language, and the text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => {
                found.extend(open.take().filter(|(info, _)| info.starts_with("toml")))
            }
            (None, Some(info)) => open = Some((info.trim().to_owned(), String::new())),
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "an open fence");
    found
}

#[test]
fn every_policy_in_the_documentation_is_accepted() {
    let base = read("tests/fixtures/config/base-of-fragments.toml");
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for (info, block) in blocks(&text) {
            let etc = Etc::new();
            match info.as_str() {
                "toml" => etc.write("renewd.toml", &block),
                // Part of a policy: what it refers to is in the base.
                "toml fragment" => {
                    etc.write("renewd.toml", &base);
                    etc.write("policy.d/10-fragment.toml", &block);
                }
                // Part of Cargo's or another program's file.
                "toml other" => continue,
                _ => panic!("{}: what is a block of {info:?}?", page.display()),
            }
            count += 1;
            let page = page.display();
            match etc.load() {
                Ok(loaded) => {
                    let unused = |problem: &config::Problem<'_>| problem.code == Code::Unused;
                    let bad = loaded
                        .warnings
                        .iter()
                        .any(|p| info == "toml" || !unused(&p));
                    assert!(!bad, "{page}:\n{block}\n{}", loaded.warnings);
                }
                Err(problems) => panic!("{page}:\n{block}\n{problems}"),
            }
        }
    }
    assert!(count >= 5, "{count} blocks");
}

#[test]
fn the_manual_names_every_key_with_its_default_and_every_code() {
    let page = read("docs/man/renewd.toml.5.md");
    let mut section = String::new();
    let mut sections: BTreeMap<String, String> = BTreeMap::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.to_owned();
        }
        let text = sections.entry(section.clone()).or_default();
        text.push_str(line);
        text.push('\n');
    }
    let mut missing = Vec::new();
    for KeyInfo {
        table,
        key,
        default,
        ..
    } in config::keys()
    {
        let title = if table.is_empty() { "TOP LEVEL" } else { table };
        // The page describes SCM by PCA, and the attributes of exports by those of targets.
        let section = sections.iter().find(|(name, _)| {
            name.split(", ")
                .any(|name| name.trim_matches(['[', ']']) == title)
        });
        let Some((_, text)) = section else {
            missing.push(format!("no section [{title}]"));
            continue;
        };
        let entry = text
            .lines()
            .find(|line| line.starts_with(&format!("- `{key}`")));
        match (entry, default) {
            (None, _) => missing.push(format!("[{title}] {key}")),
            (Some(line), Some(default)) if !line.contains(&format!("default `{default}`")) => {
                missing.push(format!("[{title}] {key}: default `{default}`"));
            }
            _ => {}
        }
    }
    for code in Code::ALL {
        if !page.contains(&format!("- `{code}`")) {
            missing.push(code.to_string());
        }
    }
    missing.dedup();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
