//! The control socket.

use crate::config::fields::Fields;
use crate::config::lift::{Lift, value};
use crate::config::raw;
use crate::config::scalar::PathRule;
use crate::model::{Acting, Control};

impl Lift<'_> {
    /// As written, with the defaults of this state directory.
    pub(super) fn control(&mut self, top: &Fields<'_>) -> Control {
        let mut control = Control::of(&self.state_dir);
        let Some(fields) = top.table("control", &raw::CONTROL) else {
            return control;
        };
        if let Some((socket, _)) = self.path(&fields, "socket", PathRule::Absolute) {
            control.socket = socket;
        }
        if let Some(group) = value::account(self, &fields, "group") {
            control.group = group;
        }
        if let Some(("root", _)) = fields.text("act") {
            control.act = Acting::Root;
        }
        control
    }
}
