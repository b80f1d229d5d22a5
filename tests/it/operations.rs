//! `docs/ccm-operations.md`: who speaks each operation of the reference, and which test shows it. Made from the tables in
//! the code; `make man` writes it anew, and these tests fail while it does not say what the code says.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use renewd::ccm::OPERATIONS;

use crate::ccm_client::contract::TESTS;
use crate::cli::ccm::commands::leaves;

const PAGE: &str = "docs/ccm-operations.md";

struct Row {
    chapter: &'static str,
    name: &'static str,
    server: String,
    client: &'static str,
    command: String,
    test: String,
    /// The test in which the server answers it; each asserts that all of its chapters were, and how.
    served_in: &'static str,
}

/// By the group of a chapter.
fn served_in(chapter: &str) -> &'static str {
    let groups = [
        (
            "4.1.",
            "ccm_server::answers::scm::certificates_answer_as_the_reference_has_it",
        ),
        (
            "4.2.",
            "ccm_server::answers::pca::private_cas_answer_as_the_reference_has_it",
        ),
        (
            "7.1.",
            "ccm_server::answers::scm2::certificates_of_version_2_answer_as_the_reference_has_it",
        ),
    ];
    let own = groups.iter().find(|(group, _)| chapter.starts_with(group));
    own.map_or("", |(_, test)| test)
}

fn rows() -> Vec<Row> {
    let commands: BTreeMap<String, String> = leaves().into_iter().collect();
    let tests: BTreeMap<&str, &str> = TESTS.iter().copied().collect();
    let served: Vec<&str> = renewd::ccm_server::chapters();
    OPERATIONS
        .iter()
        .map(|one| Row {
            chapter: one.chapter,
            name: one.name,
            server: match served.contains(&one.chapter) {
                true => format!("`{} {}`", one.method, one.path),
                false => String::new(),
            },
            client: one.function,
            command: commands.get(one.chapter).cloned().unwrap_or_default(),
            served_in: served_in(one.chapter),
            test: tests
                .get(one.chapter)
                .map(|test| format!("ccm_client::contract::{test}"))
                .unwrap_or_default(),
        })
        .collect()
}

fn page() -> String {
    let mut text = String::from(HEAD);
    for row in rows() {
        let _ = writeln!(
            text,
            "| {} | {} | {} | `{}` | `{}` | `{}` | `{}` |",
            row.chapter, row.name, row.server, row.client, row.command, row.test, row.served_in
        );
    }
    text
}

const HEAD: &str = "\
# Operations of the CCM API

Made by `make man` from the tables in the code; do not edit it.

One line for each of the 70 operations of the reference (Issue 4, 2025-05-26). *Server* is what renewd-ccm serves, *client* the
function in `src/ccm`, *command* what a person types, *test* the one that sends the reference's example by the client and reads
its answer to the last field. `cli::ccm::commands::every_command_sends_the_operation_of_its_chapter` does the same with each command.
The last column is the test in which the server answers it with success in the course of a life; it fails when one of its chapters was not
answered, or when an answer is otherwise than the reference's tables and examples have it, and
`ccm_server::answers::a_life_fails_without_any_one_of_its_operations` takes one after the other away from it. The official SDK
(`sdk::lives::the_official_sdk_goes_through_every_operation_that_is_served`) and typed commands
(`cli::ccm::scm::version_2_is_gone_through_by_typed_commands`) go through the same operations.

| chapter | operation | server | client | command | test of the client | test of the server |
|---|---|---|---|---|---|---|
";

#[test]
fn the_page_of_operations_says_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let made = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &made).expect("docs can be written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == made, "{PAGE} is stale: write it anew and commit");
}

#[test]
fn every_operation_has_a_client_a_command_and_a_test() {
    let rows = rows();
    assert_eq!(rows.len(), 70);
    for row in &rows {
        assert!(row.client.contains("::"), "{} has no client", row.chapter);
        assert!(!row.command.is_empty(), "{} has no command", row.chapter);
        assert!(!row.test.is_empty(), "{} has no test", row.chapter);
        assert!(!row.server.is_empty(), "{} is not served", row.chapter);
        assert!(
            !row.served_in.is_empty(),
            "{} has no test of the server",
            row.chapter
        );
    }
}

#[test]
fn the_functions_of_the_client_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ccm");
    let read = |files: &[&str]| {
        let texts = files.iter().map(|file| {
            std::fs::read_to_string(root.join(file))
                .unwrap_or_else(|error| panic!("{file}: {error}"))
        });
        texts.collect::<String>()
    };
    let texts = BTreeMap::from([
        ("Pca", read(&["pca.rs", "pca/authorities.rs"])),
        (
            "Scm",
            read(&[
                "scm.rs",
                "scm/orders.rs",
                "scm/csr.rs",
                "scm/tags.rs",
                "scm/deploy.rs",
            ]),
        ),
        ("ScmV2", read(&["v2.rs"])),
    ]);
    for one in OPERATIONS {
        let (of, function) = one.function.split_once("::").expect("Type::function");
        let text = &texts[of];
        let head = format!("pub async fn {function}(");
        assert!(text.contains(&head), "{} is nowhere", one.function);
        // The chapter is cited where the function is described.
        let before = text.split(&head).next().unwrap_or_default();
        let doc = before.rsplit("\n    }\n").next().unwrap_or_default();
        assert!(
            doc.contains(&format!("/// {}", one.chapter)),
            "{} does not cite {}",
            one.function,
            one.chapter
        );
    }
}
