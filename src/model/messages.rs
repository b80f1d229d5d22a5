//! The kinds of alerts and of other news: what each is about, and the number by which journald knows it.
//!
//! The numbers never change, and none is used again: whoever filters by them, and the catalog, rely on that.

use serde::{Deserialize, Serialize};

/// What the subject of an alert's key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A certificate, or `TARGET/CERTIFICATE`.
    Certificate,
    /// A target, or `TARGET/CERTIFICATE`.
    Target,
    /// An issuer, and so all of its certificates.
    Issuer,
    /// A table `[watch.NAME]`, perhaps followed by a place.
    Watch,
    /// A way by which alerts leave the host.
    Channel,
    /// This host, or a place on it.
    Host,
}

/// A kind of alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The part of the key before the slash.
    pub code: &'static str,
    /// What the part behind it names.
    pub about: About,
    /// Number for journald: 128 bits in hex.
    pub message: &'static str,
}

impl Kind {
    /// Each of them.
    pub const ALL: &[Self] = &[
        kind(
            "renewal-failing",
            About::Certificate,
            "a2e563feff0b4220a7f7452e1b070e8a",
        ),
        kind(
            "credentials-refused",
            About::Issuer,
            "8f620bdb0e4c48fd8b7f2fccb25a62d4",
        ),
        kind(
            "issuer-failing",
            About::Issuer,
            "afe1e3156e934c12b671d3b12533d098",
        ),
        kind(
            "credentials-expiring",
            About::Issuer,
            "a633916fe49944d4b30af5d12ed017d1",
        ),
        kind(
            "roots-expiring",
            About::Issuer,
            "6bb503e8a0e64f219e7e500ee2b261ce",
        ),
        kind(
            "issuer-expiring",
            About::Issuer,
            "a0e3ec06f9f749638a46b36df67b191b",
        ),
        kind(
            "channel-expiring",
            About::Channel,
            "e47aada4c2b840e683e3a36aac07ff46",
        ),
        kind(
            "issuer-shortens",
            About::Certificate,
            "d543c64ac2204fd7bba1a03e0a4fb035",
        ),
        kind(
            "no-offer",
            About::Certificate,
            "b6e29aad99b04f9b82559d743689acf7",
        ),
        kind("no-space", About::Host, "5ba34b84eb174954b85622f435d2c00e"),
        kind(
            "renewal-rule",
            About::Certificate,
            "a657dcb7ba1a4b989ec9fe8d20674bf9",
        ),
        kind(
            "agent-was-down",
            About::Host,
            "da17ddbb036246d195594df7f83f9ab6",
        ),
        kind(
            "old-policy",
            About::Host,
            "ab9ca6ec0bd64a7c8634b806affccef9",
        ),
        kind("clock", About::Host, "0ffaf1bbf587427fa7416a271edeb2ae"),
        kind(
            "expiring",
            About::Certificate,
            "8b4948d4684f4f83a97fd45fff1ff680",
        ),
        kind(
            "revoked",
            About::Certificate,
            "e57ed65c58b742d391854f3c8190d0c6",
        ),
        kind(
            "deleted",
            About::Certificate,
            "41a71e33b6134eefb892876e449eda47",
        ),
        kind(
            "frozen",
            About::Certificate,
            "10771ba5c7d446219040c6ef8cb01b4c",
        ),
        kind(
            "issuer-disabled",
            About::Certificate,
            "4225572a4eae40568ad843d802a5b16e",
        ),
        kind(
            "restart-needed",
            About::Target,
            "5b735e173d804b75ad12b878f6c578d6",
        ),
        kind(
            "rolled-back",
            About::Target,
            "835a0d536e7b498c8a656e1a44b1f6d1",
        ),
        kind(
            "link-changed",
            About::Target,
            "285b530f7fad4b74b37149f714065e6f",
        ),
        kind(
            "file-missing",
            About::Target,
            "756ab6c7ff4a44f98e3cb5e3e5dcc36d",
        ),
        kind(
            "file-unreadable",
            About::Target,
            "77618e2c992e40458cac92dde61b05c0",
        ),
        kind(
            "file-edited",
            About::Target,
            "6f91daa274254bdaab5fc4dace407c1e",
        ),
        kind(
            "attributes-changed",
            About::Target,
            "269b6d8b3e1e40acb2588db26f04dd95",
        ),
        kind(
            "key-exposed",
            About::Target,
            "fc1d3f06185a495a9036d897e1bd8081",
        ),
        kind(
            "newer-elsewhere",
            About::Target,
            "05f4fe2ded574c0ea2433132718ce0fb",
        ),
        kind(
            "served-old",
            About::Target,
            "183eed8cf92a40deae40fe98d95e95ee",
        ),
        kind(
            "served-other",
            About::Target,
            "a76948086aa44d13b3bd5b97c390ea55",
        ),
        kind(
            "served-chain",
            About::Target,
            "bf626048b4ed4e99927ac38222916068",
        ),
        kind(
            "served-newer",
            About::Target,
            "d45de6c9e43b412eabfc2cc95fae38eb",
        ),
        kind(
            "set-aside",
            About::Target,
            "9c5ffbbce3904903a3abb1ae3b5bac58",
        ),
        kind(
            "rollout-failing",
            About::Target,
            "40897aa74a674659971a4da654a37383",
        ),
        kind(
            "hook-failing",
            About::Target,
            "8fb354e8de404ca2a377a229d3973cff",
        ),
        kind(
            "rollout-blocked",
            About::Target,
            "b02daeb877bf4fbb9306a5127f068d25",
        ),
        kind(
            "rollback-failed",
            About::Target,
            "85c3cc4fe2b246e1a067563bf161b361",
        ),
        kind(
            "probe-broken",
            About::Target,
            "b8aec789111f494090043df20651d49c",
        ),
        kind(
            "no-way-back",
            About::Target,
            "8d86153269314671ae5e627e5963fced",
        ),
        kind(
            "awaiting-service",
            About::Target,
            "cc421e4416914536b4679af7a8c5f72f",
        ),
        kind(
            "alerts-stuck",
            About::Channel,
            "58884404feba4b2c9408df44e148a6c9",
        ),
        kind(
            "alerts-refused",
            About::Channel,
            "0e13d87e94ac446886748b73ccf361a6",
        ),
        kind(
            "alerts-held",
            About::Channel,
            "369c4b19131f4aa5a4ee7d72244fec27",
        ),
        kind(
            "alerts-overflow",
            About::Channel,
            "3edb0e9e244d495db8f248e21df162db",
        ),
        kind(
            "watched-expiring",
            About::Watch,
            "04e0220faa6e443aae8c74e5befe0472",
        ),
        kind(
            "watched-missing",
            About::Watch,
            "d06274d84e24433e8e54bf9908729e97",
        ),
        kind(
            "watched-unreadable",
            About::Watch,
            "11cb6d75a296435fbf4882a68cc5ef0c",
        ),
        kind(
            "watched-unreachable",
            About::Watch,
            "0fdf9a34ac2f4743acf99da16f29e87e",
        ),
        kind(
            "watched-not-yet-valid",
            About::Watch,
            "93e70a5539374858baba25bc39a61aae",
        ),
        kind(
            "watched-wrong-name",
            About::Watch,
            "db1c0d2813db4824b2f9dba20475fad5",
        ),
        kind(
            "watched-key-mismatch",
            About::Watch,
            "a3176d3566e241299c5ceb669d0e31cc",
        ),
        kind(
            "watched-chain",
            About::Watch,
            "58aedb6122054498a9d6820e0658dcdd",
        ),
        kind(
            "watched-differs",
            About::Watch,
            "9db5ea69696c4f6c9be76a0813e82736",
        ),
        kind(
            "watched-incomplete",
            About::Watch,
            "9e68f99e1ba04fcfa4fb7597100b5783",
        ),
        kind(
            "watched-more",
            About::Watch,
            "b8c739b0800a4b7982c0a7c31095b960",
        ),
        kind(
            "observed-differs",
            About::Target,
            "0d1a53a9a27b408cad2eefcef7baf7c8",
        ),
        kind(
            "old-one-served",
            About::Target,
            "b9afa7108f9344b8a32ce33a4ea209f4",
        ),
        kind(
            "stale-journal",
            About::Issuer,
            "fa295be97c0242dfbfbe12fd3007b76b",
        ),
        kind(
            "purchase-unclear",
            About::Certificate,
            "65f6279175fb42f3894269b25c8d7914",
        ),
        kind(
            "purchase-budget",
            About::Certificate,
            "1fbce5ce5ebc4ff38223d7cd51a66e0d",
        ),
        kind(
            "no-entitlement",
            About::Certificate,
            "75517774a9a44088bc1ca07e9dda0c89",
        ),
        kind(
            "supplement-refused",
            About::Certificate,
            "8d579b568e7b4c248f940729b7665e1e",
        ),
        kind(
            "supplement-late",
            About::Certificate,
            "b32064bebb9e466188aee47babc84ef8",
        ),
        kind(
            "foreign-application",
            About::Certificate,
            "ee7a2b7255e1400fa50a25d344dd7e4e",
        ),
        kind(
            "successor-overdue",
            About::Certificate,
            "c37cac533cb1447ea2be51f0ad53e8a5",
        ),
        kind(
            "successor-lacks-names",
            About::Certificate,
            "8376f6fad6a745d8ba07d3b0d3652cc2",
        ),
        kind(
            "review-late",
            About::Certificate,
            "c4168b9956694662b102379eca8da594",
        ),
        kind(
            "proof-unseen",
            About::Certificate,
            "e374de36d3ea4fbc92ded41c92688739",
        ),
        kind(
            "mail-to-answer",
            About::Certificate,
            "e69dc7c23b4c4ac7967808090aa47fb2",
        ),
        kind(
            "left-over",
            About::Certificate,
            "f30c3d45a3eb4eac90a6f31f7f9f37c6",
        ),
        kind(
            "revocation-failing",
            About::Certificate,
            "5f68dbd6fed848b19eaabda1ce7cc81e",
        ),
        kind(
            "revocation-waits",
            About::Certificate,
            "fd566e8a3a9f45ae8cae9ce1970470e6",
        ),
        kind(
            "push-failing",
            About::Certificate,
            "a5fd0be0f5814eeda6231a2394366d3f",
        ),
    ];

