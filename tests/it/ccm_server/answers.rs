//! Each of the 70 operations answers success in the course of a life, and answers what the reference has: the fields of its
//! tables, in their types and limits, in the shapes of its examples.

mod pca;
mod scm;
mod scm2;

use std::collections::BTreeMap;
use std::sync::Mutex;

use renewd::ccm_server::Faults;

use crate::support::contract;

#[test]
fn the_three_lives_are_the_whole_reference() {
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    for table in contract::tables() {
        let group = table["group"].as_str().unwrap().to_owned();
        *groups.entry(group).or_default() += 1;
    }
    let wanted = [("pca-v1", 25), ("scm-v2", 21), ("scm-v3", 24)];
    let wanted = wanted.map(|(group, count)| (group.to_owned(), count));
    assert_eq!(groups, BTreeMap::from(wanted));
}

/// What a life says when it fails on a server on which this operation fails the first time; `None` when it does not notice.
fn without(group: &str, chapter: &str) -> Option<String> {
    let faults: Faults = format!("at={chapter}:1:server-error").parse().unwrap();
    let group = group.to_owned();
    // A life ends by a panic, on a thread of its own.
    let life = std::thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        runtime.block_on(async {
            match group.as_str() {
                "pca-v1" => pca::life(faults).await,
                "scm-v3" => scm::life(faults).await,
                _ => scm2::life(faults).await,
            }
        });
    });
    let said = life.join().err()?;
    Some(said.downcast_ref::<String>().cloned().unwrap_or_default())
}

/// These lives are named beside each operation in `docs/ccm-operations.md`: each of them notices when one is missing.
#[test]
fn a_life_fails_without_any_one_of_its_operations() {
    let left = Mutex::new(contract::tables());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let next = left.lock().unwrap().pop();
                    let Some(table) = next else { return };
                    let text = |key: &str| table[key].as_str().unwrap();
                    let said = without(text("group"), text("chapter"));
                    // By the assertion about this very operation.
                    if !said.is_some_and(|said| said.contains(&format!("{} /", text("chapter")))) {
                        wrong.lock().unwrap().push(text("chapter").to_owned());
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "fails not, or elsewhere, without {wrong:?}"
    );
}
