//! What a policy comes out as: defaults, other forms of the same thing, layers, digests.

use std::path::PathBuf;

use renewd::config::{Code, Loaded};
use renewd::model::{
    CertificatePolicy, ExportKind, ExportLayout, IssuerKind, IssuerPace, IssuerPolicy, JobName,
    KeyAlgorithm, KeyReuse, KeySource, Observe, OrderMode, PasswordSource, PfxProfile, Policy,
    Prelude, Probe, Reload, RemoteAuth, RenewRule, Seconds, SecretRef, TargetKind, TargetPolicy,
    TrustFormat,
};

use super::{Etc, fixtures, refused};

fn accept(etc: &Etc) -> Loaded {
    etc.load()
        .unwrap_or_else(|problems| panic!("{}", etc.shown(&problems)))
}

fn load(text: &str) -> Policy {
    let etc = Etc::new();
    etc.write("renewd.toml", text);
    accept(&etc).policy
}

fn good(name: &str) -> Policy {
    load(&std::fs::read_to_string(fixtures("good").join(name)).unwrap())
}

fn certificate<'a>(policy: &'a Policy, id: &str) -> &'a CertificatePolicy {
    policy.certificates.get(id).unwrap()
}

fn target<'a>(policy: &'a Policy, id: &str) -> &'a TargetPolicy {
    policy.targets.get(id).unwrap()
}

fn issuer<'a>(policy: &'a Policy, id: &str) -> &'a IssuerPolicy {
    policy.issuers.get(id).unwrap()
}

fn words(argv: &[&str]) -> Option<Vec<String>> {
    Some(argv.iter().map(|word| (*word).to_owned()).collect())
}

#[test]
fn ten_lines_are_a_whole_policy() {
    let policy = good("minimal.toml");
    assert_eq!(policy.state_dir, PathBuf::from("/var/lib/renewd"));
    let jobs = &policy.jobs;
    assert_eq!(jobs[&JobName::Check].schedule.as_str(), "0 17 */6 * * *");
    assert_eq!(jobs[&JobName::Renew].schedule.as_str(), "0 43 * * * *");
    assert_eq!(jobs[&JobName::Renew].jitter, Seconds::minutes(10));
    assert_eq!(jobs[&JobName::Renew].floor, Seconds::minutes(1));

    let www = certificate(&policy, "www");
    assert_eq!(www.issuer.as_str(), "corp");
    assert_eq!(www.common_name, "www.example.com");
    assert_eq!(www.names.to_string(), "example.com, www.example.com");
    assert_eq!(www.key_source, KeySource::Local);
    assert_eq!(www.order, OrderMode::Auto);
    assert_eq!(www.key_algorithm, KeyAlgorithm::EcP256);
    assert_eq!(www.key_reuse, KeyReuse::Rekey);
    assert_eq!(www.validity, Seconds::days(90));
    assert_eq!(www.renew, RenewRule::Share { part: 1, whole: 3 });
    assert!(www.targets.contains("web"));

    let web = target(&policy, "web");
    assert_eq!(web.kind, TargetKind::Nginx);
    assert_eq!(web.test, words(&["/usr/sbin/nginx", "-t"]));
    assert_eq!(
        web.reload,
        words(&["/usr/sbin/nginx", "-s", "reload"]).map(Reload::Command)
    );
    assert_eq!(web.command_timeout, Seconds(60));
    assert_eq!(web.exports.len(), 1);
    assert_eq!(
        web.exports[0].kind,
        ExportKind::Layout {
            layout: ExportLayout::Nginx,
            directory: PathBuf::new(),
            password: PasswordSource::Generated,
        }
    );
    assert_eq!(web.exports[0].attributes.key_mode, 0o600);
    assert_eq!(
        web.probe,
        Probe::Tls {
            connect: "127.0.0.1:443".to_owned().into(),
            deadline: Seconds(30),
            roots: None,
            wildcard_label: "renewd-probe".to_owned(),
            prelude: Prelude::default(),
        }
    );

    let corp = issuer(&policy, "corp");
    assert!(matches!(&corp.kind, IssuerKind::Pca(pca) if pca.ca == "corp-issuing"));
    assert_eq!(corp.access.connect_timeout, Seconds(10));
    assert_eq!(corp.access.timeout, Seconds(60));
    assert_eq!(corp.settle, Seconds(120));
    assert_eq!(corp.pace, IssuerPace::default());
}

