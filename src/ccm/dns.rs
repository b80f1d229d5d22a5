//! Huawei Cloud DNS (API v2): zones and record sets, as far as proofs of domains need them. Another service than CCM, with
//! the same account, signature and manner of refusals.

use serde::{Deserialize, Serialize};

use crate::ccm::Answer;
use crate::ccm::client::{Call, Client};
use crate::ccm::operations::Described;

/// The operations of DNS.
pub struct Dns {
    client: Client,
}

/// A public zone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DnsZone {
    /// Id.
    pub id: String,
    /// With the final dot.
    pub name: String,
}

/// All records of one name and type.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RecordSet {
    /// Id.
    pub id: String,
    /// With the final dot.
    pub name: String,
    /// Such as `TXT`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Time to live in seconds.
    #[serde(default)]
    pub ttl: Option<u32>,
    /// Texts in quotation marks.
    #[serde(default)]
    pub records: Vec<String>,
}

/// What a record set shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordSetWanted {
    /// With the final dot.
    pub name: String,
    /// Such as `TXT`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Time to live in seconds.
    pub ttl: u32,
    /// Texts in quotation marks.
    pub records: Vec<String>,
}

#[derive(Deserialize)]
struct Zones {
    #[serde(default)]
    zones: Vec<DnsZone>,
}

#[derive(Deserialize)]
struct RecordSets {
    #[serde(default)]
    recordsets: Vec<RecordSet>,
}

impl Dns {
    /// Speaks to DNS over `client`.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client }
    }

    /// `host:port`, for people.
    #[must_use]
    pub fn host(&self) -> &str {
        self.client.host()
    }

    /// The public zones of exactly this name.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn zones(&self, name: &str) -> Answer<Vec<DnsZone>> {
        let call = Call::of(&ZONES, &[])?
            .query("type", "public")
            .query("name", name)
            .query("search_mode", "equal");
        let all: Zones = self.client.call(call).await?;
        // The filter is by likeness where the mode is not known.
        let same = all.zones.into_iter().filter(|zone| same(&zone.name, name));
        Ok(same.collect())
    }

    /// The record sets of exactly this name and type in a zone.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn record_sets(&self, zone: &str, name: &str, kind: &str) -> Answer<Vec<RecordSet>> {
        let call = Call::of(&RECORD_SETS, &[zone])?
            .query("name", name)
            .query("type", kind)
            .query("search_mode", "equal");
        let all: RecordSets = self.client.call(call).await?;
        let fits = |set: &RecordSet| same(&set.name, name) && set.kind.eq_ignore_ascii_case(kind);
        Ok(all.recordsets.into_iter().filter(fits).collect())
    }

    /// Makes a record set.
    ///
    /// # Errors
    /// Those of every call; `Rejected` where there is one of this name and type.
    pub async fn create(&self, zone: &str, wanted: &RecordSetWanted) -> Answer<RecordSet> {
        let call = Call::of(&CREATE, &[zone])?.json(wanted)?;
        self.client.call(call).await
    }

    /// Replaces a record set.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn replace(
        &self,
        zone: &str,
        set: &str,
        wanted: &RecordSetWanted,
    ) -> Answer<RecordSet> {
        let call = Call::of(&REPLACE, &[zone, set])?.json(wanted)?;
        self.client.call(call).await
    }

    /// Deletes a record set.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn delete(&self, zone: &str, set: &str) -> Answer<()> {
        self.client
            .call_silent(Call::of(&DELETE, &[zone, set])?)
            .await
    }
}

fn same(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
    plain(one) == plain(other)
}

const fn described(
    name: &'static str,
    method: &'static str,
    path: &'static str,
    function: &'static str,
    repeatable: bool,
) -> Described {
    Described {
        chapter: "DNS",
        name,
        method,
        path,
        function,
        repeatable,
    }
}

static ZONES: Described = described("DNS list zones", "GET", "/v2/zones", "Dns::zones", true);
static RECORD_SETS: Described = described(
    "DNS list record sets",
    "GET",
    "/v2/zones/{zone_id}/recordsets",
    "Dns::record_sets",
    true,
);
static CREATE: Described = described(
    "DNS create record set",
    "POST",
    "/v2/zones/{zone_id}/recordsets",
    "Dns::create",
    false,
);
static REPLACE: Described = described(
    "DNS change record set",
    "PUT",
    "/v2/zones/{zone_id}/recordsets/{recordset_id}",
    "Dns::replace",
    true,
);
static DELETE: Described = described(
    "DNS delete record set",
    "DELETE",
    "/v2/zones/{zone_id}/recordsets/{recordset_id}",
    "Dns::delete",
    false,
);
