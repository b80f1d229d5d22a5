//! Fields of requests and their limits: declared once per operation, checked before a handler sees them.
//!
//! The check normalises: numbers in strings become numbers, choices get their canonical spelling, null is as good as
//! absent, and what is not declared is dropped (the reference ignores unknown fields).

mod schema;

use serde_json::{Map, Value};

use crate::ccm_server::codes::Code;
use crate::ccm_server::failure::Failure;

pub(super) use schema::object;

/// One declared field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    /// Its name on the wire.
    name: &'static str,
    /// A second spelling, where the reference itself has two.
    alias: Option<&'static str>,
    kind: Kind,
    required: bool,
    /// Whether null is a value of its own, the empty one, and not as good as absent.
    nullable: bool,
    /// The code for a violation; absent: the service's code for a bad parameter.
    code: Option<&'static Code>,
    /// The code for a violation by one text of a list; absent: that of the field.
    each: Option<&'static Code>,
}

/// What a field may hold.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// So many characters.
    Text { min: usize, max: usize },
    /// Text in a form.
    Form {
        form: fn(&str) -> bool,
        wanted: &'static str,
    },
    /// A whole number, also in a string.
    Integer { min: i64, max: i64 },
    /// One of these numbers, also in a string.
    Numbers(&'static [i64]),
    /// `true` or `false`, also in a string.
    Boolean,
    /// One of these, in any case of letters.
    Choice(&'static [&'static str]),
    /// An object.
    Object(&'static [Field]),
    /// So many objects.
    Objects {
        fields: &'static [Field],
        max: usize,
    },
    /// So many of these texts.
    Choices {
        of: &'static [&'static str],
        max: usize,
    },
    /// So many texts of so many characters.
    Texts {
        least: usize,
        most: usize,
        max: usize,
    },
}

impl Field {
    const fn of(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            alias: None,
            kind,
            required: false,
            nullable: false,
            code: None,
            each: None,
        }
    }
    /// Text of `min` to `max` characters.
    pub(super) const fn text(name: &'static str, min: usize, max: usize) -> Self {
        Self::of(name, Kind::Text { min, max })
    }
    /// Text for which `form` holds; `wanted` completes "must be …".
    pub(super) const fn form(
        name: &'static str,
        form: fn(&str) -> bool,
        wanted: &'static str,
    ) -> Self {
        Self::of(name, Kind::Form { form, wanted })
    }
    /// A whole number from `min` to `max`.
    pub(super) const fn integer(name: &'static str, min: i64, max: i64) -> Self {
        Self::of(name, Kind::Integer { min, max })
    }
    /// One of a few numbers.
    pub(super) const fn numbers(name: &'static str, of: &'static [i64]) -> Self {
        Self::of(name, Kind::Numbers(of))
    }
    /// A truth value.
    pub(super) const fn boolean(name: &'static str) -> Self {
        Self::of(name, Kind::Boolean)
    }
    /// One of a list.
    pub(super) const fn choice(name: &'static str, of: &'static [&'static str]) -> Self {
        Self::of(name, Kind::Choice(of))
    }
    /// An object.
    pub(super) const fn object(name: &'static str, fields: &'static [Self]) -> Self {
        Self::of(name, Kind::Object(fields))
    }
    /// At most `max` objects.
    pub(super) const fn objects(name: &'static str, fields: &'static [Self], max: usize) -> Self {
        Self::of(name, Kind::Objects { fields, max })
    }
    /// At most `max` of a list.
    pub(super) const fn choices(
        name: &'static str,
        of: &'static [&'static str],
        max: usize,
    ) -> Self {
        Self::of(name, Kind::Choices { of, max })
    }
    /// At most `max` texts, each of `least` to `most` characters.
    pub(super) const fn texts(name: &'static str, least: usize, most: usize, max: usize) -> Self {
        Self::of(name, Kind::Texts { least, most, max })
    }
    /// Its absence is refused.
    pub(super) const fn required(mut self) -> Self {
        self.required = true;
        self
    }
    /// Refused with this code.
    pub(super) const fn or(mut self, code: &'static Code) -> Self {
        self.code = Some(code);
        self
    }
    /// One text of a list is refused with this code.
    pub(super) const fn each_or(mut self, code: &'static Code) -> Self {
        self.each = Some(code);
        self
    }
    /// Null is good for the empty text, where the reference says that a value can be null.
    pub(super) const fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }
    /// What its text may take in a body, each character escaped; zero for what is no text.
    pub(super) const fn most_bytes(&self) -> usize {
        match self.kind {
            Kind::Text { max, .. } => max.saturating_mul(2),
            _ => 0,
        }
    }
    /// Also known as.
    pub(super) const fn alias(mut self, name: &'static str) -> Self {
        self.alias = Some(name);
        self
    }
}

/// Fields that were checked.
#[derive(Debug, Clone, Default)]
pub(super) struct Input(Map<String, Value>);

