//! Orders and applications in version 2 (CCM API 7.1.1, 7.1.7, 7.1.9 to 7.1.11, 7.1.13, 7.1.16, 7.1.19 to 7.1.21).
//! Chapter 6 names no actions for them: they are those of version 3.

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::{Access, Call, Handling, Operation, Payload, Service, Verb};
use crate::ccm_server::scm::orders;
use crate::ccm_server::scm2::{fields, project};

/// One operation on a certificate.
const fn on_certificate(
    chapter: &'static str,
    verb: Verb,
    path: &'static str,
    action: &'static str,
    body: Payload,
    run: for<'a> fn(&'a Call<'a>) -> Handling<'a>,
) -> Operation {
    Operation {
        chapter,
        service: Service::Scm,
        verb,
        path,
        access: Access::Action(action),
        path_fields: fields::CERTIFICATE,
        query: &[],
        body,
        run,
    }
}

/// The operations of 7.1 that an applicant needs.
pub(in crate::ccm_server) static APPLICATION_OPERATIONS: &[Operation] = &[
    Operation {
        path_fields: fields::ACCOUNT,
        ..on_certificate(
            "7.1.1",
            Verb::Post,
            "/v2/{project_id}/scm/cert/purchase",
            "scm:cert:purchase",
            Payload::Json(fields::PURCHASE),
            |call| Box::pin(purchase(call)),
        )
    },
    on_certificate(
        "7.1.7",
        Verb::Post,
        "/v2/{project_id}/scm/cert/{cert_id}/complete",
        "scm:cert:apply",
        Payload::Json(fields::COMPLETE),
        |call| Box::pin(complete(call)),
    ),
    on_certificate(
        "7.1.9",
        Verb::Post,
        "/v2/{project_id}/scm/cert/{cert_id}/save",
        "scm:cert:apply",
        Payload::Json(fields::SAVE),
        |call| Box::pin(save(call)),
    ),
    on_certificate(
        "7.1.10",
        Verb::Post,
        "/v2/{project_id}/scm/cert/{cert_id}/read",
        "scm:cert:get",
        Payload::None,
        |call| Box::pin(read(call)),
    ),
    on_certificate(
        "7.1.11",
        Verb::Post,
        "/v2/{project_id}/scm/cert/{cert_id}/cancel-cert",
        "scm:cert:cancel",
        Payload::None,
        |call| Box::pin(cancel(call)),
    ),
    Operation {
        path_fields: fields::PAPER,
        ..on_certificate(
            "7.1.13",
            Verb::Post,
            "/v2/{project_id}/scm/cert/{cert_id}/info/{type}/upload_authentication",
            "scm:cert:apply",
            Payload::Raw {
                most: orders::LARGEST_PAPER,
                too_long: code("SCM.0065"),
            },
            |call| Box::pin(upload(call)),
        )
    },
    on_certificate(
        "7.1.16",
        Verb::Post,
        "/v2/{project_id}/scm/cert/{cert_id}/revoke",
        "scm:cert:revoke",
        Payload::Json(fields::REVOKE),
        |call| Box::pin(revoke(call)),
    ),
    on_certificate(
        "7.1.19",
        Verb::Delete,
        "/v2/{project_id}/scm/privacy-protection/{cert_id}",
        "scm:cert:edit",
        Payload::None,
        |call| Box::pin(forget(call)),
    ),
    on_certificate(
        "7.1.20",
        Verb::Post,
        "/v2/{project_id}/scm/cert/{cert_id}/supplement",
        "scm:cert:apply",
        Payload::Json(fields::SUPPLEMENT),
        |call| Box::pin(supplement(call)),
    ),
    on_certificate(
        "7.1.21",
        Verb::Get,
        "/v2/{project_id}/scm/cert/{cert_id}/domain-verify",
        "scm:cert:get",
        Payload::None,
        |call| Box::pin(verification(call)),
    ),
];

async fn purchase(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    orders::purchase(call).await
}

async fn complete(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    orders::submit(call, call.path.text("cert_id")).await
}

async fn save(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    orders::save(call, call.path.text("cert_id")).await
}

async fn read(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    orders::read(call, call.path.text("cert_id")).await
}

async fn cancel(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    orders::cancel(call, call.path.text("cert_id")).await
}

async fn upload(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    orders::upload(call, call.path.text("cert_id")).await
}

async fn revoke(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    orders::revoke(call, call.path.text("cert_id")).await
}

async fn forget(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    orders::forget(call, call.path.text("cert_id")).await
}

async fn supplement(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    orders::supplement(call, call.path.text("cert_id")).await
}

async fn verification(call: &Call<'_>) -> Result<Answer, Failure> {
    project::own(call).await?;
    orders::verification(call, call.path.text("cert_id")).await
}
