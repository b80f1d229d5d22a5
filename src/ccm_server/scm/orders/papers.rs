//! Pictures of the papers that a CA wants to see (CCM API 7.1.13): kept sealed, and looked at by nobody.

use crate::ccm_server::answer::Answer;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::scm::orders::apply::success;
use crate::ccm_server::scm::orders::order::Order;
use crate::ccm_server::scm::orders::review::Class;
use crate::ccm_server::server::Shared;

/// 7.1.13; one that is there already is replaced. The body is taken as it comes: the reference does not say in which form
/// a picture travels.
pub(in crate::ccm_server) async fn upload(call: &Call<'_>, id: &str) -> Result<Answer, Failure> {
    let kind = call.path.text("type").to_owned();
    if call.raw.is_empty() {
        return Err(Failure::because(code("SCM.0005"), "the body is empty"));
    }
    let label = format!("scm_paper.content/{id}/{kind}");
    let sealed = call.shared.vault.seal(&label, &call.raw)?;
    let now = call.now;
    let (own, account) = (id.to_owned(), call.account().to_owned());
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            let order = Order::find(connection, &account, &own).await?;
            order.must_be(now, &["PAID", "UNPASSED", "CHECKING", "CHECKING_DOMAIN", "CHECKING_ORG"])?;
            if order.class() == Class::Dv {
                let detail = "nobody looks at the owner of a DV certificate";
                return Err(Failure::because(code("SCM.0010"), detail));
            }
            sqlx::query(
                "INSERT INTO scm_paper (certificate, kind, uploaded, content) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (certificate, kind) DO UPDATE SET uploaded = excluded.uploaded, content = excluded.content",
            )
            .bind(&own)
            .bind(kind)
            .bind(now.0)
            .bind(sealed)
            .execute(connection)
            .await?;
            Ok::<_, Failure>(())
        })
    });
    write.await?;
    Ok(success())
}

/// Which papers are there.
pub(super) async fn kinds(shared: &Shared, id: &str) -> Result<Vec<String>, Failure> {
    let kinds = sqlx::query_scalar("SELECT kind FROM scm_paper WHERE certificate = $1");
    Ok(kinds.bind(id).fetch_all(shared.db.read()).await?)
}

/// Bytes of a picture; what is longer is refused as the reference does (`SCM.0065`).
pub(in crate::ccm_server) const LARGEST: usize = 1024 * 1024;
