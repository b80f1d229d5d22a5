//! The values of one table by key, after the structure was checked: a value of the wrong type is as good as absent,
//! since it was reported.

use crate::config::raw;
use crate::config::source::{FileId, Place};
use crate::config::tree::{Entry, Node, Table, Value};

/// A table with what it may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    table: &'a Table,
    schema: &'static raw::Table,
    /// Of its header.
    pub(super) header: Place,
}

/// The texts of an array.
#[derive(Debug)]
pub(super) struct List<'a> {
    pub(super) texts: Vec<(&'a str, Place)>,
    /// Of the array.
    pub(super) place: Place,
    /// Whether there was nothing else in it.
    pub(super) whole: bool,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(table: &'a Table, schema: &'static raw::Table, header: Place) -> Self {
        Self {
            table,
            schema,
            header,
        }
    }

    /// The top level.
    pub(super) const fn top(table: &'a Table) -> Self {
        let nowhere = Place {
            file: FileId(0),
            start: 0,
            end: 0,
        };
        Self::new(table, &raw::ROOT, nowhere)
    }

    /// From an entry that should be a table.
    pub(super) fn of(entry: &'a Entry, schema: &'static raw::Table) -> Option<Self> {
        match &entry.node.value {
            Value::Table(table) => Some(Self::new(table, schema, entry.key)),
            _ => None,
        }
    }

    /// Whether some of it may have been lost to a syntax error.
    pub(super) const fn is_partial(&self) -> bool {
        self.table.partial
    }

    /// Whether a table of this kind may have the key.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.schema.key(key).is_some()
    }

    pub(super) fn entry(&self, key: &str) -> Option<&'a Entry> {
        debug_assert!(
            self.schema.key(key).is_some(),
            "`{key}` is not in the schema of [{}]",
            self.schema.header
        );
        self.table.entries.get(key)
    }

    pub(super) fn node(&self, key: &str) -> Option<&'a Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// Whether the key was written, with whatever value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    pub(super) fn text(&self, key: &str) -> Option<(&'a str, Place)> {
        let node = self.node(key)?;
        match &node.value {
            Value::Text(text) => Some((text, node.place)),
            _ => None,
        }
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.node(key)?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    pub(super) fn count(&self, key: &str) -> Option<(i64, Place)> {
        let node = self.node(key)?;
        match node.value {
            Value::Integer { value, .. } => value.map(|value| (value, node.place)),
            _ => None,
        }
    }

    /// The numbers of an array, and whether there is nothing else in it.
    pub(super) fn counts(&self, key: &str) -> Option<(Vec<(i64, Place)>, bool)> {
        let Value::List(items) = &self.node(key)?.value else {
            return None;
        };
        let numbers = items.iter().filter_map(|item| match item.value {
            Value::Integer { value, .. } => value.map(|value| (value, item.place)),
            _ => None,
        });
        let numbers: Vec<_> = numbers.collect();
        let whole = numbers.len() == items.len();
        Some((numbers, whole))
    }

    /// The texts of an array.
    pub(super) fn list(&self, key: &str) -> Option<List<'a>> {
        let node = self.node(key)?;
        let Value::List(items) = &node.value else {
            return None;
        };
        let texts = items.iter().filter_map(|item| match &item.value {
            Value::Text(text) => Some((text.as_str(), item.place)),
            _ => None,
        });
        let texts: Vec<(&str, Place)> = texts.collect();
        Some(List {
            whole: texts.len() == items.len(),
            texts,
            place: node.place,
        })
    }

    /// A list, or the one text that stands in its place.
    pub(super) fn texts(&self, key: &str) -> Option<List<'a>> {
        self.list(key).or_else(|| {
            let (text, place) = self.text(key)?;
            Some(List {
                texts: vec![(text, place)],
                whole: true,
                place,
            })
        })
    }

    /// A table inside; absent where it is not written.
    pub(super) fn table(&self, key: &str, schema: &'static raw::Table) -> Option<Self> {
        Self::of(self.entry(key)?, schema)
    }

    /// The tables with names inside, such as all of `[target.nginx.…]`.
    pub(super) fn tables(&self, key: &str, schema: &'static raw::Table) -> Vec<(&'a str, Self)> {
        let Some(Value::Table(inner)) = self.node(key).map(|node| &node.value) else {
            return Vec::new();
        };
        let each = inner
            .entries
            .iter()
            .filter_map(|(name, entry)| Some((name.as_str(), Self::of(entry, schema)?)));
        each.collect()
    }
}
