//! What may be typed after `renewd ccm`: whose account, and what all commands share.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::ccm::Word;
use crate::ccm::{Validity, ValidityUnit};
use crate::cli::ccm::args_pca::PcaCommand;
use crate::cli::ccm::args_scm::ScmCommand;
use crate::model::{IssuerId, Timestamp};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Ccm {
    /// Issuer of the policy whose account is meant; by default the only one of the service
    #[arg(long, global = true, value_name = "NAME", value_parser = issuer)]
    pub(crate) issuer: Option<IssuerId>,
    /// Speak to this URL with the keys of the environment, without a policy
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// With --endpoint: PEM file with the roots that its certificate must chain to, instead of the system's
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) roots: Option<PathBuf>,
    /// With --endpoint: the keys of the agency of this ECS instead of those of the environment
    #[arg(long, global = true)]
    pub(crate) agency: bool,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Do not ask before what costs money or cannot be undone
    #[arg(long, short, global = true)]
    pub(crate) yes: bool,
    #[command(subcommand)]
    pub(crate) service: Service,
}

#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum Service {
    /// Public and imported certificates
    Scm {
        #[command(subcommand)]
        command: Box<ScmCommand>,
    },
    /// Private CAs and certificates
    Pca {
        #[command(subcommand)]
        command: Box<PcaCommand>,
    },
}

/// How much of a listing.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Paging {
    /// At most so many: 10, 20 or 50 at SCM, up to 1000 at PCA
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: u32,
    /// Leaving out so many
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) offset: u64,
    /// All of them, however many calls that takes
    #[arg(long, conflicts_with_all = ["limit", "offset"])]
    pub(crate) all: bool,
}

/// Where what is exported goes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Output {
    /// Write it to this file, for its owner alone, instead of showing it
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    /// Show the private key too, wherever that goes
    #[arg(long, conflicts_with = "output")]
    pub(crate) show_key: bool,
}

/// A word of the API, in any case; the shell completes it.
pub(crate) fn word<T: Word + Clone + Send + Sync + 'static>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::KNOWN).map(T::from)
}

fn issuer(text: &str) -> Result<IssuerId, String> {
    IssuerId::new(text).map_err(|error| error.to_string())
}

/// `90d`, `12h`, `6mo`, `3y`: how long something shall be valid.
pub(crate) fn validity(text: &str) -> Result<Validity, String> {
    const FORMS: &str = "write a number and a unit: 12h, 90d, 6mo, 3y";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "h" => ValidityUnit::Hour,
        "d" => ValidityUnit::Day,
        "mo" => ValidityUnit::Month,
        "y" => ValidityUnit::Year,
        _ => return Err(FORMS.to_owned()),
    };
    let value = digits.parse().map_err(|_| FORMS.to_owned())?;
    Ok(Validity {
        unit,
        value,
        start_from: None,
    })
}

/// A moment as the API counts it: milliseconds since 1970.
pub(crate) fn millis(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| at.0.saturating_mul(1000))
}

/// `KEY=VALUE`, or a key alone.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err("write KEY=VALUE".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validity_is_a_number_and_a_unit() {
        let read = |text| validity(text).map(|one| (one.unit.as_str().to_owned(), one.value));
        assert_eq!(read("3y"), Ok(("YEAR".to_owned(), 3)));
        assert_eq!(read("6mo"), Ok(("MONTH".to_owned(), 6)));
        assert_eq!(read("90d"), Ok(("DAY".to_owned(), 90)));
        assert_eq!(read("12h"), Ok(("HOUR".to_owned(), 12)));
        for wrong in ["", "3", "y", "3m", "3 y", "-3y3"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tag_is_a_key_with_a_value_or_without() {
        let both = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(pair("a=b=c"), both("a", "b=c"));
        assert_eq!(pair("a"), both("a", ""));
        assert!(pair("=b").is_err());
    }
}