impl Input {
    /// All of them.
    pub(super) const fn all(&self) -> &Map<String, Value> {
        &self.0
    }
    /// The text of a field; empty where it may be absent and is.
    pub(super) fn text(&self, name: &str) -> &str {
        self.optional(name).unwrap_or_default()
    }
    /// The text of a field that may be absent.
    pub(super) fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }
    /// A number.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        self.0.get(name).and_then(Value::as_i64)
    }
    /// A truth value; absent is false.
    pub(super) fn boolean(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }
    /// An object; absent is without fields.
    pub(super) fn object(&self, name: &str) -> Self {
        match self.0.get(name) {
            Some(Value::Object(fields)) => Self(fields.clone()),
            _ => Self::default(),
        }
    }
    /// Whether it was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
    /// A list of objects; absent is empty.
    pub(super) fn objects(&self, name: &str) -> Vec<Self> {
        let list = self.0.get(name).and_then(Value::as_array);
        let objects = list.into_iter().flatten().filter_map(Value::as_object);
        objects.map(|fields| Self(fields.clone())).collect()
    }
    /// A list of texts; `None` when absent.
    pub(super) fn texts(&self, name: &str) -> Option<Vec<&str>> {
        let list = self.0.get(name).and_then(Value::as_array)?;
        Some(list.iter().filter_map(Value::as_str).collect())
    }
}

/// Checks `given` against `fields`; `otherwise` is the code of fields without one.
pub(super) fn check(
    fields: &[Field],
    given: &Map<String, Value>,
    otherwise: &'static Code,
) -> Result<Input, Failure> {
    let mut checked = Map::new();
    for field in fields {
        let code = field.code.unwrap_or(otherwise);
        let refuse = |text: String| Failure::because(code, format!("{} {text}", field.name));
        let value = given
            .get(field.name)
            .or_else(|| field.alias.and_then(|alias| given.get(alias)))
            .filter(|value| !value.is_null());
        match value {
            None if field.nullable && given.contains_key(field.name) => {
                checked.insert(field.name.to_owned(), Value::String(String::new()));
            }
            None if field.required => return Err(refuse("is missing".to_owned())),
            None => {}
            Some(value) => {
                let value =
                    one(&field.kind, value, field.each.unwrap_or(code)).map_err(|problem| {
                        match problem {
                            Problem::Here(text) => refuse(text),
                            Problem::Inside(failure) => failure,
                        }
                    })?;
                checked.insert(field.name.to_owned(), value);
            }
        }
    }
    Ok(Input(checked))
}

enum Problem {
    Here(String),
    Inside(Failure),
}

fn one(kind: &Kind, value: &Value, code: &'static Code) -> Result<Value, Problem> {
    let here = |text: String| Err(Problem::Here(text));
    match *kind {
        Kind::Text { min, max } => match value.as_str() {
            None => here("must be a string".to_owned()),
            Some(text) if (min..=max).contains(&text.chars().count()) => Ok(value.clone()),
            Some(_) => here(format!("must have {min} to {max} characters")),
        },
        Kind::Form { form, wanted } => match value.as_str() {
            Some(text) if form(text) => Ok(value.clone()),
            _ => here(format!("must be {wanted}")),
        },
        Kind::Integer { min, max } => match number(value) {
            Some(number) if (min..=max).contains(&number) => Ok(number.into()),
            _ => here(format!("must be a whole number from {min} to {max}")),
        },
        Kind::Numbers(of) => match number(value) {
            Some(number) if of.contains(&number) => Ok(number.into()),
            _ => here(format!("must be one of {of:?}")),
        },
        Kind::Boolean => match (value.as_bool(), value.as_str()) {
            (Some(truth), _) => Ok(truth.into()),
            (None, Some(text)) if text.eq_ignore_ascii_case("true") => Ok(true.into()),
            (None, Some(text)) if text.eq_ignore_ascii_case("false") => Ok(false.into()),
            _ => here("must be true or false".to_owned()),
        },
        Kind::Choice(of) => choice(of, value).map_err(Problem::Here),
        Kind::Object(fields) => match value {
            Value::Object(given) => check(fields, given, code)
                .map(|input| Value::Object(input.0))
                .map_err(Problem::Inside),
            _ => here("must be an object".to_owned()),
        },
        Kind::Objects { fields, max } => match value {
            Value::Array(items) if items.len() <= max => {
                let mut checked = Vec::with_capacity(items.len());
                for item in items {
                    checked.push(one(&Kind::Object(fields), item, code)?);
                }
                Ok(Value::Array(checked))
            }
            _ => here(format!("must be a list of at most {max} objects")),
        },
        Kind::Choices { of, max } => match value {
            Value::Array(items) if items.len() <= max => {
                let checked: Result<Vec<Value>, String> =
                    items.iter().map(|item| choice(of, item)).collect();
                checked.map(Value::Array).map_err(Problem::Here)
            }
            _ => here(format!("must be a list of at most {max} words")),
        },
        Kind::Texts { least, most, max } => match value {
            Value::Array(items) if items.len() <= max => {
                let fits = |item: &Value| {
                    let count = item.as_str().map(|text| text.chars().count());
                    count.is_some_and(|count| (least..=most).contains(&count))
                };
                if items.iter().all(fits) {
                    return Ok(value.clone());
                }
                let detail = format!("each must be a string of {least} to {most} characters");
                Err(Problem::Inside(Failure::because(code, detail)))
            }
            _ => here(format!("must be a list of at most {max} strings")),
        },
    }
}