#[test]
fn how_much_an_issuer_is_asked_has_bounds_and_is_no_matter_of_what_failed() {
    let with = |pace: &str| ISSUER.replace("ca =", &format!("{pace}\nca ="));
    let policy = load(&with(
        "concurrency = 2\nrequests_per_second = 5\norders_per_hour = 100",
    ));
    let pace = IssuerPace {
        concurrency: 2,
        requests_per_second: 5,
        orders_per_hour: 100,
    };
    assert_eq!(issuer(&policy, "corp").pace, pace);
    let before = load(ISSUER);
    assert_eq!(
        issuer(&before, "corp").digest,
        issuer(&policy, "corp").digest
    );
    for key in ["concurrency", "requests_per_second", "orders_per_hour"] {
        for value in ["0", "1000001"] {
            let etc = Etc::new();
            etc.write("renewd.toml", with(&format!("{key} = {value}")));
            let problems = refused(&etc, Code::Pacing);
            let said = format!("`{key}` is out of range");
            assert!(problems.contains(&said), "{problems}");
        }
    }
}

#[test]
fn other_forms_of_toml_say_the_same() {
    let policy = good("forms.toml");
    let corp = issuer(&policy, "corp");
    assert_eq!(corp.access.endpoint, "http://127.0.0.1:8080");
    let public = issuer(&policy, "public");
    assert_eq!(public.access.endpoint, "https://scm.example.com:443");
    assert!(matches!(
        &public.access.auth,
        RemoteAuth::AccessKey {
            security_token: Some(SecretRef::Credential(name)),
            ..
        } if name == "token"
    ));

    let www = certificate(&policy, "www");
    assert_eq!(www.common_name, "*.example.com");
    assert_eq!(www.names.len(), 5);

    let wild = certificate(&policy, "wild");
    assert_eq!(wild.order, OrderMode::Never);
    assert_eq!(wild.key_source, KeySource::Ccm);
    // Longer than the default validity, which says nothing about a certificate of somebody else.
    assert_eq!(wild.renew, RenewRule::DaysBefore(400));

    let app = target(&policy, "app");
    assert_eq!(app.probe, Probe::None);
    assert_eq!((&app.test, &app.reload), (&None, &None));
    let [store, store2] = &app.exports[..] else {
        panic!("{:?}", app.exports);
    };
    assert_eq!(store.name, "store");
    assert_eq!(store.attributes.owner.as_deref(), Some("33"));
    assert_eq!(store.attributes.mode, 0o640);
    assert_eq!(store.attributes.key_mode, 0o400);
    assert_eq!(
        store2.kind,
        ExportKind::Pfx {
            path: PathBuf::from("/srv/{certificate}/x.pfx"),
            profile: PfxProfile::Modern,
            alias: "ä".to_owned(),
            password: PasswordSource::Given(SecretRef::File(PathBuf::from("/pw"))),
        }
    );
}

#[test]
fn a_trust_store_is_pem_unless_told_and_takes_the_profiles_of_a_pfx() {
    let of = |rest: &str| {
        let policy = load(&format!(
            "[target.files.t.export.trust.ca]\npath = \"ca\"\n{rest}"
        ));
        let export = &target(&policy, "t").exports[0];
        assert_eq!((export.attributes.mode, &*export.name), (0o644, "ca"));
        export.kind.clone()
    };
    let expected = |format| ExportKind::Trust {
        path: PathBuf::from("ca"),
        format,
        password: PasswordSource::Generated,
    };
    assert_eq!(of(""), expected(TrustFormat::Pem));
    assert_eq!(of("format = \"jks\"\n"), expected(TrustFormat::Jks));
    for (word, profile) in [
        ("modern", PfxProfile::Modern),
        ("java8", PfxProfile::Java8),
        ("windows2016", PfxProfile::Windows2016),
    ] {
        let text = format!("format = \"pkcs12\"\nprofile = \"{word}\"\n");
        assert_eq!(of(&text), expected(TrustFormat::Pkcs12(profile)));
    }
    let etc = Etc::new();
    let text = "[target.files.t.export.trust.ca]\npath = \"ca\"\nprofile = \"java8\"\n";
    etc.write("renewd.toml", text);
    let warnings = etc.shown(&accept(&etc).warnings);
    assert!(warnings.contains("`profile` has no effect"), "{warnings}");
}

