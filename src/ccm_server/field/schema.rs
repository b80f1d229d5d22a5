//! Declared fields as JSON schemas, for the description of the API.

use serde_json::{Map, Value, json};

use crate::ccm_server::field::{Field, Kind};

impl Field {
    /// Its name on the wire, the reference's spelling.
    pub(in crate::ccm_server) const fn name(&self) -> &'static str {
        self.name
    }

    /// The other spelling that is taken.
    pub(in crate::ccm_server) const fn other_name(&self) -> Option<&'static str> {
        self.alias
    }

    /// Whether its absence is refused.
    pub(in crate::ccm_server) const fn is_required(&self) -> bool {
        self.required
    }

    /// What it may hold, with the code for what is not so, where it has one of its own.
    pub(in crate::ccm_server) fn schema(&self) -> Value {
        let mut schema = match self.kind {
            Kind::Text { min, max } => {
                json!({"type": "string", "minLength": min, "maxLength": max})
            }
            Kind::Form { wanted, .. } => {
                json!({"type": "string", "description": format!("Must be {wanted}.")})
            }
            Kind::Integer { min, max } => {
                json!({"type": "integer", "format": "int64", "minimum": min, "maximum": max})
            }
            Kind::Numbers(of) => json!({"type": "integer", "enum": of}),
            Kind::Boolean => json!({"type": "boolean"}),
            Kind::Choice(of) => json!({"type": "string", "enum": of}),
            Kind::Object(fields) => object(fields),
            Kind::Objects { fields, max } => {
                json!({"type": "array", "maxItems": max, "items": object(fields)})
            }
            Kind::Choices { of, max } => {
                json!({"type": "array", "maxItems": max, "items": {"type": "string", "enum": of}})
            }
            Kind::Texts { least, most, max } => {
                let text = json!({"type": "string", "minLength": least, "maxLength": most});
                json!({"type": "array", "maxItems": max, "items": text})
            }
        };
        if self.nullable {
            schema["type"] = json!([schema["type"], "null"]);
        }
        if let Some(code) = self.code {
            schema["x-error-code"] = code.name.into();
        }
        schema
    }
}

/// An object with these fields; others are ignored, as the reference does.
pub(in crate::ccm_server) fn object(fields: &[Field]) -> Value {
    let mut properties = Map::new();
    for field in fields {
        properties.insert(field.name.to_owned(), field.schema());
        if let Some(alias) = field.alias {
            let mut other = field.schema();
            other["deprecated"] = true.into();
            properties.insert(alias.to_owned(), other);
        }
    }
    // One of two spellings is enough, which `required` cannot say.
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| field.required && field.alias.is_none())
        .map(|field| field.name)
        .collect();
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}
