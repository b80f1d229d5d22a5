//! SSL certificates, version 2 (CCM API 7.1): another face of what `scm` keeps.

mod applications;
mod fields;

use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::users;

pub(super) use applications::APPLICATION_OPERATIONS;

/// Refuses a `project_id` in the path that is none of the caller's.
async fn own_project(call: &Call<'_>) -> Result<(), Failure> {
    let project = call.path.text("project_id");
    if users::owns_project(call.shared, call.account(), project).await? {
        return Ok(());
    }
    let detail = format!("the project {project} is not the caller's");
    Err(Failure::because(code("SCM.0002"), detail))
}
