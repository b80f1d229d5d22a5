//! The part of IAM that CCM's clients need: tokens by password, projects, accounts (CCM API 3.2 and A.3).

use serde_json::{Value, json};
use sqlx::Row as _;

use crate::ccm_server::answer::{Answer, Body};
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::field::{Field, Input};
use crate::ccm_server::operation::{Access, Call, Operation, Payload, Service, Verb};
use crate::ccm_server::text;
use crate::ccm_server::users;
use crate::model::Seconds;
use crate::pki::Secret;

/// The operations of IAM.
pub(super) static OPERATIONS: &[Operation] = &[
    Operation {
        chapter: "iam.tokens",
        service: Service::Iam,
        verb: Verb::Post,
        path: "/v3/auth/tokens",
        access: Access::Open,
        path_fields: &[],
        query: &[],
        body: Payload::Json(TOKEN),
        run: |call| Box::pin(new_token(call)),
    },
    Operation {
        chapter: "iam.projects",
        service: Service::Iam,
        verb: Verb::Get,
        path: "/v3/projects",
        access: Access::Known,
        path_fields: &[],
        query: &[Field::text("name", 1, 64)],
        body: Payload::None,
        run: |call| Box::pin(projects(call)),
    },
    Operation {
        chapter: "iam.domains",
        service: Service::Iam,
        verb: Verb::Get,
        path: "/v3/auth/domains",
        access: Access::Known,
        path_fields: &[],
        query: &[],
        body: Payload::None,
        run: |call| Box::pin(domains(call)),
    },
];

async fn new_token(call: &Call<'_>) -> Result<Answer, Failure> {
    let auth = call.body.object("auth");
    let user = auth.object("identity").object("password").object("user");
    let domain = user.object("domain").text("name").to_owned();
    let row = sqlx::query(
        "SELECT u.id, u.name, u.password, a.id, a.name FROM user u JOIN account a ON a.id = u.account \
         WHERE u.name = $1 AND a.name = $2",
    )
    .bind(user.text("name").to_owned())
    .bind(domain)
    .fetch_optional(call.shared.db.read())
    .await?;
    // An unknown user costs as much time as a wrong password and gets the same answer.
    let stored = row
        .as_ref()
        .map_or_else(|| NOBODY.to_owned(), |row| row.get::<String, _>(2));
    let password = Secret::from(user.text("password").to_owned());
    let fits = call
        .shared
        .password(move || users::password_fits(password.expose(), &stored))
        .await;
    let (Some(row), true) = (row, fits) else {
        return Err(refused("The username or password is wrong."));
    };
    let id: String = row.get(0);
    let account: String = row.get(3);
    let account_json = json!({"id": account, "name": row.get::<String, _>(4)});
    let project = project(call, &auth.object("scope"), &account).await?;
    let lifetime = call
        .shared
        .faults
        .faults()
        .token_lifetime
        .unwrap_or(LIFETIME);
    let (owner, scope, now) = (id.clone(), project.clone(), call.now);
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            let scope = scope.as_ref().map(|(id, _)| id.as_str());
            users::new_token(connection, &owner, scope, now, lifetime).await
        })
    });
    let token = write.await?;
    let owner = account_json.clone();
    let project = project.map(|(id, name)| json!({"id": id, "name": name, "domain": owner}));
    let mut body = json!({"token": {
        "expires_at": text::iam_time(now + lifetime),
        "issued_at": text::iam_time(now),
        "methods": ["password"],
        "user": {
            "id": id,
            "name": row.get::<String, _>(1),
            "domain": account_json,
            "password_expires_at": "",
        },
        "roles": [],
        "catalog": [],
    }});
    let (scope, value) = project.map_or(("domain", account_json), |project| ("project", project));
    body["token"][scope] = value;
    Ok(Answer {
        status: 201,
        headers: vec![("x-subject-token".to_owned(), token)],
        body: Body::Json(body),
    })
}

/// Id and name of the project in a scope; none for the scope of the whole account.
async fn project(
    call: &Call<'_>,
    scope: &Input,
    account: &str,
) -> Result<Option<(String, String)>, Failure> {
    if !scope.has("project") {
        return Ok(None);
    }
    let wanted = scope.object("project");
    let row = sqlx::query(
        "SELECT id, name FROM project WHERE account = $1 AND (id = $2 OR name = $3) ORDER BY id = $2 DESC LIMIT 1",
    )
    .bind(account.to_owned())
    .bind(wanted.text("id").to_owned())
    .bind(wanted.text("name").to_owned())
    .fetch_optional(call.shared.db.read())
    .await?;
    match row {
        Some(row) => Ok(Some((row.get(0), row.get(1)))),
        None => Err(refused("The account has no project of this id or name.")),
    }
}

async fn projects(call: &Call<'_>) -> Result<Answer, Failure> {
    let rows = sqlx::query(
        "SELECT id, name, account FROM project WHERE account = $1 AND ($2 IS NULL OR name = $2) ORDER BY name",
    )
    .bind(call.account().to_owned())
    .bind(call.query.optional("name").map(str::to_owned))
    .fetch_all(call.shared.db.read())
    .await?;
    let projects: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "id": row.get::<String, _>(0),
                "name": row.get::<String, _>(1),
                "domain_id": row.get::<String, _>(2),
                "parent_id": row.get::<String, _>(2),
                "is_domain": false,
                "enabled": true,
                "description": "",
            })
        })
        .collect();
    Ok(Answer::ok(json!({"projects": projects})))
}

async fn domains(call: &Call<'_>) -> Result<Answer, Failure> {
    let row = sqlx::query("SELECT id, name FROM account WHERE id = $1")
        .bind(call.account().to_owned())
        .fetch_one(call.shared.db.read())
        .await?;
    let domain = json!({
        "id": row.get::<String, _>(0),
        "name": row.get::<String, _>(1),
        "enabled": true,
    });
    Ok(Answer::ok(json!({"domains": [domain]})))
}

fn refused(text: &str) -> Failure {
    Failure::because(code("PCA.00010001"), text)
}

const TOKEN: &[Field] = &[Field::object(
    "auth",
    &[
        Field::object(
            "identity",
            &[Field::object(
                "password",
                &[Field::object(
                    "user",
                    &[
                        Field::text("name", 1, 64).required(),
                        Field::text("password", 1, 256).required(),
                        Field::object("domain", &[Field::text("name", 1, 64).required()])
                            .required(),
                    ],
                )
                .required()],
            )
            .required()],
        )
        .required(),
        Field::object(
            "scope",
            &[
                Field::object(
                    "project",
                    &[Field::text("id", 1, 64), Field::text("name", 1, 64)],
                ),
                Field::object(
                    "domain",
                    &[Field::text("id", 1, 64), Field::text("name", 1, 64)],
                ),
            ],
        ),
    ],
)
.required()];

/// CCM API 3.2: a token is valid for 24 hours.
const LIFETIME: Seconds = Seconds::hours(24);
/// A hash that no password fits.
const NOBODY: &str = "pbkdf2-sha256:200000:00000000000000000000000000000000:0000000000000000000000000000000000000000000000000000000000000000";
