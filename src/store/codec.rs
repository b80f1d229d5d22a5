//! Versioned JSON of phases, events and states.
//!
//! A column holds `{"v":1,"d":…}`. A reader refuses a version it does not know instead of guessing: an older renewd
//! that meets a newer journal says so and stops.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::store::StoreError;

#[derive(Serialize)]
struct Written<'a, T> {
    v: u32,
    d: &'a T,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Deserialize)]
struct Read<T> {
    d: T,
}

/// To the column's text.
pub(crate) fn encode<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(&Written {
        v: VERSION,
        d: value,
    })
    .map_err(|source| StoreError::Encode { what, source })
}

/// From the column's text; `what` names the column in errors.
pub(crate) fn decode<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    let wrong = |source| StoreError::Decode { what, source };
    // What this version writes needs one pass instead of two; all of ten thousand certificates are read at each start.
    if let Some(within) = text
        .strip_prefix(USUAL)
        .and_then(|text| text.strip_suffix('}'))
        && let Ok(value) = serde_json::from_str(within)
    {
        return Ok(value);
    }
    let Version { v } = serde_json::from_str(text).map_err(wrong)?;
    if v != VERSION {
        return Err(StoreError::Version { what, found: v });
    }
    let Read { d } = serde_json::from_str(text).map_err(wrong)?;
    Ok(d)
}

/// Raised when the meaning of any stored shape changes.
const VERSION: u32 = 1;
/// What stands before a value of this version.
const USUAL: &str = r#"{"v":1,"d":"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OrderPhase;

    #[test]
    fn a_phase_survives_the_journal() {
        let text = encode("phase", &OrderPhase::Opened).unwrap();
        assert_eq!(text, r#"{"v":1,"d":{"phase":"opened"}}"#);
        assert_eq!(USUAL, format!(r#"{{"v":{VERSION},"d":"#));
        // Written by hand.
        let spaced = r#"{ "d": {"phase": "opened"}, "v": 1 }"#;
        assert_eq!(
            decode::<OrderPhase>("phase", spaced).unwrap(),
            OrderPhase::Opened
        );
        assert!(decode::<OrderPhase>("phase", r#"{"v":1,"d":{"phase":"opened"}"#).is_err());
        assert_eq!(
            decode::<OrderPhase>("phase", &text).unwrap(),
            OrderPhase::Opened
        );
    }

    #[test]
    fn a_newer_shape_is_refused_by_name() {
        let error = decode::<OrderPhase>("phase", r#"{"v":2,"d":[]}"#).unwrap_err();
        assert!(error.to_string().contains("phase"), "{error}");
        assert!(matches!(error, StoreError::Version { found: 2, .. }));
    }
}
