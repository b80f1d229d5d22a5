//! What is put away when a rollout is over.

use std::collections::BTreeSet;

use crate::deploy::StepError;
use crate::deploy::layout::{Layout, generation_number, new_tag, old_tag};
use crate::deploy::manifest::Manifest;
use crate::deploy::site::Site;
use crate::sys::crash;
use crate::sys::error_chain;
use crate::sys::fs;

/// Removes temporary files of the rollout and generations that nobody needs: the live one, the one before and the
/// newest few stay.
pub(super) fn close(site: &Site<'_>) -> Result<(), StepError> {
    // The disk of one member must not keep all that is old.
    let first = beside(&site.layout, site.rollout.generation);
    let present = numbers(&site.layout)?;
    let mut keep: BTreeSet<u64> = present.iter().rev().take(KEPT).copied().collect();
    keep.extend(site.rollout.previous_generation);
    let live = fs::read_link(&site.layout.live())?;
    keep.extend(live.as_deref().and_then(Layout::generation_of));
    for number in present.difference(&keep) {
        crash::point("rollout.close.prune");
        if beside(&site.layout, *number).is_ok() {
            fs::remove_tree(&site.layout.generation(*number))?;
        }
    }
    fs::remove_tree(&site.layout.staging(site.rollout.generation))?;
    let swept = site.materials.sweep();
    swept.map_err(|error| StepError::configuration(error_chain(&error)))?;
    first
}

/// What waits beside loose files for a generation; all of them, also after one that cannot be removed.
fn beside(layout: &Layout, generation: u64) -> Result<(), StepError> {
    let manifest = Manifest::read(&layout.generation(generation));
    let mut done = Ok(());
    for (_, entry) in manifest.iter().flat_map(Manifest::loose) {
        for tag in [new_tag(generation), old_tag(generation)] {
            done = fs::discard(&entry.path, &tag).and(done);
        }
    }
    Ok(done?)
}

fn numbers(layout: &Layout) -> Result<BTreeSet<u64>, StepError> {
    let names = fs::list(&layout.generations())?;
    Ok(names
        .iter()
        .filter_map(|name| generation_number(name))
        .collect())
}

/// Newest generations that stay for whoever has to find out what happened.
const KEPT: usize = 5;
