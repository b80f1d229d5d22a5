//! Which issuers of a policy are one account at SCM: what was bought by any of them counts for each.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{IssuerId, IssuerKind, IssuerPolicy, Policy, RemoteAuth, Snapshot};

/// Counts purchases by account instead of by issuer, and notes who shares one. Doing it twice does no harm.
pub fn count_by_account(policy: &Policy, snapshot: &mut Snapshot) {
    if !snapshot.accounts.is_empty() {
        return;
    }
    let scm = policy.issuers.values();
    let scm: Vec<&IssuerPolicy> = scm
        .filter(|issuer| matches!(issuer.kind, IssuerKind::Scm(_)))
        .collect();
    let mut accounts: BTreeMap<IssuerId, IssuerId> = BTreeMap::new();
    for issuer in &scm {
        let earlier = scm.iter().take_while(|other| other.id != issuer.id);
        let same = earlier.filter(|other| is_one(other, issuer));
        // One that is the same as several shows that these are one, too.
        let joined: BTreeSet<IssuerId> = same
            .filter_map(|other| accounts.get(&other.id).cloned())
            .collect();
        let account = joined.first().unwrap_or(&issuer.id).clone();
        for of in accounts.values_mut().filter(|of| joined.contains(&**of)) {
            *of = account.clone();
        }
        accounts.insert(issuer.id.clone(), account);
    }
    snapshot.accounts = accounts;
    let made = std::mem::take(&mut snapshot.purchases);
    snapshot.purchases = snapshot.by_account(made);
}

/// Whether two issuers are one account, as far as the policy shows it: the same cloud, and there the same access key, the same
/// agency, the same account by name, or the same project. Two keys of one account look like two accounts here; what
/// their hosts bought is still counted by the tags of the account.
fn is_one(one: &IssuerPolicy, other: &IssuerPolicy) -> bool {
    let same = match (&one.access.auth, &other.access.auth) {
        (
            RemoteAuth::AccessKey { access_key, .. },
            RemoteAuth::AccessKey {
                access_key: other, ..
            },
        ) => access_key == other,
        (RemoteAuth::Password { domain, .. }, RemoteAuth::Password { domain: other, .. }) => {
            domain == other
        }
        // A machine has one agency.
        (RemoteAuth::Agency { .. }, RemoteAuth::Agency { .. }) => true,
        (
            RemoteAuth::AccessKey { .. } | RemoteAuth::Password { .. } | RemoteAuth::Agency { .. },
            _,
        ) => false,
    };
    let project = |issuer: &IssuerPolicy| match &issuer.kind {
        IssuerKind::Scm(scm) => scm.project.clone(),
        IssuerKind::Pca(_) => None,
    };
    let project = project(one).is_some_and(|id| project(other) == Some(id));
    cloud(&one.access.endpoint) == cloud(&other.access.endpoint) && (same || project)
}

/// The cloud that an endpoint is of: Huawei's, whatever service and region the host names, or the host itself with its port.
fn cloud(endpoint: &str) -> String {
    let host = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, host)| host);
    let host = host.split('/').next().unwrap_or(host).to_ascii_lowercase();
    let host = host.strip_suffix(":443").unwrap_or(&host).to_owned();
    let name = host.split(':').next().unwrap_or(&host);
    let of = CLOUDS.iter().find(|cloud| name.ends_with(**cloud));
    of.map_or_else(|| host.clone(), |cloud| (*cloud).to_owned())
}