    /// By its code.
    #[must_use]
    pub fn find(code: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|kind| kind.code == code)
    }
}

const fn kind(code: &'static str, about: About, message: &'static str) -> Kind {
    Kind {
        code,
        about,
        message,
    }
}

/// What is worth finding again in a log, beside alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Milestone {
    /// The daemon runs.
    Started,
    /// It ends, since it was asked to.
    Stopped,
    /// The policy was read again and is in force.
    PolicyInForce,
    /// The policy was read again and has errors: the one before it stays in force.
    PolicyRefused,
    /// An issuer gave a certificate.
    Issued,
    /// A target serves its new set, and that is proven.
    Live,
    /// What was there before is served again.
    RolledBack,
    /// An alert is true no more.
    Over,
}

impl Milestone {
    /// Each of them.
    pub const ALL: [Self; 8] = [
        Self::Started,
        Self::Stopped,
        Self::PolicyInForce,
        Self::PolicyRefused,
        Self::Issued,
        Self::Live,
        Self::RolledBack,
        Self::Over,
    ];

    /// The code, which is none of an alert.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::PolicyInForce => "policy-in-force",
            Self::PolicyRefused => "policy-refused",
            Self::Issued => "issued",
            Self::Live => "live",
            Self::RolledBack => "undone",
            Self::Over => "over",
        }
    }

    /// Number for journald: 128 bits in hex.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Started => "9a17451083ea492883773df245b253ed",
            Self::Stopped => "53efc75494194221a9f08d967208770b",
            Self::PolicyInForce => "e7e9d2e6ad1b423ca96b2e94882f23cd",
            Self::PolicyRefused => "bf2870f1a1a04c6b8e42eb22e19052bd",
            Self::Issued => "1da577ba0b1542909427f48044c221b5",
            Self::Live => "8414e39017b942c485086f75a44c4dbb",
            Self::RolledBack => "7046ba67ea2249a5997de07df5c7c50f",
            Self::Over => "97aa959ed95b4778be8b3f8f7654689b",
        }
    }
}

/// The number of a kind of alert or of a milestone, by its code.
#[must_use]
pub fn message_id(code: &str) -> Option<&'static str> {
    let milestone = Milestone::ALL.into_iter().find(|one| one.code() == code);
    let milestone = milestone.map(Milestone::message);
    milestone.or_else(|| Kind::find(code).map(|kind| kind.message))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_number_stands_for_one_thing() {
        let kinds = Kind::ALL.iter().map(|kind| (kind.code, kind.message));
        let milestones = Milestone::ALL.map(|one| (one.code(), one.message()));
        let all: Vec<_> = kinds.chain(milestones).collect();
        let codes: BTreeSet<_> = all.iter().map(|(code, _)| code).collect();
        let numbers: BTreeSet<_> = all.iter().map(|(_, number)| number).collect();
        assert_eq!((codes.len(), numbers.len()), (all.len(), all.len()));
        for (code, number) in all {
            let hex = number
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            assert!(hex && number.len() == 32, "{code}: {number}");
            assert_eq!(message_id(code), Some(number));
        }
        assert_eq!(message_id("nothing"), None);
    }
}
