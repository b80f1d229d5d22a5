//! Tags of certificates (CCM API 4.1.2).

use crate::ccm::Answer;
use crate::ccm::client::Call;
use crate::ccm::operations as op;
use crate::ccm::paging::Page;
use crate::ccm::scm::Scm;
use crate::ccm::wire::tags::{
    AddTag, AllTags, BatchTags, Described, FilterTags, Tag, TaggedCertificate, TaggedList, Tags,
};

impl Scm {
    /// 4.1.2.1; with `count` as its action the page holds the number alone.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn filter_by_tags(&self, request: &FilterTags) -> Answer<Page<TaggedCertificate>> {
        let call = Call::of(&op::TAG_FILTER, &[])?.body(request)?;
        self.client.call::<TaggedList>(call).await.map(Page::from)
    }

    /// 4.1.2.2: several at once.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn batch_tags(&self, id: &str, request: &BatchTags) -> Answer<Described> {
        let call = Call::of(&op::TAG_BATCH, &[id])?.body(request)?;
        self.client.call(call).await
    }

    /// 4.1.2.3.
    ///
    /// # Errors
    /// Those of every call; `Rejected` without sending where a limit is passed.
    pub async fn add_tag(&self, id: &str, tag: &Tag) -> Answer<Described> {
        let request = AddTag { tag: tag.clone() };
        let call = Call::of(&op::TAG_ADD, &[id])?.body(&request)?;
        self.client.call(call).await
    }

    /// 4.1.2.4: those of one certificate.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn list_tags(&self, id: &str) -> Answer<Tags> {
        self.client.call(Call::of(&op::TAG_LIST, &[id])?).await
    }

    /// 4.1.2.5: those of the account, each key with its values.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn list_all_tags(&self) -> Answer<AllTags> {
        self.client.call(Call::of(&op::TAG_ALL, &[])?).await
    }
}
