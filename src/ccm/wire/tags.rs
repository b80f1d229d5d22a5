//! Tags of certificates (CCM API 4.1.2).

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::ccm::lenient::{answer, count};
use crate::ccm::limits::{Chars, Each, Inner, Known, PageSize, Range, request};
use crate::ccm::paging::Page;
use crate::ccm::wire::words::TagAction;

request! {
    /// One tag (4.1.2.3).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    Tag {
        /// Its key.
        key: String = Chars(1, 128);
        /// Its value, which may be empty.
        value: String = Chars(0, 255);
    }

    /// A tag to be added (4.1.2.3).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    AddTag {
        /// The tag.
        tag: Tag = Inner;
    }

    /// Tags to be added or taken away at once (4.1.2.2).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    BatchTags {
        /// Which of both.
        action: TagAction = Known;
        /// The tags.
        tags: Vec<Tag> = Each(1, 20, Inner);
    }

    /// A key, and the values of which one must be there; no values for any (4.1.2.1).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    TagChoice {
        /// The key.
        key: String = Chars(1, 128);
        /// Any of these. An empty list must be sent as such.
        values: Values = AnyOf;
    }

    /// What a certificate's own field must be (4.1.2.1).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    Match {
        /// `resource_name`.
        key: String = Chars(1, 128);
        /// What it holds.
        value: String = Chars(0, 255);
    }

    /// Certificates by their tags (4.1.2.1). Keys of `tags` must all be there and of `tags_any` one; of `not_tags` not
    /// all and of `not_tags_any` none. Values of one key are alternatives.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    FilterTags {
        /// Only those without any tag; then nothing else is needed.
        without_any_tag: Option<bool> = crate::ccm::limits::Either;
        /// All of these.
        tags: Vec<TagChoice> = Each(0, 20, Inner);
        /// One of these.
        tags_any: Vec<TagChoice> = Each(0, 20, Inner);
        /// Not all of these.
        not_tags: Vec<TagChoice> = Each(0, 20, Inner);
        /// None of these.
        not_tags_any: Vec<TagChoice> = Each(0, 20, Inner);
        /// 10, 20 or 50.
        limit: Option<i64> = PageSize;
        /// Leaving out so many.
        offset: Option<i64> = Range(0, i64::MAX);
        /// `filter`, or `count` for the number alone.
        action: Option<String> = Chars(5, 6);
        /// Fields of the certificate itself.
        matches: Vec<Match> = Each(0, 10, Inner);
    }
}

/// The values of a key, which are sent even when there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Values(pub Vec<String>);

impl crate::ccm::limits::Given for Values {
    fn is_absent(&self) -> bool {
        false
    }
}

/// At most 20 values of at most 255 characters.
struct AnyOf;

impl crate::ccm::limits::Limit<Values> for AnyOf {
    fn check(&self, field: &str, value: &Values, problems: &mut crate::ccm::limits::Problems) {
        Each(0, 20, Chars(0, 255)).check(field, &value.0, problems);
    }
}

answer! {
    /// A tag of a certificate (4.1.2.4).
    ShownTag {
        /// Its key.
        key: String;
        /// Its value.
        value: Option<String>,
    }

    /// The answer of 4.1.2.4.
    Tags {
        ;
        /// Each of them.
        tags: Vec<ShownTag>,
    }

    /// A key of an account's tags with all its values (4.1.2.5).
    TagValues {
        /// The key.
        key: String;
        /// Its values.
        values: Vec<String>,
    }

    /// The answer of 4.1.2.5.
    AllTags {
        ;
        /// Each key.
        tags: Vec<TagValues>,
    }

    /// The answer of 4.1.2.2 and 4.1.2.3.
    Described {
        ;
        /// `success`.
        desc: Option<String>,
    }

    /// A certificate as it is found by its tags (4.1.2.1). Times are texts in the table and milliseconds in the example.
    TaggedDetail {
        ;
        /// Its id.
        cert_id: Option<String>,
        /// What its owner calls it.
        cert_name: Option<String>,
        /// The domain it is bound to.
        domain: Option<String>,
        /// Such as `OV_SSL_CERT`.
        cert_type: Option<String>,
        /// Such as `CFCA`.
        cert_brand: Option<String>,
        /// `SINGLE_DOMAIN`, `MULTI_DOMAIN` or `WILDCARD`.
        domain_type: Option<String>,
        /// Years.
        purchase_period: Option<i64>,
        /// End of validity.
        expired_time: Option<String>,
        /// How far it is.
        order_status: Option<String>,
        /// Names it is for.
        domain_num: Option<i64>,
        /// Wildcards among them.
        wildcard_number: Option<i64>,
        /// Further names, separated by `;`.
        sans: Option<String>,
        /// What its owner says about it.
        cert_des: Option<String>,
        /// Such as `SHA256withRSA`.
        signature_algorithm: Option<String>,
        /// Why the review said no.
        fail_reason: Option<String>,
        /// The order at the CA.
        partner_order_id: Option<String>,
        /// Whether it can be pushed.
        push_support: Option<bool>,
        /// When it was issued.
        cert_issued_time: Option<String>,
        /// When it was bought; only in the example.
        cert_created_time: Option<String>,
        /// The same as `cert_id`, or nothing.
        resource_id: Option<String>,
        /// Whether it can be given back.
        unsubscribe_support: Option<bool>,
        /// Of a renewal: the certificate before.
        origin_cert_id: Option<String>,
        /// The certificate after.
        renewal_cert_id: Option<String>,
        /// Whether it is renewed by itself.
        auto_renew_status: Option<i64>,
        /// Certificates of the order that are yet to come.
        remain_cert_number: Option<i64>,
        /// Whether it is deployed by itself.
        auto_deploy_support: Option<bool>,
        /// What the first name is.
        multi_domain_type: Option<String>,
        /// Enterprise project.
        enterprise_project_id: Option<String>,
    }

    /// One certificate that was found by its tags (4.1.2.1).
    TaggedCertificate {
        ;
        /// Its id.
        resource_id: Option<String>,
        /// What its owner calls it.
        resource_name: Option<String>,
        /// The rest.
        resource_detail: Option<TaggedDetail>,
        /// Its tags.
        tags: Vec<ShownTag>,
    }
}

/// 4.1.2.1.
#[derive(Deserialize)]
pub(crate) struct TaggedList {
    #[serde(deserialize_with = "count")]
    total_count: u64,
    #[serde(default, deserialize_with = "resources")]
    resources: Vec<TaggedCertificate>,
}

impl From<TaggedList> for Page<TaggedCertificate> {
    fn from(list: TaggedList) -> Self {
        Self {
            total: list.total_count,
            items: list.resources,
        }
    }
}

/// The reference's example splits one certificate into several objects of one key each; objects are put together until
/// a key comes for the second time.
fn resources<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<TaggedCertificate>, D::Error> {
    let parts = Option::<Vec<Map<String, Value>>>::deserialize(from)?.unwrap_or_default();
    let mut whole: Vec<Map<String, Value>> = Vec::new();
    for part in parts {
        match whole.last_mut() {
            Some(last) if part.keys().all(|key| !last.contains_key(key)) => last.extend(part),
            _ => whole.push(part),
        }
    }
    whole
        .into_iter()
        .map(|one| serde_json::from_value(Value::Object(one)).map_err(serde::de::Error::custom))
        .collect()
}
