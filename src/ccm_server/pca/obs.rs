//! Where lists of revoked certificates go (CCM API 4.2.3): agency and buckets, of which a bucket is a directory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use hyper::body::Bytes;
use serde_json::{Value, json};
use sqlx::{Row as _, SqliteConnection};
use tokio::sync::Semaphore;

use crate::ccm_server::answer::{Answer, Body};
use crate::ccm_server::codes::code;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::operation::Call;
use crate::ccm_server::pca::crl;
use crate::ccm_server::pca::disk::{Disk, LONGEST_READING, Place, Unanswered, Way};
use crate::ccm_server::pca::publish::{self, List};
use crate::ccm_server::server::Shared;
use crate::ccm_server::text;
use crate::sys::fs::{self, Attributes, FsError};

/// The directory that stands for OBS, and its address.
pub(in crate::ccm_server) struct Obs {
    root: PathBuf,
    /// Known when the server listens.
    base: OnceLock<String>,
    /// Of each CA whose list is being published, or failed to be.
    lists: Mutex<HashMap<String, Arc<List>>>,
    /// Who is at work in the buckets.
    disk: Disk,
    /// What somebody is being sent.
    read_now: Arc<ReadNow>,
    /// Who may wait for what he reads at a time: each has a whole object of his own until it is compared.
    readers: Semaphore,
}

/// Objects in memory.
type ReadNow = Mutex<HashMap<PathBuf, Weak<[u8]>>>;

impl Obs {
    /// Buckets are below `root`.
    pub(in crate::ccm_server) fn new(root: PathBuf) -> Self {
        Self {
            root,
            base: OnceLock::new(),
            lists: Mutex::default(),
            disk: Disk::new(),
            read_now: Arc::default(),
            readers: Semaphore::new(READERS),
        }
    }

    /// Says under which URL, without a slash at its end, this server can be reached.
    pub(in crate::ccm_server) fn reached_at(&self, base: String) {
        // Said once, at the start.
        let _ = self.base.set(base);
    }

    /// The URL of an object.
    pub(super) fn url(&self, bucket: &str, object: &str) -> String {
        let base = self
            .base
            .get()
            .map_or("http://127.0.0.1:8920", String::as_str);
        format!("{base}{PATH}{bucket}/{object}")
    }

    /// How the list of this CA fares.
    pub(super) fn list(&self, ca: &str) -> Arc<List> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lists.entry(ca.to_owned()).or_default())
    }

    /// Forgets how the list of a CA fares that will have none any more.
    pub(super) fn forget(&self, ca: &str) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.remove(ca);
    }

    /// Forgets of which lists there is nothing to know.
    pub(super) fn tidy(&self) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.retain(|_, list| Arc::strong_count(list) > 1 || list.failed());
    }

    /// Of which lists something is known.
    #[cfg(test)]
    pub(super) fn known(&self) -> Vec<String> {
        let lists = self.lists.lock().unwrap();
        let mut ids: Vec<String> = lists.keys().cloned().collect();
        ids.sort();
        ids
    }

    /// Waits until a list may be written into a bucket.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub(super) async fn place_to_write(&self, bucket: &str) -> Result<Place, Unanswered> {
        self.disk.place(Way::Write, bucket).await
    }

    /// Puts a list into a bucket, as a whole. Who calls waits until it is there, so that an older one never replaces a newer one.
    pub(super) async fn put(
        &self,
        place: Place,
        (bucket, object): (&str, &str),
        bytes: Vec<u8>,
    ) -> Result<(), Failure> {
        let directory = self.root.join(bucket);
        let file = directory.join(object);
        let readable = Attributes {
            mode: 0o644,
            ..Attributes::PRIVATE
        };
        let write = move || {
            fs::create_dir_all(&directory, 0o755)?;
            fs::write_atomic(&file, &bytes, &readable)
        };
        place.run(write).await
    }

    /// An object; `None` where there is none. Those who read the same one, however slowly, have one copy of it.
    ///
    /// # Errors
    /// What is there and cannot be read, also for want of descriptors, or not in time: that is no word about what was revoked.
    async fn get(&self, bucket: &str, object: &str) -> Result<Option<Bytes>, Failure> {
        let file: PathBuf = [&self.root, Path::new(bucket), Path::new(object)]
            .iter()
            .collect();
        let read_now = Arc::clone(&self.read_now);
        // Disks may be slow, and lists large: neither is for the threads that serve everybody.
        let read = async {
            let place = self.disk.place(Way::Read, bucket).await;
            let place = place.map_err(|error| Failure::internal(&error))?;
            let _reader = self.readers.acquire().await;
            place.run(move || read_shared(&read_now, file)).await
        };
        match tokio::time::timeout(LONGEST_READING, read).await {
            Ok(read) => read,
            Err(_) => Err(Failure::internal(&Unanswered(bucket.to_owned()))),
        }
    }
}