/// Regions of one of them share accounts.
const CLOUDS: &[&str] = &[
    ".myhuaweicloud.com",
    ".myhuaweicloud.cn",
    ".myhuaweicloud.eu",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ScmPolicy, SecretRef, Timestamp};
    use crate::plan::testing;

    fn issuer(name: &str, endpoint: &str, auth: RemoteAuth, project: Option<&str>) -> IssuerPolicy {
        let mut issuer = testing::issuer();
        issuer.id = IssuerId::new(name).unwrap();
        issuer.access.endpoint = endpoint.to_owned();
        issuer.access.auth = auth;
        issuer.kind = IssuerKind::Scm(ScmPolicy {
            project: project.map(str::to_owned),
            ..ScmPolicy::default()
        });
        issuer
    }

    fn key(name: &str) -> RemoteAuth {
        RemoteAuth::AccessKey {
            access_key: SecretRef::Env(name.to_owned()),
            secret_key: SecretRef::Env("SK".to_owned()),
            security_token: None,
        }
    }

    fn password(domain: &str, user: &str) -> RemoteAuth {
        RemoteAuth::Password {
            iam_endpoint: "https://iam.myhuaweicloud.com".to_owned(),
            user: user.to_owned(),
            password: SecretRef::Env("PW".to_owned()),
            domain: domain.to_owned(),
            project: "ap-southeast-1".to_owned(),
        }
    }

    fn counted(issuers: Vec<IssuerPolicy>) -> Snapshot {
        let mut policy = testing::policy();
        let mut snapshot = Snapshot::default();
        for (at, issuer) in (10..).zip(&issuers) {
            snapshot
                .purchases
                .insert(issuer.id.clone(), vec![Timestamp(at)]);
        }
        policy.issuers = issuers
            .into_iter()
            .map(|issuer| (issuer.id.clone(), issuer))
            .collect();
        count_by_account(&policy, &mut snapshot);
        let once = snapshot.clone();
        count_by_account(&policy, &mut snapshot);
        assert_eq!(snapshot, once);
        snapshot
    }

    fn made(snapshot: &Snapshot, issuer: &str) -> Vec<i64> {
        let all = &snapshot.purchases[&IssuerId::new(issuer).unwrap()];
        all.iter().map(|at| at.0).collect()
    }

    #[test]
    fn issuers_of_one_account_share_what_was_bought() {
        const ONE: &str = "https://scm.ap-southeast-1.myhuaweicloud.com";
        const TWO: &str = "https://ccm.cn-north-4.myhuaweicloud.com";
        const OWN: &str = "https://127.0.0.1:8443";
        let pair = |one: IssuerPolicy, other: IssuerPolicy| made(&counted(vec![one, other]), "a");
        let of = |auth, endpoint, project| issuer("a", endpoint, auth, project);
        let and = |auth, endpoint, project| issuer("b", endpoint, auth, project);
        let both = [10, 11];
        assert_eq!(
            pair(of(key("AK"), ONE, None), and(key("AK"), TWO, None)),
            both
        );
        assert_eq!(
            pair(of(key("AK"), ONE, None), and(key("AK"), OWN, None)),
            [10]
        );
        assert_eq!(
            pair(of(key("AK"), ONE, None), and(key("BK"), ONE, None)),
            [10]
        );
        assert_eq!(
            pair(
                of(key("AK"), ONE, Some("p")),
                and(key("BK"), ONE, Some("p"))
            ),
            both
        );
        let (tom, ann) = (password("acme", "tom"), password("acme", "ann"));
        assert_eq!(pair(of(tom.clone(), ONE, None), and(ann, TWO, None)), both);
        let other = password("other", "tom");
        assert_eq!(pair(of(tom, ONE, None), and(other, ONE, None)), [10]);
    }

    #[test]
    fn one_that_is_the_same_as_two_others_makes_them_one() {
        const ONE: &str = "https://scm.ap-southeast-1.myhuaweicloud.com";
        let all = counted(vec![
            issuer("a", ONE, key("AK"), None),
            issuer("b", ONE, key("BK"), Some("p")),
            issuer("c", ONE, key("AK"), Some("p")),
            issuer("d", ONE, key("DK"), Some("q")),
        ]);
        for name in ["a", "b", "c"] {
            assert_eq!(made(&all, name), [10, 11, 12], "{name}");
        }
        assert_eq!(made(&all, "d"), [13]);
    }

    #[test]
    fn neither_port_nor_path_makes_another_cloud() {
        let hosts = [
            "https://scm.ap-southeast-1.myhuaweicloud.com",
            "https://scm.cn-north-4.myhuaweicloud.com:443",
            "https://SCM.ap-southeast-1.myhuaweicloud.com:8443/v3/",
        ];
        for host in hosts {
            assert_eq!(cloud(host), ".myhuaweicloud.com", "{host}");
        }
        assert_eq!(cloud("https://ccm.lan:443/"), cloud("https://ccm.lan"));
        assert_ne!(cloud("https://ccm.lan:8443"), cloud("https://ccm.lan"));
        assert_ne!(cloud("https://[::1]:8443"), cloud("https://[::1]:8444"));
    }

    #[test]
    fn those_that_share_are_called_by_the_first() {
        const ONE: &str = "https://scm.ap-southeast-1.myhuaweicloud.com";
        let all = ["AK", "BK", "AK"].map(key);
        let names = ["a", "b", "c"].into_iter().zip(all);
        let issuers = names.map(|(name, auth)| issuer(name, ONE, auth, None));
        let snapshot = counted(issuers.collect());
        assert_eq!(made(&snapshot, "a"), [10, 12]);
        assert_eq!(made(&snapshot, "b"), [11]);
        assert_eq!(made(&snapshot, "c"), [10, 12]);
        let id = |name: &str| IssuerId::new(name).unwrap();
        assert_eq!(snapshot.account(&id("c")), &id("a"));
        assert_eq!(snapshot.account(&id("b")), &id("b"));
        assert_eq!(snapshot.account(&id("gone")), &id("gone"));
    }
}
