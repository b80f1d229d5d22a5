//! Real mail servers: Postfix, also behind a load balancer and with a greeting that is late on purpose, and Dovecot.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::service::{Service, ports, served};
use crate::support::agent::Agent;
use crate::support::server::Server;
use crate::support::world::NAME;

/// Installed by scripts/install-tools.sh, like Dovecot; a missing one fails the test.
const POSTFIX: &str = "/usr/sbin/postfix";

/// Ports of one Postfix.
struct Postfix {
    server: Server,
    /// Greets at once.
    plain: u16,
    /// Greets after six seconds, as postscreen does by default.
    late: u16,
    /// Awaits a PROXY header first.
    proxied: u16,
    /// Of the commands that tell it.
    configuration: String,
}

impl Postfix {
    fn prepare(service: &Service) -> Self {
        let [plain, late, proxied] = ports();
        let [etc, queue, data, tls] =
            ["etc", "queue", "data", "tls"].map(|name| service.directory(name));
        // It insists on owning its data, and on nothing else.
        let chown = std::process::Command::new("/bin/chown")
            .args(["postfix", &data])
            .status();
        assert!(chown.unwrap().success(), "there is no user postfix");
        let main = format!(
            "compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
myhostname = mx.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
maillog_file = /dev/stdout
smtpd_tls_cert_file = {tls}/mail/fullchain.pem
smtpd_tls_key_file = {tls}/mail/key.pem
smtpd_tls_security_level = may
postscreen_access_list =
postscreen_cache_map =
"
        );
        let master = format!(
            "127.0.0.1:{plain} inet n - n - - smtpd
127.0.0.1:{late} inet n - n - 1 postscreen
127.0.0.1:{proxied} inet n - n - - smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
smtpd pass - - n - - smtpd
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
dnsblog unix - - n - 0 dnsblog
tlsproxy unix - - n - 0 tlsproxy
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"
        );
        fs::write(format!("{etc}/main.cf"), main).unwrap();
        fs::write(format!("{etc}/master.cf"), master).unwrap();
        let log = service.agent.path().join("postfix.log");
        Self {
            server: Server::new(&[POSTFIX, "-c", &etc, "start-fg"], &[], &log),
            plain,
            late,
            proxied,
            configuration: etc,
        }
    }

    /// The lines of a target that is proven at this port.
    fn target(&self, port: u16, more: &str) -> String {
        let argv = |what| format!("{:?}", [POSTFIX, "-c", &self.configuration, what]);
        format!(
            "test = {}\nreload = {}\nconnect = \"127.0.0.1:{port}\"\n{more}\n",
            argv("check"),
            argv("reload")
        )
    }
}

