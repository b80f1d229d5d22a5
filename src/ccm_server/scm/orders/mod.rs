//! Orders of SSL certificates (CCM API 4.1.1, 4.1.3 and 7.1): bought, applied for, validated, reviewed, issued, renewed,
//! revoked.
//!
//! ```text
//!   PAID ──apply──▶ CHECKING (OV, EV) ─▶ CHECKING_DOMAIN ─▶ CHECKING_ORG (OV, EV) │ ISSUING (DV) ─▶ ISSUED ─▶ EXPIRED
//!    ▲ ▲                 │                     │                      │                              │  │
//!    │ └─────cancel──────┴─────────────────────┴──────────────────────┤        SUPPLEMENTCHECKING ◀──┘  ▼
//!    └ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ apply again ─ ─ ─ ─ ─ ─ ─ UNPASSED ◀───┘             (and back)        REVOKING ─▶ REVOKE
//! ```
//!
//! - `form` is what an applicant says and what of it is accepted; `order` is an order as the state keeps it;
//!   `details` is what of it is shown with its certificate.
//! - `life` looks at what is due, by the server's clock; `stage` takes one step; `validation` asks DNS and web servers;
//!   `reuse` says which proofs still hold;
//!   `zones` are those where the server writes the records itself.
//! - `ca` is the public-style CA behind SCM, apart from those of PCA; `issue` makes its certificates.

mod apply;
mod buy;
mod ca;
mod details;
mod dns;
mod fields;
mod form;
mod issue;
mod late;
mod life;
mod order;
mod papers;
mod renewal;
mod reuse;
mod review;
mod revoke;
mod stage;
mod supplement;
mod validation;
mod web;
mod zones;

use crate::ccm_server::operation::{Access, Operation, Payload, Service, Verb};

pub(in crate::ccm_server) use apply::{cancel, read, save, submit};
pub(in crate::ccm_server) use buy::{free_left, purchase};
pub(in crate::ccm_server) use ca::root;
pub(in crate::ccm_server) use details::{add_succession, shown, shown_in_version_2};
pub(in crate::ccm_server) use fields::{BAD_COUNT, BRANDS, DOMAIN_TYPES, METHODS, TYPES};
pub use life::ScmOptions;
pub(in crate::ccm_server) use life::{Life, keep, look, set_review};
pub(in crate::ccm_server) use order::{listed, verification};
pub(in crate::ccm_server) use papers::{LARGEST as LARGEST_PAPER, upload};
pub use reuse::{ProofReuse, ProofReuseError};
pub(in crate::ccm_server) use review::LONGEST;
pub use review::{Class, Outcome, Review, ReviewError};
pub(in crate::ccm_server) use revoke::{forget, revoke};
pub(in crate::ccm_server) use stage::{approve, reject};
pub(in crate::ccm_server) use supplement::supplement;
pub(in crate::ccm_server) use zones::{add_zone, remove_zone, zones};

/// The operations of 4.1.1 and 4.1.3. Chapter 6 names no actions for them.
pub(in crate::ccm_server) static ORDER_OPERATIONS: &[Operation] = &[
    Operation {
        chapter: "4.1.1.1",
        service: Service::Scm,
        verb: Verb::Post,
        path: "/v3/scm/certificates/{certificate_id}/apply",
        access: Access::Action("scm:cert:apply"),
        path_fields: fields::ID,
        query: &[],
        body: Payload::Json(fields::APPLY),
        run: |call| Box::pin(submit(call, call.path.text("certificate_id"))),
    },
    Operation {
        chapter: "4.1.1.2",
        service: Service::Scm,
        verb: Verb::Post,
        path: "/v3/scm/certificates/{certificate_id}/cancel-cert",
        access: Access::Action("scm:cert:cancel"),
        path_fields: fields::ID,
        query: &[],
        body: Payload::None,
        run: |call| Box::pin(cancel(call, call.path.text("certificate_id"))),
    },
    Operation {
        chapter: "4.1.3.1",
        service: Service::Scm,
        verb: Verb::Post,
        path: "/v3/scm/certificates/buy",
        access: Access::Action("scm:cert:purchase"),
        path_fields: &[],
        query: &[],
        body: Payload::Json(fields::BUY),
        run: |call| Box::pin(purchase(call)),
    },
];
