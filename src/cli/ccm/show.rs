//! How answers are shown: a table, an object line by line, PEM, or JSON. Texts of the service are freed of control
//! characters before they reach a terminal.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use crate::ccm::{Listing, Page};
use crate::cli::output::{self, BOLD};
use crate::cli::{CommandResult, Exit, Failure};
use crate::model::Timestamp;

/// Heads of a table with where their values are found in an entry, such as `distinguished_name.common_name`.
pub(super) type Columns = &'static [(&'static str, &'static str)];

/// What a command has to show.
pub(super) enum Shown {
    /// The service said that it is done, and what there is to say about it.
    Done(String),
    /// One object.
    Record(Value),
    /// Entries of a list.
    Table {
        /// As the API calls the list.
        key: &'static str,
        items: Vec<Value>,
        columns: Columns,
        /// How many the service has.
        total: Option<u64>,
        /// Whether all were asked for.
        all: bool,
    },
    /// Text as it is, with the object that `--json` shows.
    Text { text: String, json: Value },
}

impl Shown {
    pub(super) fn record(answer: &impl Serialize) -> Result<Self, Failure> {
        value(answer).map(Self::Record)
    }

    /// A list that the service gives as a whole.
    pub(super) fn list<T: Serialize>(
        key: &'static str,
        items: &[T],
        columns: Columns,
    ) -> Result<Self, Failure> {
        Ok(Self::Table {
            key,
            items: items.iter().map(value).collect::<Result<_, _>>()?,
            columns,
            total: None,
            all: true,
        })
    }

    pub(super) fn page<T: Serialize>(
        key: &'static str,
        page: &Page<T>,
        columns: Columns,
    ) -> Result<Self, Failure> {
        Ok(Self::Table {
            key,
            items: page.items.iter().map(value).collect::<Result<_, _>>()?,
            columns,
            total: Some(page.total),
            all: false,
        })
    }

    pub(super) fn listing<T: Serialize>(
        key: &'static str,
        listing: &Listing<T>,
        columns: Columns,
    ) -> Result<Self, Failure> {
        Ok(Self::Table {
            key,
            items: listing.items.iter().map(value).collect::<Result<_, _>>()?,
            columns,
            total: Some(listing.total),
            all: true,
        })
    }
}

fn value(answer: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(answer).map_err(|error| Failure::new(Exit::Bug, error.to_string()))
}

/// Prints it; notes about it go to standard error.
pub(super) fn print(shown: Shown, as_json: bool) -> CommandResult {
    match shown {
        Shown::Done(text) if as_json => output::data(&pretty(&json!({"result": text}))?),
        Shown::Done(text) => output::note(&text),
        Shown::Record(object) if as_json => output::data(&pretty(&object)?),
        Shown::Record(object) => output::data(&record(&object)),
        Shown::Text { json, .. } if as_json => output::data(&pretty(&json)?),
        Shown::Text { text, .. } => output::data(&text),
        Shown::Table {
            key,
            items,
            columns,
            total,
            all,
        } => {
            let seen = items.len() as u64;
            let missing = total.map_or(0, |total| total.saturating_sub(seen));
            if as_json {
                let mut object = serde_json::Map::new();
                object.insert("total".to_owned(), json!(total.unwrap_or(seen)));
                if all && missing > 0 {
                    object.insert("unread".to_owned(), json!(missing));
                }
                object.insert(key.to_owned(), Value::Array(items));
                output::data(&pretty(&Value::Object(object))?);
            } else {
                output::data(&table(&items, columns));
            }
            if missing > 0 && all {
                output::note(&format!(
                    "{missing} of {} are not shown: the service shows no more, however it is asked; narrow the list",
                    missing + seen
                ));
            } else if missing > 0 && !as_json {
                output::note(&format!(
                    "{seen} of {} are shown; --all shows all",
                    missing + seen
                ));
            }
        }
    }
    Ok(Exit::Done)
}

fn pretty(value: &Value) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
    text.push('\n');
    Ok(text)
}

