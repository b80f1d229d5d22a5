//! Each of the 70 operations answers success in the course of a life, and answers what the reference has: the fields of its
//! tables, in their types and limits, in the shapes of its examples.

mod pca;
mod scm;
mod scm2;

use std::collections::BTreeMap;

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
