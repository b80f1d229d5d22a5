//! `renewd target list` and `renewd target test`, with a real nginx.

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::ccm::Ccm;
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_listed_with_resolved_values_and_present_state() {
    let mut world = World::new(Ccm::start().await).await;
    let list = |world: &World| {
        let list = world.agent.run(&["target", "list", "--json"]).expect(0);
        list.json()[0].clone()
    };
    let web = list(&world);
    assert_eq!(
        (
            &web["name"],
            &web["kind"],
            &web["state"],
            &web["certificates"]
        ),
        (
            &json!("web"),
            &json!("nginx"),
            &json!("empty"),
            &json!(["www"])
        )
    );
    assert_eq!(web["test"], json!(world.nginx.test()));
    assert_eq!(web["probe"]["connect"], json!([world.nginx.address()]));
    assert_eq!(web["probe"]["wildcard_label"], "renewd-probe");
    let live = world.agent.live("web").join("{certificate}/server.crt");
    let files: Vec<&str> = web["exports"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|export| export["files"].as_array().unwrap())
        .map(|file| file.as_str().unwrap())
        .collect();
    assert!(files.contains(&live.to_str().unwrap()), "{files:?}");
    // Nobody runs: the first set waits for its service, and that is shown.
    world.agent.run(&["once", "--wait", "0s"]).expect(75);
    let web = list(&world);
    assert_eq!(web["state"], "pending", "{web}");
    assert!(
        web["detail"].as_str().unwrap().contains("nobody listens"),
        "{web}"
    );
    let text = world.agent.run(&["target", "list"]).expect(0).stdout;
    assert!(text.contains("web (nginx): pending"), "{text}");
    world.nginx.start();
    world.agent.run(&["renew", "www"]).expect(0);
    let web = list(&world);
    assert_eq!(web["state"], "live", "{web}");
    assert!(
        web["proven_at"].is_string() && web["live"]["www"].is_string(),
        "{web}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_tested_without_changing_anything() {
    let mut world = World::live(Ccm::start().await).await;
    let serial = world.served();
    let test = |world: &World, code| {
        world
            .agent
            .run(&["target", "test", "web"])
            .expect(code)
            .stdout
    };
    let said = test(&world, 0);
    assert_eq!(said.matches("ok ").count(), 4, "{said}");
    world.nginx.break_configuration();
    let said = test(&world, 78);
    assert!(
        said.contains("fail  test") && said.contains("brokn"),
        "{said}"
    );
    assert_eq!(said.matches("ok ").count(), 3, "{said}");
    world.nginx.mend();
    world.nginx.stop();
    let said = test(&world, 75);
    assert!(said.contains("fail  probe"), "{said}");
    world.nginx.start();
    assert_eq!(world.served(), serial);
    let unknown = world.agent.run(&["target", "test", "wbe"]).expect(64);
    assert!(
        unknown.stderr.contains("`renewd target list`"),
        "{}",
        unknown.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_listener_awaits_before_tls_and_what_is_observed_is_listed() {
    let world = World::new(Ccm::start().await).await;
    let connect = format!("connect = \"{}\"", world.nginx.address());
    let more = "starttls = \"smtp\"\nproxy_protocol = \"v2\"\nwildcard_label = \"any\"\nobserve = [\"names\", \"lb.example.test:8443\"]";
    let policy = world.policy();
    let changed = policy.replace(&connect, &format!("{connect}\n{more}"));
    assert_ne!(changed, policy);
    world.agent.write_policy(&changed);
    let list = world.agent.run(&["target", "list", "--json"]).expect(0);
    let web = list.json()[0].clone();
    let probe = &web["probe"];
    assert_eq!(
        (
            &probe["starttls"],
            &probe["proxy_protocol"],
            &probe["wildcard_label"],
            &probe["deadline"]
        ),
        (&json!("smtp"), &json!("v2"), &json!("any"), &json!("3s"))
    );
    assert_eq!(web["observe"], json!(["names", "lb.example.test:8443"]));
    assert_eq!(web["observed"], serde_json::Value::Null);
    let text = world.agent.run(&["target", "list"]).expect(0).stdout;
    for line in [
        "within 3s, PROXY v2, STARTTLS smtp\n",
        "observe       names lb.example.test:8443\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    // Without a probe they have no effect, which is told.
    let none = changed.replace(&connect, "probe = \"none\"");
    world.agent.write_policy(&none);
    let run = world.agent.run(&["validate"]).expect(0);
    for key in ["starttls", "proxy_protocol", "wildcard_label", "observe"] {
        let told = format!("`{key}` has no effect");
        assert!(run.stderr.contains(&told), "{told}\n{}", run.stderr);
    }
}

/// What a recipe knows is read off this list by who writes a policy: it has to say it as it is on hosts of that family.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_recipes_know_of_each_family_is_listed() {
    let agent = Agent::new("");
    let list = |family: &str| {
        agent.write_policy(&format!(
            "family = \"{family}\"\n\
             [target.nginx.n]\n[target.apache.a]\n[target.haproxy.h]\n\
             [target.tomcat.t]\nuser = \"deployer\"\npassword = \"env:NOT_READ\"\n"
        ));
        agent.run(&["target", "list"]).expect(0).stdout
    };
    let of_all = [
        "a (apache): empty",
        "test          /usr/sbin/apachectl configtest\n",
        "test          /usr/sbin/nginx -t\n",
        "reload        /usr/sbin/nginx -s reload\n",
        "test          /usr/sbin/haproxy -c -f /etc/haproxy/haproxy.cfg\n",
        "reload        http://127.0.0.1:8080/manager/text/sslReload\n",
        "probe         tls 127.0.0.1:443 within 30s\n",
        "probe         tls 127.0.0.1:8443 within 30s\n",
        "state/targets/n/live/{certificate}/server.crt\n",
        "state/targets/a/live/{certificate}/chain.crt\n",
        "state/targets/h/live/{certificate}/haproxy.pem\n",
        "state/targets/t/live/{certificate}/server.jks\n",
    ];
    let debian = [
        "reload        /usr/bin/systemctl reload apache2\n",
        "pid_file      /run/apache2/apache2.pid\n",
        "runtime API at /run/haproxy/admin.sock, else /usr/bin/systemctl reload haproxy\n",
    ];
    let rhel = [
        "reload        /usr/bin/systemctl reload httpd\n",
        "pid_file      /run/httpd/httpd.pid\n",
        "runtime API at /var/lib/haproxy/stats, else /usr/bin/systemctl reload haproxy\n",
    ];
    for (family, its, others) in [("debian", debian, rhel), ("rhel", rhel, debian)] {
        let text = list(family);
        for line in of_all.iter().chain(&its) {
            assert!(text.contains(line), "{family}: {line}\n{text}");
        }
        for line in others {
            assert!(!text.contains(line), "{family}: {line}\n{text}");
        }
    }
}