#[test]
fn the_common_name_is_the_first_host_name_as_written() {
    let of = |names: &str| {
        let text = format!("{ISSUER}[certificate.x]\nissuer = \"corp\"\nnames = {names}\n");
        certificate(&load(&text), "x").common_name.clone()
    };
    assert_eq!(of(r#"["z.example", "a.example"]"#), "z.example");
    assert_eq!(of(r#"["10.0.0.1", "urn:x:y", "z.example"]"#), "z.example");
    assert_eq!(of(r#"["10.0.0.2", "10.0.0.1"]"#), "10.0.0.2");
}

#[test]
fn prefix_and_configuration_go_into_both_commands_of_nginx() {
    let policy = load(
        "[target.nginx.web]\nprefix = \"/srv/nginx\"\nconfig = \"/srv/nginx/nginx.conf\"\n\
         reload = [\"/usr/bin/systemctl\", \"reload\", \"nginx\"]\n",
    );
    let web = target(&policy, "web");
    let test = [
        "/usr/sbin/nginx",
        "-t",
        "-p",
        "/srv/nginx",
        "-c",
        "/srv/nginx/nginx.conf",
    ];
    assert_eq!(web.test, words(&test));
    assert_eq!(
        web.reload,
        words(&["/usr/bin/systemctl", "reload", "nginx"]).map(Reload::Command)
    );
}

#[test]
fn a_family_gives_paths_and_unit_names_and_what_is_written_still_wins() {
    let text =
        "[target.apache.a]\n[target.haproxy.b]\n[target.apache.c]\npid_file = \"/run/c.pid\"\n";
    let of = |family: &str| load(&format!("{family}\n{text}"));
    let reload = |unit: &str| words(&["/usr/bin/systemctl", "reload", unit]).map(Reload::Command);
    let socket = |policy: &Policy| match &target(policy, "b").reload {
        Some(Reload::Haproxy { admin_socket, .. }) => admin_socket.clone(),
        other => panic!("{other:?}"),
    };

    let debian = of("family = \"debian\"");
    assert_eq!(target(&debian, "a").reload, reload("apache2"));
    assert_eq!(socket(&debian), PathBuf::from("/run/haproxy/admin.sock"));

    let rhel = of("family = \"rhel\"");
    let pid_file = |id| target(&rhel, id).pid_file.clone();
    assert_eq!(target(&rhel, "a").reload, reload("httpd"));
    assert_eq!(pid_file("a"), Some(PathBuf::from("/run/httpd/httpd.pid")));
    assert_eq!(pid_file("c"), Some(PathBuf::from("/run/c.pid")));
    assert_eq!(socket(&rhel), PathBuf::from("/var/lib/haproxy/stats"));
    assert_ne!(target(&rhel, "a").digest, target(&debian, "a").digest);

    // The tests run on Debian, and say nothing of a family elsewhere.
    assert_eq!(of("").targets, debian.targets);
    assert_eq!(of("family = \"auto\"").targets, debian.targets);
}

#[test]
fn exports_inherit_owner_and_mode_and_may_have_their_own() {
    let policy = load(
        "[target.files.x]\nowner = \"root\"\nmode = \"0640\"\n\
         [target.files.x.export.pem.a]\nkey = \"a.key\"\n\
         [target.files.x.export.pem.b]\nkey = \"b.key\"\nowner = \"www\"\nkey_mode = 0o440\n",
    );
    let exports = &target(&policy, "x").exports;
    let shown: Vec<(&str, Option<&str>, u32, u32)> = exports
        .iter()
        .map(|export| {
            let attributes = &export.attributes;
            let owner = attributes.owner.as_deref();
            (
                export.name.as_str(),
                owner,
                attributes.mode,
                attributes.key_mode,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("a", Some("root"), 0o640, 0o600),
            ("b", Some("www"), 0o640, 0o440)
        ]
    );
}

#[test]
fn a_later_file_wins_key_by_key_and_lists_are_replaced() {
    let etc = Etc::new();
    let minimal = std::fs::read(fixtures("good").join("minimal.toml")).unwrap();
    etc.write("renewd.toml", minimal);
    etc.write(
        "policy.d/10-more.toml",
        "[certificate.www]\nnames = [\"other.example\"]\nvalidity = \"30d\"\n[issuer.pca.corp]\nca = \"new\"\n",
    );
    etc.write(
        "policy.d/20-more.toml",
        "certificate.www.validity = \"60d\"\ncertificate.www.subject.country = \"DE\"\n",
    );
    let policy = accept(&etc).policy;
    let www = certificate(&policy, "www");
    assert_eq!(www.names.to_string(), "other.example");
    assert_eq!(www.validity, Seconds::days(60));
    assert_eq!(www.subject.country.as_deref(), Some("DE"));
    assert!(www.targets.contains("web"), "what nobody changed stays");
    let corp = issuer(&policy, "corp");
    assert!(matches!(&corp.kind, IssuerKind::Pca(pca) if pca.ca == "new"));
    assert_eq!(corp.access.endpoint, "https://ccm.example.com");
}

#[test]
fn a_digest_changes_with_what_it_covers_and_with_nothing_else() {
    let base = format!(
        "{ISSUER}[certificate.x]\nissuer = \"corp\"\nnames = [\"a.example\"]\ntargets = [\"t\"]\n\
         [target.nginx.t]\n[target.nginx.t.export.pem.e]\nkey = \"k.pem\"\n"
    );
    let before = load(&base);
    let cases = [
        // Written or not, the default is the default.
        (
            "[certificate.x]",
            "[certificate.x]\nrekey = true\nvalidity = \"2160h\"",
            "",
        ),
        (
            "[target.nginx.t]",
            "[target.nginx.t]\nprobe = \"tls\"\nkey_mode = \"0600\"",
            "",
        ),
        ("[certificate.x]", "[certificate.x]\nrenew_at = \"1/2\"", ""),
        ("targets = [\"t\"]", "targets = []", ""),
        // Issuer, and with it what it signs.
        ("corp-issuing", "other", "issuer certificate"),
        ("file:/ak", "env:AK", "issuer certificate"),
        ("ca =", "settle = \"3m\"\nca =", "issuer certificate"),
        ("ca =", "timeout = \"61s\"\nca =", "issuer certificate"),
        ("https://ccm", "https://ccm2", "issuer certificate"),
        // Certificate.
        ("[\"a.example\"]", "[\"b.example\"]", "certificate"),
        (
            "[\"a.example\"]",
            "[\"a.example\", \"b.example\"]",
            "certificate",
        ),
        (
            "[certificate.x]",
            "[certificate.x]\ncommon_name = \"y\"",
            "certificate",
        ),
        (
            "[certificate.x]",
            "[certificate.x]\nkey = \"ccm\"",
            "certificate",
        ),
        (
            "[certificate.x]",
            "[certificate.x]\norder = \"never\"",
            "certificate",
        ),
        (
            "[certificate.x]",
            "[certificate.x]\nkey_algorithm = \"rsa-2048\"",
            "certificate",
        ),
        (
            "[certificate.x]",
            "[certificate.x]\nrekey = false",
            "certificate",
        ),
        (
            "[certificate.x]",
            "[certificate.x]\nvalidity = \"91d\"",
            "certificate",
        ),
        (
            "[certificate.x]",
            "[certificate.x]\nsubject = { state = \"x\" }",
            "certificate",
        ),
        (
            "[certificate.x]",
            "[certificate.x]\nsubject = { locality = \"x\" }",
            "certificate",
        ),
        // Target.
        ("k.pem", "l.pem", "target"),
        ("key = \"k.pem\"", "combined = \"k.pem\"", "target"),
        ("export.pem.e", "export.pem.f", "target"),
        (
            "[target.nginx.t]",
            "[target.nginx.t]\ntest = [\"/bin/true\"]",
            "target",
        ),
        (
            "[target.nginx.t]",
            "[target.nginx.t]\nreload = [\"/bin/true\"]",
            "target",
        ),
        (
            "[target.nginx.t]",
            "[target.nginx.t]\nprobe = \"none\"",
            "target",
        ),
        (
            "[target.nginx.t]",
            "[target.nginx.t]\nconnect = \"[::1]:443\"",
            "target",
        ),
        (
            "[target.nginx.t]",
            "[target.nginx.t]\ndeadline = \"31s\"",
            "target",
        ),
        (
            "[target.nginx.t]",
            "[target.nginx.t]\ncommand_timeout = \"61s\"",
            "target",
        ),
        (
            "[target.nginx.t]",
            "[target.nginx.t]\nhooks.post = [\"/bin/true\"]",
            "target",
        ),
        (
            "[target.nginx.t]",
            "[target.nginx.t]\nroots = \"/r.pem\"",
            "target",
        ),
        (
            "[target.nginx.t]",
            "[target.nginx.t]\nwildcard_label = \"w\"",
            "target",
        ),
        (
            "[target.nginx.t]",
            "[target.nginx.t]\nstarttls = \"imap\"",
            "target",
        ),
        (
            "[target.nginx.t]",
            "[target.nginx.t]\nproxy_protocol = \"v2\"",
            "target",
        ),
        (
            "[target.nginx.t]",
            "[target.nginx.t]\nwindows = [\"Sat 02:00-04:00\"]\nreloads_per_hour = 1",
            "",
        ),
        ("[target.nginx.t]", "[target.nginx.t]\ngroup = 5", "target"),
        (
            "[target.nginx.t]",
            "[target.nginx.t]\nmode = \"0640\"",
            "target",
        ),
    ];
    for (from, to, changed) in cases {
        let text = base.replacen(from, to, 1);
        assert_ne!(text, base, "{from}");
        let after = load(&text);
        let mut found = Vec::new();
        if issuer(&before, "corp").digest != issuer(&after, "corp").digest {
            found.push("issuer");
        }
        if certificate(&before, "x").digest != certificate(&after, "x").digest {
            found.push("certificate");
        }
        if target(&before, "t").digest != target(&after, "t").digest {
            found.push("target");
        }
        assert_eq!(found.join(" "), changed, "{to}");
    }
}

#[test]
fn a_job_says_when_and_where_and_how_often() {
    let policy = load(
        "[job.check]\nschedule = \"30 4 * * MON\"\ntime_zone = \"Europe/Berlin\"\njitter = \"0s\"\nfloor = \"1h\"\n",
    );
    let check = &policy.jobs[&JobName::Check];
    assert_eq!(check.schedule.as_str(), "0 30 4 * * 1");
    assert_eq!(check.zone.iana_name(), Some("Europe/Berlin"));
    assert_eq!((check.jitter, check.floor), (Seconds(0), Seconds::hours(1)));
    assert_eq!(policy.jobs[&JobName::Renew], load("").jobs[&JobName::Renew]);
}

#[test]
fn when_a_service_may_be_disturbed_is_read_for_every_kind_that_has_one() {
    let text = format!(
        "{ISSUER}[certificate.x]\nissuer = \"corp\"\nnames = [\"x.example\"]\n\
         targets = [\"n\", \"c\", \"quiet\", \"f\"]\n\
         [target.nginx.n]\nwindows = [\"Sat 02:00-04:00\", \"Mon-Fri 22:00-01:00\"]\nreloads_per_hour = 3\n\
         [target.command.c]\nreload = [\"/bin/true\"]\nprobe = \"none\"\nexport.pem.a.key = \"key\"\n\
         [target.command.quiet]\nwindows = [\"Sun 00:00-24:00\"]\nprobe = \"none\"\nexport.pem.a.key = \"key\"\n\
         [target.files.f]\nexport.pem.a.key = \"key\"\n"
    );
    let policy = load(&text);
    let pacing = |id| {
        let pacing = &target(&policy, id).pacing;
        let windows = pacing.windows.iter().map(ToString::to_string);
        (windows.collect::<Vec<_>>(), pacing.reloads_per_hour)
    };
    let both = ["Sat 02:00-04:00", "Mon-Fri 22:00-01:00"].map(str::to_owned);
    assert_eq!(pacing("n"), (both.to_vec(), Some(3)));
    assert_eq!(pacing("c"), (Vec::new(), Some(12)));
    assert_eq!(pacing("quiet"), (vec!["Sun 00:00-24:00".to_owned()], None));
    assert_eq!(pacing("f"), (Vec::new(), None), "nobody is disturbed");
}

const ISSUER: &str = "[issuer.pca.corp]\nendpoint = \"https://ccm.example.com\"\nca = \"corp-issuing\"\n\
    access_key = \"file:/ak\"\nsecret_key = \"file:/sk\"\n";

#[test]
fn access_lists_and_readers_are_inherited_and_replaced() {
    let policy = load(
        "[target.files.x]\nacl = [\"group:backup:r--\", \"u:104:r\"]\nreader = \"www\"\n\
         [target.files.x.export.pem.a]\nkey = \"a.key\"\n\
         [target.files.x.export.pem.b]\nkey = \"b.key\"\nacl = []\nreader = 33\n",
    );
    let shown: Vec<(Vec<String>, Option<&str>)> = target(&policy, "x")
        .exports
        .iter()
        .map(|export| {
            let acl = export.attributes.acl.iter().map(ToString::to_string);
            (acl.collect(), export.attributes.reader.as_deref())
        })
        .collect();
    let acl = ["u:104:r", "g:backup:r"].map(str::to_owned).to_vec();
    assert_eq!(shown, [(acl, Some("www")), (Vec::new(), Some("33"))]);
    let plain = load("[target.files.x.export.pem.a]\nkey = \"a.key\"\n");
    let listed = load(
        "[target.files.x]\nacl = [\"u:1:r\"]\n[target.files.x.export.pem.a]\nkey = \"a.key\"\n",
    );
    assert_ne!(target(&plain, "x").digest, target(&listed, "x").digest);
}

#[test]
fn an_access_list_that_cannot_be_meant_is_refused_at_its_entry() {
    for (entry, says) in [
        ("tomcat", "not of the form"),
        ("u:tomcat:rw", "can only read"),
        ("o:tomcat:r", "only users"),
        ("u::r", "neither the name nor the number"),
        ("u:-x:r", "neither the name nor the number"),
        ("user:a:r", "twice"),
    ] {
        let etc = Etc::new();
        let text = format!(
            "[target.files.x]\nacl = [\"u:a:r\", \"{entry}\"]\n[target.files.x.export.pem.a]\nkey = \"a.key\"\n"
        );
        etc.write("renewd.toml", text);
        let shown = etc.shown(&etc.load().unwrap_err());
        for part in [says, "renewd.toml:2:17", "acl = [\"u:tomcat:r\""] {
            assert!(shown.contains(part), "{entry}, {part}: {shown}");
        }
    }
}

#[test]
fn where_else_names_are_looked_at_is_no_reason_for_a_rollout() {
    let base = r#"
[issuer.pca.corp]
endpoint = "https://ccm.example.com"
ca = "x"
access_key = "env:AK"
secret_key = "env:SK"

[certificate.x]
issuer = "corp"
names = ["x.example.com"]
targets = ["t"]

[target.nginx.t]
connect = "127.0.0.1:8443"
"#;
    let before = load(base);
    assert_eq!(target(&before, "t").observe, []);
    let line = r#"observe = ["names", "LB.example.com", "[::1]:444", "lb.example.com:8443"]"#;
    let after = load(&format!("{base}{line}\n"));
    let at = |place: &str| Observe::At(place.to_owned());
    assert_eq!(
        target(&after, "t").observe,
        [Observe::Names, at("lb.example.com:8443"), at("[::1]:444")]
    );
    assert_eq!(target(&before, "t").digest, target(&after, "t").digest);
}

#[test]
fn one_listener_or_several_are_asked_and_a_second_changes_the_digest() {
    let policy = |connect: &str| {
        load(&format!(
            r#"
[issuer.pca.corp]
endpoint = "https://ccm.example.com"
ca = "x"
access_key = "env:AK"
secret_key = "env:SK"

[certificate.x]
issuer = "corp"
names = ["x.example.com"]
targets = ["t"]

[target.nginx.t]
connect = {connect}
"#
        ))
    };
    let listeners = |policy: &Policy| match &target(policy, "t").probe {
        Probe::Tls { connect, .. } => connect.iter().map(str::to_owned).collect::<Vec<_>>(),
        Probe::None => Vec::new(),
    };
    let one = policy("\"127.0.0.1:8443\"");
    let same = policy("[\"127.0.0.1:8443\"]");
    let two = policy("[\"127.0.0.1:8443\", \"[::1]:8443\", \"127.0.0.1:8443\"]");
    assert_eq!(listeners(&one), ["127.0.0.1:8443"]);
    assert_eq!(listeners(&same), listeners(&one));
    assert_eq!(listeners(&two), ["127.0.0.1:8443", "[::1]:8443"]);
    let digest = |policy: &Policy| target(policy, "t").digest;
    assert_eq!(digest(&one), digest(&same));
    assert_ne!(digest(&one), digest(&two));
}
