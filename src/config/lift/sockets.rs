//! How HAProxy and Tomcat are told: by their own interfaces.

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::lift::told::Told;
use crate::config::lift::value::Reported;
use crate::config::scalar::PathRule;
use crate::model::{Reload, TargetKind};

impl Lift<'_> {
    /// The configuration file in the test, and the master's socket instead of a reload command.
    pub(super) fn haproxy(&mut self, fields: &Fields<'_>, told: &mut Told) -> Result<(), Reported> {
        let config = self.written_path(fields, "config")?;
        let master = self.written_path(fields, "master_socket")?;
        if let (Some(entry), Some(_)) = (fields.entry("config"), &told.test) {
            let message = "`config` has no effect";
            let label = "the test is written out";
            let problem = Diagnostic::warning(Code::NoEffect, entry.key, message, label);
            self.problems
                .push(problem.help("leave `config` or `test` out"));
        } else if let Some(config) = config
            && let Some((_, words)) = TargetKind::Haproxy
                .recipe(self.family)
                .test
                .and_then(<[_]>::split_last)
        {
            let mut test: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            test.push(config);
            told.test = Some(test);
        }
        if let Some(socket) = master {
            if let (Some(first), Some(second)) =
                (fields.entry("master_socket"), fields.entry("reload"))
            {
                let message = "`master_socket` and `reload` both tell the service";
                let problem = Diagnostic::error(Code::Command, first.key, message, "a socket")
                    .also(second.key, "a command");
                self.problems.push(problem.help("leave one of them out"));
                return Err(Reported);
            }
            told.reload = Some(Reload::HaproxyMaster(socket.into()));
        }
        Ok(())
    }

    /// The runtime API before the reload, unless it is switched off.
    pub(super) fn runtime_api(
        &mut self,
        fields: &Fields<'_>,
        told: &mut Told,
    ) -> Result<(), Reported> {
        let written = self.written_path(fields, "admin_socket")?;
        match fields.flag("runtime") {
            Some(true) => {}
            Some(false) => {
                if let Some(entry) = fields.entry("admin_socket") {
                    let message = "`admin_socket` has no effect";
                    let label = "the runtime API is switched off";
                    self.problems.push(Diagnostic::warning(
                        Code::NoEffect,
                        entry.key,
                        message,
                        label,
                    ));
                }
                return Ok(());
            }
            None if fields.has("runtime") => return Err(Reported),
            None => {}
        }
        let usual = TargetKind::Haproxy
            .recipe(self.family)
            .admin_socket
            .map(str::to_owned);
        if let (Some(socket), Some(reload)) = (written.or(usual), told.reload.take()) {
            told.reload = Some(Reload::Haproxy {
                admin_socket: socket.into(),
                otherwise: Box::new(reload),
            });
        }
        Ok(())
    }

    /// The manager, unless there is a command; something there must be.
    pub(super) fn tomcat(&mut self, fields: &Fields<'_>, told: &mut Told) -> Result<(), Reported> {
        let user = self.line(fields, "user", 256);
        let password = self.secret(fields, "password")?;
        let address = self.manager(fields)?;
        let path = self.manager_path(fields)?;
        if fields.has("user") && user.is_none() {
            return Err(Reported);
        }
        let credentials = match (user, password) {
            (Some((user, _)), Some(password)) if !user.contains(':') => Some((user, password)),
            (None, None) => None,
            _ => {
                let message = "the credentials of Tomcat's manager are not complete";
                let problem = Diagnostic::error(Code::Credentials, fields.header, message, "");
                self.problems.push(problem.help(
                    "write `user`, without a colon in it, and `password`, a reference to a secret",
                ));
                return Err(Reported);
            }
        };
        match (credentials, &told.reload) {
            (Some((user, password)), None) => {
                told.reload = Some(Reload::Tomcat {
                    manager: address,
                    path,
                    user,
                    password,
                });
            }
            (Some(_), Some(_)) => {
                let message = "`user` and `reload` both tell the service";
                let problem = Diagnostic::error(Code::Command, fields.header, message, "");
                self.problems
                    .push(problem.help("leave out `reload`, or `user` and `password`"));
                return Err(Reported);
            }
            (None, Some(_)) => {}
            (None, None) if told.restart.is_none() && !fields.is_partial() => {
                let message = "nothing says how Tomcat is told of a new certificate";
                let problem = Diagnostic::error(Code::Command, fields.header, message, "");
                self.problems.push(problem.help(
                    "write `user` and `password` of a user of Tomcat's manager with the role manager-script; or `reload`, or `restart`",
                ));
                return Err(Reported);
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// `host:port` of a plain HTTP connector on this host.
    fn manager(&mut self, fields: &Fields<'_>) -> Result<String, Reported> {
        let usual = TargetKind::Tomcat
            .recipe(self.family)
            .manager
            .unwrap_or_default()
            .0;
        let url = if fields.has("manager") {
            self.endpoint(fields, "manager").ok_or(Reported)?
        } else {
            usual.to_owned()
        };
        let Some(address) = url.strip_prefix("http://") else {
            let place = fields
                .text("manager")
                .map_or(fields.header, |(_, place)| place);
            let message = "`manager` is not asked by https";
            let label = "its certificate may be the one that is being replaced";
            let problem = Diagnostic::error(Code::Endpoint, place, message, label);
            self.problems.push(problem.help(format!(
                "write a plain HTTP connector of this host, such as `{usual}`; or use `reload`"
            )));
            return Err(Reported);
        };
        let has_port = address
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(if has_port {
            address.to_owned()
        } else {
            format!("{address}:80")
        })
    }

    fn manager_path(&mut self, fields: &Fields<'_>) -> Result<String, Reported> {
        if !fields.has("manager_path") {
            let usual = TargetKind::Tomcat
                .recipe(self.family)
                .manager
                .unwrap_or_default()
                .1;
            return Ok(usual.to_owned());
        }
        let (path, place) = self.line(fields, "manager_path", 256).ok_or(Reported)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-~".contains(c);
        if path.starts_with('/') && path.chars().all(plain) {
            return Ok(path.trim_end_matches('/').to_owned());
        }
        let message = "`manager_path` is no plain path of a URL";
        let problem = Diagnostic::error(Code::Endpoint, place, message, "");
        self.problems
            .push(problem.help("write for example `/manager/text`"));
        Err(Reported)
    }

    fn written_path(&mut self, fields: &Fields<'_>, key: &str) -> Result<Option<String>, Reported> {
        match self.path(fields, key, PathRule::Absolute) {
            Some((path, _)) => Ok(Some(path.display().to_string())),
            None if fields.has(key) => Err(Reported),
            None => Ok(None),
        }
    }
}
