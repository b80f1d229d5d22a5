//! The nouns of renewd: plain values without I/O, clock or file format.
//!
//! Everything that decides (`plan`) speaks these types only, so a decision can be tested, printed and repeated.
//! What is *not* here: how a value is read from TOML (`config`), kept in the journal (`store`) or sent (`ccm`).

mod alert;
mod begun;
mod blocked;
mod certificate;
mod channel;
mod clock;
mod control;
mod drift;
mod export;
mod hooks;
mod ids;
mod issuer;
mod job;
mod letter;
mod messages;
mod metrics;
mod name;
mod observed;
mod order;
mod outage;
mod pacing;
mod policy;
mod public;
mod push;
mod reason;
mod recipe;
mod revocation;
mod rollout;
mod shortage;
mod snapshot;
mod standing;
mod time;
mod validation;
mod watch;

pub use alert::{Alert, AlertKey, Severity};
pub use blocked::Blocked;
pub use certificate::{
    CertificateFacts, EarlierRevision, Fingerprint, KeyAlgorithm, KnownRevision, RevisionFacts,
};
pub use channel::{
    Alerting, Channel, EmailPolicy, Quiet, Relay, Security, SmtpPolicy, UrlSource, Way,
    WebhookPolicy,
};
pub use clock::{ClockFacts, Doubt, Fresh, Heard};
pub use control::{Acting, Control, DEFAULT_SOCKET, DEFAULT_STATE_DIR};
pub use drift::{Difference, Drift, DriftKind, Wire};
pub use export::{
    AclReader, ExportKind, ExportLayout, ExportSpec, FileAttributes, PasswordSource, PemFiles,
    PfxProfile, TrustFormat,
};
pub use hooks::{Hook, HookSteps, Hooks};
pub use ids::{
    CertificateId, ChannelId, IdError, IssuerId, OrderId, PushId, RevisionId, RolloutId, TargetId,
    ValidationId, WatchId,
};
pub use issuer::{
    Applicant, IssuerKind, IssuerPace, IssuerPolicy, PcaPolicy, PurchasePolicy, RemoteAccess,
    RemoteAuth, ScmPolicy, Superseded,
};
pub use job::{HostSeed, JobName, JobPolicy, JobResult, JobRun, UnknownJob};
pub use letter::{
    ChannelState, Concerned, Delivery, Digest, Held, LONGEST_QUEUE, Letter, Message, Occasion,
    Pace, Post, Section, Slip,
};
pub use messages::{About, Kind, Milestone, message_id};
pub use metrics::{Listen, Metrics};
pub use name::{Name, NameError, SubjectAltNames};
pub use observed::{Observe, Observed, Sight, SightKind};
pub use order::{
    Order, OrderClosing, OrderEvent, OrderPhase, OrderRequest, OrderStep, Review, Source, Subject,
    Want,
};
pub use outage::Outage;
pub use pacing::{MaintenanceWindow, Pacing};
pub use policy::{
    CertificatePolicy, DriftMode, KeyReuse, KeySource, Listeners, OrderMode, Policy, Prelude,
    Probe, ProxyProtocol, Reload, RenewRule, Roots, SecretRef, Signal, StartTls, TargetKind,
    TargetPolicy,
};
pub use public::{
    Assurance, Budget, Buying, Claim, DomainType, Entitlement, Identity, NameKinds, Product,
    PublicRequest, Purchase, Spent, Stale, Supplement, Unseen, Unsupplemented, brings_successor,
};
pub use push::{CloudService, Imported, PushPolicy, PushState, Pushed, ResourceState, WafResource};
pub use reason::{ErrorClass, Reason, Waiting};
pub use recipe::{Family, Recipe, RecipeExport};
pub use revocation::{RevocationReason, UnknownReason};
pub use rollout::{
    Cause, Look, ProbeFault, ProbeReport, Rollout, RolloutClosing, RolloutEvent, RolloutPhase,
    RolloutStep, UndoPhase,
};
pub use shortage::{Scarce, Shortage};
pub use snapshot::{
    CertificateState, CompromisedKey, FailedRollout, Failures, FulfilledOrder, LeftBehind, Offer,
    Relied, RevokedBy, Revoking, SetAside, Snapshot, Split, Started, StepFailure, TargetState,
    Unused,
};
pub use standing::{RemoteTrouble, Standing};
pub use time::{Seconds, TimeError, Timestamp};
pub use validation::{
    DomainMethod, DomainProof, ProofPorts, ProofStage, ProofState, TsigAlgorithm, ValidationKind,
    ValidationPolicy,
};
pub use watch::{
    AccountLook, Listed, ListedStanding, WatchFault, WatchFaultKind, WatchPolicy, WatchState,
    WatchTrouble, WatchTroubleKind, Watched, WatchedCertificate, WatchedPlace,
};
