//! Damaged requests against everything that reads what a stranger sends to renewd-ccm.
#![no_main]

use libfuzzer_sys::fuzz_target;
use renewd::ccm_server::fuzz::{Outcome, contents, request};

fuzz_target!(|bytes: &[u8]| {
    // No panic, no endless loop; and no signature is good under two keys.
    let mine = request(bytes, b"the key of the seeds, 40 characters long");
    let other = request(bytes, b"another key that nobody has signed with.");
    let signed = |outcome| matches!(outcome, Outcome::Refused | Outcome::Accepted);
    assert!(!(signed(mine) && signed(other)), "a signature is good under two keys");
    assert!(!signed(other), "a signature was made without its key");
    // What was taken once is taken again, as it is.
    assert!(contents(bytes).is_ok(), "{:?}", contents(bytes));
});
