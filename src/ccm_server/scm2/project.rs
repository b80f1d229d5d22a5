//! The project in the paths of version 2. SCM is one for all regions, so any project of the caller's account will do; that of
//! somebody else is refused.

use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::users;

/// Refuses a project that is not the caller's.
pub(super) async fn own(call: &Call<'_>) -> Result<(), Failure> {
    let project = call.path.text("project_id");
    if users::owns_project(call.shared, call.account(), project).await? {
        return Ok(());
    }
    let detail = "the project in the path is not the caller's";
    Err(Failure::because(code("SCM.0002"), detail))
}
