//! `renew_at`: which share of the lifetime is left when renewal is due.

use crate::config::scalar::Refusal;
use crate::model::RenewRule;

/// Reads `1/3`.
pub(in crate::config) fn share(text: &str) -> Result<RenewRule, Refusal> {
    let help = "write the share of the lifetime that is left, such as `1/3`";
    let Some((part, whole)) = text.split_once('/') else {
        return Err(Refusal::new("is no fraction").help(help));
    };
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|n| *n <= LARGEST);
    let (Some(part), Some(whole)) = (number(part), number(whole)) else {
        return Err(Refusal::new("is no fraction of two small whole numbers").help(help));
    };
    if part == 0 || part >= whole {
        return Err(Refusal::new("does not lie between 0 and 1").help(help));
    }
    Ok(RenewRule::Share { part, whole })
}

/// More digits say nothing: a lifetime has fewer minutes.
const LARGEST: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_lies_between_nothing_and_all() {
        assert_eq!(share("1/3"), Ok(RenewRule::Share { part: 1, whole: 3 }));
        assert_eq!(share(" 2 / 5 "), Ok(RenewRule::Share { part: 2, whole: 5 }));
        for bad in [
            "",
            "1",
            "33%",
            "0/3",
            "3/3",
            "4/3",
            "1/0",
            "a/b",
            "-1/3",
            "1/9999999",
        ] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
