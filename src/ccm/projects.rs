//! Projects of the account (IAM, appendix A.3 of the reference): chapter 7 has one in every path.

use serde::Deserialize;

use crate::ccm::Answer;
use crate::ccm::client::{Call, Client};
use crate::ccm::lenient::{answer, list};
use crate::ccm::operations::Described;

/// Asks IAM.
pub struct Projects {
    client: Client,
}

impl Projects {
    /// Speaks to IAM over `client`.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client }
    }

    /// `host:port`, for people.
    #[must_use]
    pub fn host(&self) -> &str {
        self.client.host()
    }

    /// Those of this name, which is that of a region; all without one.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn list(&self, name: Option<&str>) -> Answer<Vec<Project>> {
        let call = Call::of(&LIST, &[])?.maybe("name", name);
        let list: ProjectList = self.client.call(call).await?;
        Ok(list.projects)
    }
}

answer! {
    /// A project.
    Project {
        /// Its id, 32 hex digits.
        id: String;
        /// Its name, which is that of a region, perhaps with more behind it.
        name: Option<String>,
        /// Whether it is in use.
        enabled: Option<bool>,
    }
}

#[derive(Deserialize)]
struct ProjectList {
    #[serde(default, deserialize_with = "list")]
    projects: Vec<Project>,
}

/// None of the 70 operations of CCM itself.
static LIST: Described = Described {
    chapter: "A.3",
    name: "IAM list projects",
    method: "GET",
    path: "/v3/projects",
    function: "Projects::list",
    repeatable: true,
};
