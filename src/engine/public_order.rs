//! The effects of the steps that only an order of a public certificate has: entitlements, purchases, domain proofs.

use crate::engine::Engine;
use crate::engine::order_effect::{Failure, Outcome};
use crate::model::{ErrorClass, Order, Snapshot, Timestamp};

impl Engine {
    pub(super) async fn look(
        &self,
        _order: &Order,
        _snapshot: &Snapshot,
        _now: Timestamp,
    ) -> Result<Outcome, Failure> {
        Err(unbuilt())
    }

    pub(super) async fn confirm(
        &self,
        _order: &Order,
        _now: Timestamp,
    ) -> Result<Outcome, Failure> {
        Err(unbuilt())
    }

    pub(super) async fn buy(&self, _order: &Order, _now: Timestamp) -> Result<Outcome, Failure> {
        Err(unbuilt())
    }

    pub(super) async fn trace(
        &self,
        _order: &Order,
        _snapshot: &Snapshot,
        _now: Timestamp,
    ) -> Result<Outcome, Failure> {
        Err(unbuilt())
    }

    pub(super) async fn publish(
        &self,
        _order: &Order,
        _now: Timestamp,
    ) -> Result<Outcome, Failure> {
        Err(unbuilt())
    }

    pub(super) async fn examine(
        &self,
        _order: &Order,
        _now: Timestamp,
    ) -> Result<Outcome, Failure> {
        Err(unbuilt())
    }

    pub(super) async fn retract(&self, _order: &Order) -> Result<Outcome, Failure> {
        Err(unbuilt())
    }

    pub(super) async fn withdraw(&self, _order: &Order) -> Result<Outcome, Failure> {
        Err(unbuilt())
    }
}

fn unbuilt() -> Failure {
    Failure::local(
        ErrorClass::Configuration,
        "orders of public certificates are not carried out yet".to_owned(),
    )
}
