//! The part of IAM that CCM's clients need: tokens by password, temporary access keys, projects, accounts (CCM API 3.2
//! and A.3; the rest as Huawei's SDK 3.1 asks for it).

use serde_json::{Value, json};
use sqlx::Row as _;

use crate::ccm_server::answer::{Answer, Body};
use crate::ccm_server::auth::Caller;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::field::{Field, Input};
use crate::ccm_server::keys::{self, NewTemporary};
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
        chapter: "iam.securitytokens",
        service: Service::Iam,
        verb: Verb::Post,
        path: "/v3.0/OS-CREDENTIAL/securitytokens",
        access: Access::Optional,
        path_fields: &[],
        query: &[],
        body: Payload::Json(SECURITY_TOKEN),
        run: |call| Box::pin(new_temporary_key(call)),
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
    Operation {
        chapter: "sts.callerIdentity",
        service: Service::Iam,
        verb: Verb::Get,
        path: "/v5/caller-identity",
        access: Access::Known,
        path_fields: &[],
        query: &[],
        body: Payload::None,
        run: |call| Box::pin(identity(call)),
    },
];

async fn new_token(call: &Call<'_>) -> Result<Answer, Failure> {
    let auth = call.body.object("auth");
    let identity = auth.object("identity");
    only(&identity, "password")?;
    let user = identity.object("password").object("user");
    let row = named_user(call, &user).await?;
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
    let project = scope(call, &auth.object("scope"), &account_json).await?;
    let lifetime = call.shared.faults.faults.token_lifetime.unwrap_or(LIFETIME);
    let (owner, scope, now) = (id.clone(), project.clone(), call.now);
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            let scope = scope.as_ref().map(|(id, _)| id.as_str());
            keys::new_token(connection, &owner, scope, now, lifetime).await
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

/// The row of a user that is given by its id, or by its name and the id or name of its account.
async fn named_user(
    call: &Call<'_>,
    user: &Input,
) -> Result<Option<sqlx::sqlite::SqliteRow>, Failure> {
    let domain = user.object("domain");
    let known = user.has("id") || (user.has("name") && (domain.has("id") || domain.has("name")));
    if !known {
        let detail = "auth.identity.password.user needs an id, or a name and the domain it is of (id or name)";
        return Err(Failure::because(Service::Iam.bad_parameter(), detail));
    }
    let given = |input: &Input, field: &str| input.optional(field).map(str::to_owned);
    let row = sqlx::query(
        "SELECT u.id, u.name, u.password, a.id, a.name FROM user u JOIN account a ON a.id = u.account \
         WHERE ($1 IS NULL OR u.id = $1) AND ($2 IS NULL OR u.name = $2) AND ($3 IS NULL OR a.id = $3) \
         AND ($4 IS NULL OR a.name = $4)",
    )
    .bind(given(user, "id"))
    .bind(given(user, "name"))
    .bind(given(&domain, "id"))
    .bind(given(&domain, "name"))
    .fetch_optional(call.shared.db.read())
    .await?;
    Ok(row)
}

/// Id and name of the project in a scope; none for the scope of the whole account, which must be the user's own.
async fn scope(
    call: &Call<'_>,
    scope: &Input,
    account: &Value,
) -> Result<Option<(String, String)>, Failure> {
    let is = |given: &Input| {
        ["id", "name"].into_iter().all(|field| {
            given
                .optional(field)
                .is_none_or(|text| account[field] == text)
        })
    };
    if !is(&scope.object("domain")) || !is(&scope.object("project").object("domain")) {
        return Err(refused("The domain of the scope is not the user's."));
    }
    if !scope.has("project") {
        return Ok(None);
    }
    let wanted = scope.object("project");
    let row = sqlx::query(
        "SELECT id, name FROM project WHERE account = $1 AND (id = $2 OR name = $3) ORDER BY id = $2 DESC LIMIT 1",
    )
    .bind(account["id"].as_str().map(str::to_owned))
    .bind(wanted.text("id").to_owned())
    .bind(wanted.text("name").to_owned())
    .fetch_optional(call.shared.db.read())
    .await?;
    match row {
        Some(row) => Ok(Some((row.get(0), row.get(1)))),
        None => Err(refused("The account has no project of this id or name.")),
    }
}

/// A key for a while, for whoever has a token (in the header or in the body), or signs with a key for good.
async fn new_temporary_key(call: &Call<'_>) -> Result<Answer, Failure> {
    let identity = call.body.object("auth").object("identity");
    only(&identity, "token")?;
    if identity.has("policy") {
        // To leave it out would give more rights than were asked for.
        let detail = "this server does not narrow temporary keys by a policy; leave auth.identity.policy out";
        return Err(Failure::because(Service::Iam.bad_parameter(), detail));
    }
    let token = identity.object("token");
    let caller: Caller = match (token.optional("id"), &call.caller) {
        (Some(id), _) => keys::by_token(call.shared, id, call.now)
            .await?
            .ok_or_else(|| refused("The token is unknown or has expired."))?,
        (None, Some(caller)) => caller.clone(),
        (None, None) => {
            return Err(refused(
                "There is no token, neither in the header nor in the body.",
            ));
        }
    };
    if caller.temporary {
        return Err(Failure::because(
            Service::Iam.forbidden(),
            "A temporary access key cannot make another one.",
        ));
    }
    let lifetime = Seconds(token.integer("duration_seconds").unwrap_or(SHORTEST));
    let expires = call.now + lifetime;
    let new = NewTemporary::draw(&call.shared.vault)?;
    let (row, now) = (new.row(&caller.user, expires), call.now);
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            keys::add_temporary(connection, row, now)
                .await
                .map_err(Failure::from)
        })
    });
    write.await?;
    Ok(Answer {
        status: 201,
        headers: Vec::new(),
        body: Body::Json(json!({"credential": {
            "access": new.access_key,
            "secret": new.secret.expose_str(),
            "securitytoken": new.token,
            "expires_at": text::iam_time(expires),
        }})),
    })
}

