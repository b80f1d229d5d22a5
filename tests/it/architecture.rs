//! The tables of docs/architecture.md, held against the code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What one module may name: whole modules (`sys`) or single paths (`pki::Secret`).
type Table = BTreeMap<String, Vec<String>>;

#[test]
fn modules_name_only_what_the_table_allows() {
    let table = dependency_table();
    let mut wrong = Vec::new();
    for (module, file) in module_files() {
        let allowed = table
            .get(&module)
            .unwrap_or_else(|| panic!("`{module}` is missing in docs/architecture.md"));
        for (number, line) in code_lines(&read(&file)) {
            for named in crate_paths(&line) {
                if !permits(&module, allowed, &named) {
                    wrong.push(at(
                        &file,
                        number,
                        &format!("`{module}` may not name `{named}`"),
                    ));
                }
            }
            if line.contains("super::super") {
                wrong.push(at(&file, number, "write `crate::…` for `super::super`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_dependency_table_has_no_cycle() {
    let table = dependency_table();
    let mut left: Vec<&String> = table.keys().collect();
    while !left.is_empty() {
        let free = left.iter().position(|module| {
            table[*module]
                .iter()
                .all(|named| !left.iter().any(|other| head(named) == other.as_str()))
        });
        let free = free.unwrap_or_else(|| panic!("a cycle among {left:?}"));
        left.remove(free);
    }
}

#[test]
fn a_forbidden_name_is_found_in_every_spelling() {
    let allowed = ["model".to_owned(), "pki::Secret".to_owned()];
    let refused = |line: &str| {
        crate_paths(line)
            .iter()
            .any(|named| !permits("plan", &allowed, named))
    };
    assert!(refused("use crate::sys::clock::Clock;"));
    assert!(refused("pub(crate) use crate::sys;"));
    assert!(refused(
        "    let now = crate :: sys::clock::SystemClock.now();"
    ));
    assert!(refused("use crate::{model, sys};"));
    assert!(refused("use crate::pki::PrivateKey;"));
    assert!(refused("fn f(a: crate::model::A, b: crate::store::B)"));
    assert!(!refused("use crate::model::{Policy, Snapshot};"));
    assert!(!refused("use crate::pki::Secret;"));
    assert!(!refused("use crate::plan::action::Action;"));
    assert!(!refused("use other_crate::sys;"));
}

#[test]
fn every_file_says_what_it_is_responsible_for() {
    let silent: Vec<String> = rust_files(&root().join("src"))
        .into_iter()
        .chain(rust_files(&root().join("tests")))
        .chain(rust_files(&root().join("benches")))
        .filter(|file| !read(file).starts_with("//!"))
        .map(|file| at(&file, 1, "the file does not open with `//!`"))
        .collect();
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

#[test]
fn no_file_grows_past_its_limit() {
    let mut long = Vec::new();
    for file in rust_files(&root().join("src")) {
        let text = read(&file);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name == "tests.rs" || file.components().any(|part| part.as_os_str() == "tests") {
            continue;
        }
        let code = text
            .lines()
            .position(|line| line == "mod tests {")
            .unwrap_or_else(|| text.lines().count());
        let tests = text.lines().count() - code;
        let limit = if name == "mod.rs" { MOD_LIMIT } else { 600 };
        if code > limit {
            long.push(at(
                &file,
                code,
                &format!("{code} lines of code; the limit is {limit}"),
            ));
        }
        if tests > 300 {
            long.push(at(
                &file,
                code,
                &format!("{tests} lines of tests; move them to a file tests.rs"),
            ));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn every_integration_test_is_listed_and_none_is_ignored() {
    let directory = root().join("tests/it");
    let main = read(&directory.join("main.rs"));
    let mut wrong = Vec::new();
    for entry in fs::read_dir(&directory).expect("tests/it exists") {
        let path = entry.expect("a directory entry").path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name != "main" && !main.lines().any(|line| line == format!("mod {name};")) {
            wrong.push(at(
                &path,
                1,
                &format!("`mod {name};` is missing in main.rs"),
            ));
        }
    }
    let attribute = ["#[ign", "ore"].concat();
    for file in rust_files(&root().join("tests"))
        .into_iter()
        .chain(rust_files(&root().join("src")))
    {
        for (number, line) in code_lines(&read(&file)) {
            if line.trim_start().starts_with(&attribute) {
                wrong.push(at(&file, number, "a test that is never run proves nothing"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_is_in_the_tables() {
    let page = read(&root().join("docs/architecture.md"));
    let table = dependency_table();
    for (module, _) in module_files() {
        assert!(table.contains_key(&module), "`{module}` may name what?");
        assert!(
            page.contains(&format!("\n| `{module}` | ")),
            "what is `{module}`?"
        );
    }
}

/// The table below the heading "Who may name whom".
fn dependency_table() -> Table {
    let page = read(&root().join("docs/architecture.md"));
    let section = page
        .split("\n## ")
        .find(|section| section.starts_with("Who may name whom"))
        .expect("docs/architecture.md has the section");
    let table: Table = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let quoted: Vec<String> = line
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect();
            (quoted[0].clone(), quoted[1..].to_vec())
        })
        .collect();
    assert!(table.len() > 10, "the table was not read: {table:?}");
    table
}

fn permits(module: &str, allowed: &[String], named: &str) -> bool {
    head(named) == module
        || allowed.iter().any(|permitted| {
            named == permitted
                || named
                    .strip_prefix(permitted.as_str())
                    .is_some_and(|rest| rest.starts_with("::"))
        })
}

fn head(path: &str) -> &str {
    path.split("::").next().unwrap_or(path)
}

/// The paths after `crate::` in a line; a group right behind it is returned as `{`, which nothing permits.
fn crate_paths(line: &str) -> Vec<String> {
    let line = line.replace(char::is_whitespace, " ").replace(" ::", "::");
    let line = line.replace(":: ", "::");
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(position) = line[from..].find("crate::") {
        let start = from + position;
        from = start + "crate::".len();
        let before = line[..start].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &line[from..];
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .unwrap_or(rest.len());
        let path = rest[..end].trim_end_matches(':');
        found.push(if path.is_empty() { "{" } else { path }.to_owned());
    }
    found
}

/// The lines with their numbers, without those that are only comment.
fn code_lines(text: &str) -> Vec<(usize, String)> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line.to_owned()))
        .collect()
}

/// Every file below `src` with the module it belongs to; the crate root and the binaries belong to none.
fn module_files() -> Vec<(String, PathBuf)> {
    let src = root().join("src");
    rust_files(&src)
        .into_iter()
        .filter_map(|file| {
            let inside = file.strip_prefix(&src).expect("it was found there");
            let first = inside.iter().next()?.to_str()?.trim_end_matches(".rs");
            (first != "bin" && first != "lib").then(|| (first.to_owned(), file.clone()))
        })
        .collect()
}

pub(crate) fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the repository") {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn at(file: &Path, line: usize, message: &str) -> String {
    let shown = file.strip_prefix(root()).unwrap_or(file).display();
    format!("{shown}:{line}: {message}")
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Lines of code in a mod.rs: documentation, a trait, re-exports, one entry function.
const MOD_LIMIT: usize = 400;
