//! Commands of the administrator's own around a rollout.

use crate::config::code::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::fields::Fields;
use crate::config::lift::Lift;
use crate::config::lift::value::{Reported, account};
use crate::config::raw;
use crate::config::scalar::PathRule;
use crate::model::{Hooks, Seconds};

impl Lift<'_> {
    /// The hooks of a target; none where none are written.
    pub(super) fn hooks(&mut self, target: &Fields<'_>) -> Result<Hooks, Reported> {
        let Some(fields) = target.table("hooks", &raw::HOOKS) else {
            return if target.has("hooks") {
                Err(Reported)
            } else {
                Ok(Hooks::default())
            };
        };
        let default = Hooks::default();
        let pre = self.command(&fields, "pre");
        let post = self.command(&fields, "post");
        let on_failure = self.command(&fields, "on_failure");
        let timeout = self.duration(&fields, "timeout", default.timeout, LIMITS);
        let user = account(self, &fields, "user");
        let directory = self.path(&fields, "directory", PathRule::Absolute);
        let refused = |key, taken: bool| fields.has(key) && !taken;
        if refused("user", user.is_some()) || refused("directory", directory.is_some()) {
            return Err(Reported);
        }
        let hooks = Hooks {
            pre: pre?,
            post: post?,
            on_failure: on_failure?,
            timeout: timeout.ok_or(Reported)?,
            user,
            directory: directory.map(|(path, _)| path),
        };
        if hooks.steps().is_empty() && !fields.is_partial() {
            let message = "`hooks` has no effect";
            let label = "names no command";
            let problem = Diagnostic::warning(Code::NoEffect, fields.header, message, label);
            self.problems
                .push(problem.help("write `pre`, `post` or `on_failure`, or leave the table out"));
        }
        Ok(hooks)
    }
}

/// As for the other commands of a target.
const LIMITS: (Seconds, Seconds) = (Seconds(1), Seconds::hours(1));