/// Columns as wide as what is in them; the last one as wide as it is.
fn table(items: &[Value], columns: Columns) -> String {
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|item| columns.iter().map(|(_, path)| cell(item, path)).collect())
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, (head, _))| {
            let cells = rows.iter().map(|row| row[at].chars().count());
            cells.chain([head.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let head = line(columns.iter().map(|(head, _)| *head), &widths);
    let mut text = format!("{BOLD}{head}{BOLD:#}\n");
    for row in &rows {
        text.push_str(&line(row.iter().map(String::as_str), &widths));
        text.push('\n');
    }
    text
}

fn line<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.zip(widths) {
        let _ = write!(text, "{cell:width$}  ");
    }
    text.trim_end().to_owned()
}

fn cell(item: &Value, path: &str) -> String {
    let mut at = item;
    for part in path.split('.') {
        match at.get(part) {
            Some(inside) => at = inside,
            None => return "-".to_owned(),
        }
    }
    let key = path.rsplit('.').next().unwrap_or(path);
    let text = scalar(key, at);
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

/// One line for each field, those of inner objects behind their name, PEM below.
fn record(object: &Value) -> String {
    let mut lines = Vec::new();
    flatten("", object, &mut lines);
    let width = lines
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (name, value) in lines {
        if value.contains('\n') {
            let _ = write!(text, "{BOLD}{name}{BOLD:#}\n{value}");
            if !value.ends_with('\n') {
                text.push('\n');
            }
        } else {
            let _ = writeln!(text, "{BOLD}{name:width$}{BOLD:#}  {value}");
        }
    }
    text
}

fn flatten(name: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    let below = |key: &str| match name {
        "" => key.to_owned(),
        _ => format!("{name}.{key}"),
    };
    match value {
        Value::Object(object) => {
            for (key, inside) in object {
                flatten(&below(&clean(key)), inside, lines);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for (at, inside) in list.iter().enumerate() {
                flatten(&below(&(at + 1).to_string()), inside, lines);
            }
        }
        Value::Array(list) => {
            let texts: Vec<String> = list.iter().map(|one| scalar("", one)).collect();
            lines.push((name.to_owned(), texts.join(", ")));
        }
        _ => {
            let key = name.rsplit('.').next().unwrap_or(name);
            let text = match value {
                // With its line ends, since it is there to be copied.
                Value::String(text) if text.contains("-----BEGIN ") => pem(text),
                _ => scalar(key, value),
            };
            lines.push((name.to_owned(), text));
        }
    }
}

/// PEM with line ends of this system and nothing but what PEM holds.
pub(super) fn pem(text: &str) -> String {
    let text: String = text
        .chars()
        .filter(|c| *c == '\n' || !c.is_control())
        .collect();
    let mut text = text.trim_end().to_owned();
    text.push('\n');
    text
}

/// A value in a line; moments, which PCA counts in milliseconds, as people write them.
fn scalar(key: &str, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => clean(text),
        Value::Number(number) => match number.as_i64() {
            Some(millis) if is_moment(key) && millis >= FIRST_MOMENT => {
                Timestamp(millis / 1000).to_string()
            }
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn is_moment(key: &str) -> bool {
    key.ends_with("_time") || matches!(key, "not_before" | "not_after")
}

fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Milliseconds: 1973, so that a number of anything else is not taken for a moment.
const FIRST_MOMENT: i64 = 100_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_what_is_in_it() {
        let items = [
            json!({"id": "scs1", "name": "a\u{1b}[31mb", "dn": {"cn": "x"}}),
            json!({"id": "scs1600313391074", "dn": {"cn": ""}}),
        ];
        let text = table(&items, &[("ID", "id"), ("NAME", "name"), ("CN", "dn.cn")]);
        let text = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(
            text,
            "ID                NAME     CN\n\
             scs1              a [31mb  x\n\
             scs1600313391074  -        -\n"
        );
    }

    #[test]
    fn a_record_shows_moments_inner_objects_and_pem() {
        let object = json!({
            "create_time": 1_646_623_375_000_i64, "path_length": 7, "enabled": true,
            "distinguished_name": {"common_name": "x"}, "list": [{"a": 1}],
            "csr": "-----BEGIN X-----\r\nAA\r\n-----END X-----",
        });
        let text = record(&object);
        let text = anstream::adapter::strip_str(&text).to_string();
        for line in [
            "create_time                     2022-03-07T03:22:55Z",
            "distinguished_name.common_name  x",
            "list.1.a                        1",
            "csr\n-----BEGIN X-----\nAA\n-----END X-----\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