fn number(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

fn choice(of: &[&str], value: &Value) -> Result<Value, String> {
    let text = match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        // Not as good as the empty text, which some lists have.
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let fits = |word: &&&str| {
        text.as_ref()
            .is_some_and(|text| word.eq_ignore_ascii_case(text))
    };
    of.iter()
        .find(fits)
        .map(|word| (*word).into())
        .ok_or_else(|| format!("must be one of {}", of.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ccm_server::codes::code;
    use crate::ccm_server::operation::Service;

    const OWN: &Code = code("PCA.00020109");
    const OTHERWISE: &Code = code("PCA.00020001");
    const FIELDS: &[Field] = &[
        Field::text("name", 2, 4).required(),
        Field::integer("count", 1, 9).or(OWN),
        Field::boolean("sure"),
        Field::choice("kind", &["ROOT", "LEAF"]),
        Field::object(
            "inner",
            &[Field::text("unit", 1, 9).alias("units").required()],
        )
        .or(OWN),
        Field::objects("list", &[Field::integer("n", 0, 1)], 2),
        Field::choices("words", &["a", "b"], 3),
        Field::numbers("page", &[10, 20]),
        Field::texts("lines", 1, 3, 2).or(OTHERWISE).each_or(OWN),
        Field::text("note", 0, 2).nullable(),
    ];

    fn read(given: &Value) -> Result<Input, &'static str> {
        let given = given.as_object().unwrap();
        check(FIELDS, given, OTHERWISE).map_err(|failure| failure.code(Service::Pca).name)
    }

    #[test]
    fn what_is_sound_is_normalised_and_the_unknown_dropped() {
        let input = read(&json!({
            "name": "日本", "count": "7", "sure": "True", "kind": "leaf", "inner": {"units": "u", "more": 1},
            "list": [{"n": 1}, {}], "words": ["B"], "page": "20", "unheard": {"of": 1},
        }))
        .unwrap();
        assert_eq!(input.text("name"), "日本");
        assert_eq!(input.integer("count"), Some(7));
        assert!(input.boolean("sure"));
        assert_eq!(input.text("kind"), "LEAF");
        assert_eq!(input.object("inner").text("unit"), "u");
        assert_eq!(input.objects("list")[0].integer("n"), Some(1));
        assert_eq!(input.texts("words"), Some(vec!["b"]));
        assert_eq!(input.integer("page"), Some(20));
        assert!(!input.has("unheard"));
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let input = read(&json!({"name": "ab", "count": null, "inner": null})).unwrap();
        assert!(!input.has("count") && !input.has("inner"));
        assert_eq!(read(&json!({"name": null})).unwrap_err(), OTHERWISE.name);
    }

    #[test]
    fn null_is_the_empty_text_where_it_is_a_value() {
        let input = read(&json!({"name": "ab", "note": null})).unwrap();
        assert_eq!(input.optional("note"), Some(""));
        assert!(!read(&json!({"name": "ab"})).unwrap().has("note"));
    }

    #[test]
    fn a_violation_has_the_code_of_its_field_and_else_of_what_it_is_in() {
        let cases = [
            (json!({}), OTHERWISE),
            (json!({"name": "a"}), OTHERWISE),
            (json!({"name": "abcde"}), OTHERWISE),
            (json!({"name": 12}), OTHERWISE),
            (json!({"name": "ab", "count": 10}), OWN),
            (json!({"name": "ab", "count": 1.5}), OWN),
            (json!({"name": "ab", "count": []}), OWN),
            (json!({"name": "ab", "sure": 1}), OTHERWISE),
            (json!({"name": "ab", "kind": "TWIG"}), OTHERWISE),
            (json!({"name": "ab", "inner": "x"}), OWN),
            (json!({"name": "ab", "inner": {}}), OWN),
            (json!({"name": "ab", "list": [{}, {}, {}]}), OTHERWISE),
            (json!({"name": "ab", "list": [{"n": 2}]}), OTHERWISE),
            (json!({"name": "ab", "list": [1]}), OTHERWISE),
            (json!({"name": "ab", "words": ["c"]}), OTHERWISE),
            (json!({"name": "ab", "words": "a"}), OTHERWISE),
            (json!({"name": "ab", "page": 15}), OTHERWISE),
            (json!({"name": "ab", "lines": ["a", "b", "c"]}), OTHERWISE),
            (json!({"name": "ab", "lines": ["a", ""]}), OWN),
            (json!({"name": "ab", "lines": [1]}), OWN),
            (json!({"name": "ab", "note": "abc"}), OTHERWISE),
        ];
        for (given, code) in cases {
            assert_eq!(read(&given).unwrap_err(), code.name, "{given}");
        }
    }
}