fn read_shared(read_now: &ReadNow, file: PathBuf) -> Result<Option<Bytes>, FsError> {
    let Some(read) = fs::read_if_exists(&file, MOST_BYTES)? else {
        return Ok(None);
    };
    let mut read_now = read_now.lock().unwrap_or_else(PoisonError::into_inner);
    read_now.retain(|_, copy| copy.strong_count() > 0);
    let known = read_now.get(&file).and_then(Weak::upgrade);
    if let Some(copy) = known.filter(|copy| **copy == *read) {
        return Ok(Some(Bytes::from_owner(copy)));
    }
    let copy: Arc<[u8]> = read.into();
    read_now.insert(file, Arc::downgrade(&copy));
    Ok(Some(Bytes::from_owner(copy)))
}

/// Answers `GET /obs/BUCKET/OBJECT`, open to anybody as a distribution point has to be; `None` where there is nothing.
///
/// # Errors
/// A list that cannot be read, which must not look like one that is not there.
pub(in crate::ccm_server) async fn fetch(
    shared: &Arc<Shared>,
    path: &str,
) -> Result<Option<Answer>, Failure> {
    let place = path
        .strip_prefix(PATH)
        .and_then(|rest| rest.split_once('/'));
    let Some((bucket, object)) = place else {
        return Ok(None);
    };
    let object = text::percent_decode(object);
    if !is_bucket(bucket) || !is_object(&object) || !object.ends_with(crl::ENDING) {
        return Ok(None);
    }
    // A list that is due is made before it is read: nobody is told the state of last week.
    publish::publish_for_reader(shared, (bucket, &object), shared.clock.now()).await;
    let bytes = shared.obs.get(bucket, &object).await?;
    Ok(bytes.map(|bytes| Answer {
        status: 200,
        headers: Vec::new(),
        body: Body::Bytes {
            kind: "application/pkix-crl",
            bytes,
        },
    }))
}

/// What a request for a path asks for, as the log of requests has it: nothing, if it is no list.
pub(in crate::ccm_server) fn operation_of(path: &str) -> &'static str {
    if path.starts_with(PATH) { LIST } else { "" }
}

/// 4.2.3.1
pub(super) async fn agency(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut connection = call.shared.db.read().acquire().await?;
    let granted = agency_of(&mut connection, call.account()).await?.is_some();
    // A text, as in the reference.
    Ok(Answer::ok(json!({"agency_granted": granted.to_string()})))
}

/// 4.2.3.2: a second one is the first one.
pub(super) async fn create_agency(call: &Call<'_>) -> Result<Answer, Failure> {
    let (account, now) = (call.account().to_owned(), call.now);
    let write = call.shared.db.write(|connection| {
        Box::pin(async move {
            if let Some(id) = agency_of(connection, &account).await? {
                return Ok::<_, Failure>(id);
            }
            let id = text::random_hex::<16>();
            sqlx::query("INSERT INTO agency (account, id, created) VALUES ($1, $2, $3)")
                .bind(account)
                .bind(&id)
                .bind(now.0)
                .execute(connection)
                .await?;
            Ok(id)
        })
    });
    Ok(Answer::ok(json!({"agency_id": write.await?})))
}