/// Its master leaves the process group that it is started in, so it is ended by its own number.
impl Drop for Postfix {
    fn drop(&mut self) {
        let queue = Path::new(&self.configuration).with_file_name("queue");
        let number = fs::read_to_string(queue.join("pid/master.pid")).unwrap_or_default();
        if let Ok(number) = number.trim().parse() {
            let master = nix::unistd::Pid::from_raw(number);
            let _ = nix::sys::signal::kill(master, nix::sys::signal::Signal::SIGTERM);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postfix_is_proven_behind_starttls_and_behind_a_proxy_header() {
    let service = Service::new().await;
    let mut postfix = Postfix::prepare(&service);
    let use_target = |port, more: &str| {
        let target = postfix.target(port, more);
        service.write_policy(&[("mail", &target)]);
    };
    use_target(postfix.plain, "starttls = \"smtp\"");
    service.begin(&mut postfix.server, &[postfix.plain]);
    let first = service.serial();
    assert_eq!(served(postfix.plain, "smtp"), first);
    let second = service.renew();
    assert_ne!(first, second);
    assert_eq!(served(postfix.plain, "smtp"), second);
    let said = service.test("mail");
    assert_eq!(said.matches("ok ").count(), 4, "{said}");

    let use_target = |port, more: &str| {
        let target = postfix.target(port, more);
        service.write_policy(&[("mail", &target)]);
    };
    for version in ["v1", "v2"] {
        let more = format!("starttls = \"smtp\"\nproxy_protocol = \"{version}\"");
        use_target(postfix.proxied, &more);
        // Another listener of the policy is proven anew.
        service.agent.run(&["once"]).expect(0);
        let serial = service.renew();
        assert_eq!(served(postfix.plain, "smtp"), serial);
    }

    for (port, more, says) in [
        (
            postfix.plain,
            "starttls = \"imap\"",
            "* OK expected, got \"220 mx.test ESMTP Postfix\"; check `starttls`",
        ),
        (
            postfix.plain,
            "starttls = \"postgres\"",
            "S expected, got \"2\"; check `starttls`",
        ),
        (postfix.plain, "", "set `starttls` or `proxy_protocol`"),
        (
            postfix.proxied,
            "starttls = \"smtp\"",
            "check `starttls` and `proxy_protocol`",
        ),
    ] {
        use_target(port, more);
        service.refuses("mail", says);
    }
    // One that only watches it sees the same by the same way.
    let watcher = Agent::new("");
    let look = |starttls: &str| {
        watcher.write_policy(&format!(
            "[watch.mx]\nhost = \"127.0.0.1:{}\"\nnames = [\"{NAME}\"]\nstarttls = \"{starttls}\"\n",
            postfix.plain
        ));
        watcher.run(&["jobs", "run", "watch"]).expect(0);
        let status = watcher.run(&["status", "--json"]).expect(0).json();
        status["watched"][0].clone()
    };
    let seen = look("smtp");
    assert_eq!(seen["serial"], served(postfix.plain, "smtp"), "{seen:#}");
    assert_eq!(
        (&seen["verdict"], &seen["names"]),
        (&json!("good"), &json!(NAME))
    );
    let seen = look("imap");
    let said = seen["message"].as_str().unwrap();
    assert!(
        said.contains("* OK expected, got \"220 mx.test"),
        "{seen:#}"
    );
    // With a wrong policy nothing can be proven, so the old certificate stays.
    use_target(postfix.plain, "starttls = \"imap\"\ndeadline = \"2s\"");
    let before = served(postfix.plain, "smtp");
    let run = service.agent.run(&["renew", "www"]);
    assert_ne!(run.code, Some(0));
    assert!(run.stderr.contains("* OK expected, got"), "{}", run.stderr);
    assert!(
        run.stderr.contains("the probe cannot see it either"),
        "{}",
        run.stderr
    );
    assert_eq!(served(postfix.plain, "smtp"), before);
    // It is the probe's fault and nobody is in the way: with a right one it goes on by itself.
    use_target(postfix.plain, "starttls = \"smtp\"");
    service.agent.run(&["once"]).expect(0);
    assert_ne!(served(postfix.plain, "smtp"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greeting_that_is_late_on_purpose_is_waited_for() {
    let service = Service::new().await;
    let mut postfix = Postfix::prepare(&service);
    let target = postfix.target(postfix.late, "starttls = \"smtp\"\ndeadline = \"60s\"");
    service.write_policy(&[("mail", &target)]);
    service.begin(&mut postfix.server, &[postfix.plain]);
    let serial = service.renew();
    assert_eq!(served(postfix.plain, "smtp"), serial);
    let history = service.agent.run(&["history", "www", "--json"]).expect(0);
    let history = history.json();
    let events = history[0]["events"].as_array().unwrap();
    let verified = events
        .iter()
        .rfind(|event| event["step"] == "verify" && event["kind"] == "succeeded");
    let took = &verified.unwrap()["probes"][0]["milliseconds"];
    assert!(took.as_u64().unwrap() >= 5_000, "not late: {took}");
    let said = service.test("mail");
    assert_eq!(said.matches("ok ").count(), 4, "{said}");

    // Too little time: told as what it is.
    let target = postfix.target(postfix.late, "starttls = \"smtp\"\ndeadline = \"2s\"");
    service.write_policy(&[("mail", &target)]);
    service.refuses("mail", "give a server that greets late a `deadline`");
}

#[tokio::test(flavor = "multi_thread")]
async fn dovecot_is_proven_by_imap_and_by_pop3() {
    let service = Service::new().await;
    let [imap, pop3] = ports();
    let [run, state, tls] = ["run", "state-of-dovecot", "tls"].map(|name| service.directory(name));
    let configuration = service.agent.path().join("dovecot.conf");
    let text = format!(
        "base_dir = {run}
state_dir = {state}
log_path = /dev/stderr
protocols = imap pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <{tls}/imap/fullchain.pem
ssl_key = <{tls}/imap/key.pem
protocol pop3 {{
  ssl_cert = <{tls}/pop3/fullchain.pem
  ssl_key = <{tls}/pop3/key.pem
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={run}
}}
"
    );
    fs::write(&configuration, text).unwrap();
    let configuration = configuration.display().to_string();
    let log = service.agent.path().join("dovecot.log");
    let argv = ["/usr/sbin/dovecot", "-F", "-c", &configuration];
    let mut server = Server::new(&argv, &[], &log);
    let target = |port: u16, starttls: &str| {
        let test = ["/usr/bin/doveconf", "-n", "-c", &configuration];
        let reload = ["/usr/bin/doveadm", "-c", &configuration, "reload"];
        format!(
            "test = {test:?}\nreload = {reload:?}\nconnect = \"127.0.0.1:{port}\"\nstarttls = \"{starttls}\"\n"
        )
    };
    let good = [target(imap, "imap"), target(pop3, "pop3")];
    service.write_policy(&[("imap", &good[0]), ("pop3", &good[1])]);
    service.begin(&mut server, &[imap, pop3]);
    for _ in 0..2 {
        let serial = service.renew();
        assert_eq!(served(imap, "imap"), serial);
        assert_eq!(served(pop3, "pop3"), serial);
    }
    for name in ["imap", "pop3"] {
        let said = service.test(name);
        assert_eq!(said.matches("ok ").count(), 4, "{said}");
    }
    let swapped = [target(imap, "pop3"), target(pop3, "smtp")];
    service.write_policy(&[("imap", &swapped[0]), ("pop3", &swapped[1])]);
    service.refuses("imap", "+OK expected, got \"* OK");
    service.refuses("pop3", "220 expected, got \"+OK");
}
