//! The project in the paths of version 2. SCM is one for all regions, so any project of the caller's account will do, unless
//! its token is for one; that of somebody else is refused.

use crate::ccm_server::auth;
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;

/// Refuses a project that is not the caller's.
pub(super) async fn own(call: &Call<'_>) -> Result<(), Failure> {
    let project = call.path.text("project_id");
    if let Some(caller) = &call.caller
        && auth::is_own_project(call.shared, caller, project).await?
    {
        return Ok(());
    }
    let detail = "the project in the path is not the caller's, or not that of its token";
    Err(Failure::because(code("SCM.0002"), detail))
}
