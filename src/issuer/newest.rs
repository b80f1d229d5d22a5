//! Which certificates of a PCA listing are worth an export, for a follower.
//!
//! A listing shows the common name only, and to see the other names means to export, which hands out the private key.
//! In an account with 100 000 certificates that must stay with the few that can be the right one: those whose common
//! name is good for one of the wanted names, newest first; and only if none of them fits, the newest few of the others.

use crate::ccm::{GenMode, PrivateCertificate, PrivateStatus};
use crate::model::{Name, SubjectAltNames, Timestamp};

/// A listing, newest first, that is being read.
pub(super) struct Newest<'a> {
    names: &'a SubjectAltNames,
    authority: &'a str,
    now: Timestamp,
    likely: Vec<Candidate>,
    others: Vec<Candidate>,
    /// Of the last one that was taken; falls as long as the server keeps its order.
    last: i64,
    ordered: bool,
}

/// A certificate that may be exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) id: String,
    /// Milliseconds since 1970; 0 where the listing does not tell.
    pub(super) created: i64,
}

impl<'a> Newest<'a> {
    pub(super) const fn new(
        names: &'a SubjectAltNames,
        authority: &'a str,
        now: Timestamp,
    ) -> Self {
        Self {
            names,
            authority,
            now,
            likely: Vec::new(),
            others: Vec::new(),
            last: i64::MAX,
            ordered: true,
        }
    }

    /// Sorts one certificate in.
    pub(super) fn take(&mut self, certificate: &PrivateCertificate) {
        let created = certificate.create_time.unwrap_or(0);
        self.ordered &= created <= self.last;
        self.last = created;
        if !self.usable(certificate) {
            return;
        }
        let candidate = Candidate {
            id: certificate.certificate_id.clone(),
            created,
        };
        let common_name = Name::parse(certificate.common_name());
        let likely =
            common_name.is_ok_and(|have| self.names.iter().any(|wanted| have.covers(wanted)));
        let (list, most) = if likely {
            (&mut self.likely, usize::MAX)
        } else if self.ordered {
            (&mut self.others, MOST_OTHERS)
        } else {
            // Out of order any of them may be among the newest.
            (&mut self.others, usize::MAX)
        };
        if list.len() < most {
            list.push(candidate);
        }
    }

    /// The likely ones that were taken since, if nothing newer can follow.
    pub(super) fn likely_so_far(&mut self) -> Vec<Candidate> {
        if self.ordered {
            std::mem::take(&mut self.likely)
        } else {
            Vec::new()
        }
    }

    /// Once the listing is at its end: the likely ones that are left, then the newest of the others.
    pub(super) fn rest(mut self) -> Vec<Candidate> {
        let newest_first = |list: &mut Vec<Candidate>| {
            list.sort_by_key(|one| std::cmp::Reverse(one.created));
        };
        newest_first(&mut self.likely);
        newest_first(&mut self.others);
        self.others.truncate(MOST_OTHERS);
        self.likely.append(&mut self.others);
        self.likely
    }

    fn usable(&self, certificate: &PrivateCertificate) -> bool {
        let millis = self.now.0.saturating_mul(1000);
        let ours = certificate
            .issuer_id
            .as_deref()
            .is_none_or(|id| id == self.authority);
        let begun = certificate.not_before.is_none_or(|at| at <= millis);
        let good = certificate.not_after.is_none_or(|at| millis < at);
        let frozen = certificate.freeze_flag.is_some_and(|flag| flag != 0);
        // Made by CSR means that the key is elsewhere.
        let with_key = certificate.gen_mode != GenMode::Csr;
        certificate.status == PrivateStatus::Issued && ours && begun && good && with_key && !frozen
    }
}

/// Certificates of another common name that are exported to see their names, in one account.
const MOST_OTHERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> SubjectAltNames {
        texts
            .iter()
            .map(|text| Name::parse(text).unwrap())
            .collect()
    }

    fn certificate(id: &str, common_name: &str, created: i64) -> PrivateCertificate {
        serde_json::from_value(serde_json::json!({
            "certificate_id": id, "status": "ISSUED", "issuer_id": "ca", "gen_mode": "GENERATE",
            "create_time": created, "not_before": created, "not_after": 1_000_000_000,
            "distinguished_name": {"common_name": common_name},
        }))
        .unwrap()
    }

    fn ids(candidates: &[Candidate]) -> Vec<&str> {
        candidates.iter().map(|one| one.id.as_str()).collect()
    }

    #[test]
    fn a_common_name_that_is_good_for_a_wanted_name_comes_first() {
        let wanted = names(&["www.example.com", "example.com"]);
        let mut newest = Newest::new(&wanted, "ca", Timestamp(100));
        newest.take(&certificate("other", "mail.example.org", 900));
        newest.take(&certificate("wildcard", "*.example.com", 800));
        newest.take(&certificate("exact", "www.example.com", 700));
        assert_eq!(ids(&newest.likely_so_far()), ["wildcard", "exact"]);
        newest.take(&certificate("older", "example.com", 600));
        assert_eq!(ids(&newest.rest()), ["older", "other"]);
    }

    #[test]
    fn what_cannot_be_used_is_not_exported() {
        let wanted = names(&["www.example.com"]);
        let good = certificate("id", "www.example.com", 700);
        for unusable in [
            PrivateCertificate {
                status: PrivateStatus::Revoked,
                ..good.clone()
            },
            PrivateCertificate {
                gen_mode: GenMode::Csr,
                ..good.clone()
            },
            PrivateCertificate {
                issuer_id: Some("another".into()),
                ..good.clone()
            },
            PrivateCertificate {
                not_after: Some(100_000),
                ..good.clone()
            },
            PrivateCertificate {
                not_before: Some(100_001),
                ..good.clone()
            },
            PrivateCertificate {
                freeze_flag: Some(1),
                ..good.clone()
            },
        ] {
            let mut newest = Newest::new(&wanted, "ca", Timestamp(100));
            newest.take(&unusable);
            assert!(newest.rest().is_empty(), "{unusable:?}");
        }
        let mut newest = Newest::new(&wanted, "ca", Timestamp(100));
        newest.take(&good);
        assert_eq!(newest.rest().len(), 1);
    }

    #[test]
    fn a_huge_account_leaves_few_to_look_at() {
        let wanted = names(&["www.example.com"]);
        let mut newest = Newest::new(&wanted, "ca", Timestamp(100));
        for n in 0..100_000 {
            newest.take(&certificate(&n.to_string(), "mail.example.org", 99_999 - n));
        }
        let rest = newest.rest();
        assert_eq!(rest.len(), MOST_OTHERS);
        assert_eq!(rest[0].id, "0");
    }

    #[test]
    fn a_server_without_order_is_read_to_the_end() {
        let wanted = names(&["www.example.com"]);
        let mut newest = Newest::new(&wanted, "ca", Timestamp(100));
        newest.take(&certificate("old", "www.example.com", 10));
        newest.take(&certificate("new", "www.example.com", 20));
        assert!(newest.likely_so_far().is_empty());
        assert_eq!(ids(&newest.rest()), ["new", "old"]);
    }
}
