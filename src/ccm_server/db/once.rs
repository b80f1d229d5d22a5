//! Changes that are a single statement each: those that wait go to SQLite's thread together, since the way there and back takes
//! longer than the statement.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Row as _, Sqlite};
use tokio::sync::{oneshot, watch};

use crate::ccm_server::db::group::{Outcome, lost};

/// A change that is a single statement: `?` are its values in their order, and it ends with `RETURNING ?`, which is one more.
pub(in crate::ccm_server) struct Once {
    statement: &'static str,
    values: Vec<Value>,
}

/// What a `?` stands for.
#[derive(Debug, Clone)]
pub(in crate::ccm_server) enum Value {
    /// INTEGER
    Integer(i64),
    /// TEXT
    Text(String),
    /// BLOB, or NULL
    Blob(Option<Vec<u8>>),
}

impl Once {
    /// The statement, as yet without its values.
    pub(in crate::ccm_server) const fn new(statement: &'static str) -> Self {
        Self {
            statement,
            values: Vec::new(),
        }
    }

    /// The value of the next `?`.
    pub(in crate::ccm_server) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Blob(Some(value))
    }
}

impl From<Option<Vec<u8>>> for Value {
    fn from(value: Option<Vec<u8>>) -> Self {
        Self::Blob(value)
    }
}

/// A change on its way.
pub(super) struct Queued {
    change: Once,
    tell: oneshot::Sender<Result<Done, sqlx::Error>>,
}

/// What became of a change; it is on disk when the group is.
pub(super) struct Done {
    /// Whether it returned a row.
    pub(super) changed: bool,
    /// Of the group.
    pub(super) outcome: watch::Receiver<Option<Outcome>>,
}

impl Queued {
    /// Answers who waits for it; that nobody does is nobody's concern.
    pub(super) fn tell(self, result: Result<Done, sqlx::Error>) {
        let _ = self.tell.send(result);
    }
}

/// Those that nobody has carried out yet, oldest first.
#[derive(Default)]
pub(super) struct Queue(Mutex<VecDeque<Queued>>);

impl Queue {
    /// Adds one; what is received is what becomes of it.
    pub(super) fn add(&self, change: Once) -> oneshot::Receiver<Result<Done, sqlx::Error>> {
        let (tell, told) = oneshot::channel();
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back(Queued { change, tell });
        told
    }

    /// The oldest, as far as they are the same statement: at most [`MOST`], and a power of two, so that SQLite keeps few texts.
    pub(super) fn take(&self) -> Vec<Queued> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = queue.front().map(|first| first.change.statement);
        let same = queue.iter().take(MOST);
        let same = same
            .take_while(|one| Some(one.change.statement) == first)
            .count();
        let count = if same == 0 { 0 } else { 1 << same.ilog2() };
        queue.drain(..count).collect()
    }

    /// Tells all of them that nothing comes of them, and why.
    pub(super) fn fail(&self, why: &str) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for one in queue.drain(..) {
            one.tell(Err(lost(why)));
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        let queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.is_empty()
    }
}

/// Carries all of them out within one savepoint; answers which of them changed anything. After a failure the savepoint may be open.
pub(super) async fn carry_out(
    connection: &mut SqliteConnection,
    all: &[Queued],
) -> Result<Vec<bool>, sqlx::Error> {
    let mut text = String::from("SAVEPOINT once");
    for one in all {
        text.push_str("; ");
        text.push_str(one.change.statement);
    }
    text.push_str("; RELEASE once");
    let mut query = sqlx::query(AssertSqlSafe(text));
    for (at, one) in (0_i64..).zip(all) {
        for value in &one.change.values {
            query = bind(query, value.clone());
        }
        query = query.bind(at);
    }
    let rows = query.fetch_all(connection).await?;
    let mut changed = vec![false; all.len()];
    for row in rows {
        let at = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX);
        if let Some(one) = changed.get_mut(at) {
            *one = true;
        }
    }
    Ok(changed)
}

/// Goes back to before [`carry_out`] after it failed.
pub(super) async fn go_back(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let back = sqlx::raw_sql("ROLLBACK TO once; RELEASE once");
    back.execute(connection).await.map(|_| ())
}

type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

fn bind(query: Query, value: Value) -> Query {
    match value {
        Value::Integer(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Blob(value) => query.bind(value),
    }
}

/// Of statements that go together.
const MOST: usize = 16;