/// 4.2.3.3
pub(super) async fn buckets(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut connection = call.shared.db.read().acquire().await?;
    must_have_agency(&mut connection, call.account()).await?;
    let rows = sqlx::query("SELECT name, created FROM bucket WHERE account = $1 ORDER BY name")
        .bind(call.account())
        .fetch_all(&mut *connection)
        .await?;
    let buckets: Vec<Value> = rows
        .iter()
        .map(|row| {
            let name: &str = row.get(0);
            json!({"bucket_name": name, "create_time": text::millis(row.get(1))})
        })
        .collect();
    Ok(Answer::ok(
        json!({"total": buckets.len(), "obs_buckets": buckets}),
    ))
}

/// Refuses a bucket that is not there, or that PCA may not write to.
pub(super) async fn must_be_writable(
    connection: &mut SqliteConnection,
    account: &str,
    bucket: &str,
) -> Result<(), Failure> {
    must_have_agency(connection, account).await?;
    let found = sqlx::query("SELECT 1 FROM bucket WHERE name = $1 AND account = $2")
        .bind(bucket)
        .bind(account)
        .fetch_optional(connection)
        .await?;
    if found.is_some() {
        return Ok(());
    }
    let detail = format!("there is no bucket {bucket}: `renewd-ccm bucket add` makes one");
    Err(Failure::because(code("PCA.00020204"), detail))
}

async fn must_have_agency(connection: &mut SqliteConnection, account: &str) -> Result<(), Failure> {
    if agency_of(connection, account).await?.is_some() {
        return Ok(());
    }
    let detail = "PCA may not use buckets: create an agency first (POST …/obs/agencies)";
    Err(Failure::because(code("PCA.00000006"), detail))
}

async fn agency_of(
    connection: &mut SqliteConnection,
    account: &str,
) -> Result<Option<String>, Failure> {
    let sql = "SELECT id FROM agency WHERE account = $1";
    let id = sqlx::query_scalar(sql).bind(account);
    Ok(id.fetch_optional(connection).await?)
}

/// Whether OBS would take this as the name of a bucket.
pub(in crate::ccm_server) fn is_bucket(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    (3..=63).contains(&name.len())
        && name.chars().all(fits)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        && !name.contains("..")
}

/// Whether this can be the name of a file in a bucket.
pub(super) fn is_object(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=80).contains(&name.len()) && name.chars().all(fits) && !name.starts_with('.')
}

/// Where buckets are served.
const PATH: &str = "/obs/";
/// What a request for a list is called, which is no operation of a chapter.
const LIST: &str = "crl";
/// At a time, and with [`MOST_BYTES`] a bound of memory.
const READERS: usize = 4;
/// Of a list: a million entries.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[tokio::test]
    async fn who_reads_a_list_at_the_same_time_shares_one_copy_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let obs = Obs::new(directory.path().to_owned());
        let put = async |object: &str, bytes: &[u8]| {
            let place = obs.place_to_write("bucket").await.unwrap();
            let put = obs.put(place, ("bucket", object), bytes.to_vec());
            assert!(put.await.is_ok());
        };
        put("a.crl", b"first").await;
        put("b.crl", b"first").await;
        let get = async |object: &str| match obs.get("bucket", object).await {
            Ok(Some(bytes)) => bytes,
            _ => panic!("{object} is not there"),
        };
        let (one, two, other) = (get("a.crl").await, get("a.crl").await, get("b.crl").await);
        assert_eq!(one.as_ptr(), two.as_ptr());
        assert_ne!(one.as_ptr(), other.as_ptr());
        put("a.crl", b"second").await;
        assert_eq!(
            (&*get("a.crl").await, &*one),
            (&b"second"[..], &b"first"[..])
        );
        drop((one, two, other));
        get("a.crl").await;
        // Nobody reads the other one, so it is not kept.
        assert_eq!(obs.read_now.lock().unwrap().len(), 1);
    }

    #[test]
    fn of_lists_nothing_is_kept_but_what_failed() {
        let obs = Obs::new(PathBuf::new());
        obs.list("failed").tried(Some(Timestamp(1)));
        obs.list("done").tried(None);
        let used = obs.list("used");
        obs.tidy();
        assert_eq!(obs.known(), ["failed", "used"]);
        drop(used);
        obs.tidy();
        assert_eq!(obs.known(), ["failed"]);
        obs.forget("failed");
        assert!(obs.known().is_empty());
    }
}