/// Refuses all ways of authentication but one; a list that is absent is as good as that one.
fn only(identity: &Input, method: &str) -> Result<(), Failure> {
    match identity.texts("methods") {
        Some(methods) if methods != [method] => Err(Failure::because(
            Service::Iam.bad_parameter(),
            format!("auth.identity.methods must be [\"{method}\"] here"),
        )),
        _ => Ok(()),
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

/// What the SDK asks for when it may not list accounts.
async fn identity(call: &Call<'_>) -> Result<Answer, Failure> {
    let user = call.caller.as_ref().map_or("", |caller| &caller.user);
    let name: String = sqlx::query_scalar("SELECT name FROM user WHERE id = $1")
        .bind(user.to_owned())
        .fetch_one(call.shared.db.read())
        .await?;
    let account = call.account();
    Ok(Answer::ok(json!({
        "account_id": account,
        "principal_id": user,
        "principal_urn": format!("iam::{account}:user:{name}"),
    })))
}

fn refused(text: &str) -> Failure {
    Failure::because(code("PCA.00010001"), text)
}

/// Either is enough.
const ID_OR_NAME: &[Field] = &[Field::text("id", 1, 64), Field::text("name", 1, 64)];

const METHODS: Field = Field::choices(
    "methods",
    &["password", "token", "totp", "hw_assume_role"],
    4,
);

const TOKEN: &[Field] = &[Field::object(
    "auth",
    &[
        Field::object(
            "identity",
            &[
                METHODS,
                Field::object(
                    "password",
                    &[Field::object(
                        "user",
                        &[
                            Field::text("id", 1, 64),
                            Field::text("name", 1, 64),
                            Field::text("password", 1, 256).required(),
                            Field::object("domain", ID_OR_NAME),
                        ],
                    )
                    .required()],
                )
                .required(),
            ],
        )
        .required(),
        Field::object(
            "scope",
            &[
                Field::object(
                    "project",
                    &[
                        Field::text("id", 1, 64),
                        Field::text("name", 1, 64),
                        Field::object("domain", ID_OR_NAME),
                    ],
                ),
                Field::object("domain", ID_OR_NAME),
            ],
        ),
    ],
)
.required()];

const SECURITY_TOKEN: &[Field] = &[Field::object(
    "auth",
    &[Field::object(
        "identity",
        &[
            METHODS,
            Field::object(
                "token",
                &[
                    Field::text("id", 1, 4096),
                    Field::integer("duration_seconds", SHORTEST, LONGEST),
                ],
            ),
            Field::object("policy", &[]),
        ],
    )
    .required()],
)
.required()];

/// CCM API 3.2: a token is valid for 24 hours.
const LIFETIME: Seconds = Seconds::hours(24);
/// A temporary key's life in seconds, where nothing is asked for: 15 minutes.
const SHORTEST: i64 = 900;
/// And at most: a day.
const LONGEST: i64 = 86_400;
/// A hash that no password fits.
const NOBODY: &str = "pbkdf2-sha256:200000:00000000000000000000000000000000:0000000000000000000000000000000000000000000000000000000000000000";
