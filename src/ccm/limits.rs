//! The limits of the reference, held before anything is sent: a request that the service could only refuse never
//! leaves this host, and the refusal here says which field and what would be right.
//!
//! The macro `request` writes a request's fields, their names on the wire and their limits in one place. Where the
//! reference prints a limit that cannot be meant (chapter 4.1.4: a CSR of at most 255 characters), the next plausible
//! one of the same kind is taken.

/// A value of which only some words are known.
pub trait Word: From<String> {
    /// The words that the reference lists, as they are sent.
    const KNOWN: &'static [&'static str];

    /// Whether it is one of them.
    fn is_known(&self) -> bool;
}

/// What is wrong with a request; empty when it may be sent.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    pub(crate) fn add(&mut self, field: &str, what: impl std::fmt::Display) {
        self.0.push(format!("`{field}` {what}"));
    }

    /// All of them as one line, or nothing.
    pub(crate) fn told(self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join("; "))
    }
}

/// The body of a request.
pub(crate) trait Request: serde::Serialize {
    /// Holds each field against its limit.
    fn check(&self, problems: &mut Problems);
}

/// What a field may hold.
pub(crate) trait Limit<T: ?Sized> {
    /// Adds what is wrong.
    fn check(&self, field: &str, value: &T, problems: &mut Problems);
}

/// What is not given is within every limit.
impl<T, L: Limit<T>> Limit<Option<T>> for L {
    fn check(&self, field: &str, value: &Option<T>, problems: &mut Problems) {
        if let Some(value) = value {
            self.check(field, value, problems);
        }
    }
}

/// So many characters, both bounds included.
pub(crate) struct Chars(pub(crate) usize, pub(crate) usize);

impl Limit<str> for Chars {
    fn check(&self, field: &str, value: &str, problems: &mut Problems) {
        let Self(least, most) = *self;
        let length = value.chars().count();
        if length == 0 && least > 0 {
            problems.add(field, "must not be empty");
        } else if length < least || length > most {
            problems.add(
                field,
                format_args!("has {length} characters; {least} to {most} are allowed"),
            );
        }
    }
}

impl Limit<String> for Chars {
    fn check(&self, field: &str, value: &String, problems: &mut Problems) {
        self.check(field, value.as_str(), problems);
    }
}

impl Limit<&str> for Chars {
    fn check(&self, field: &str, value: &&str, problems: &mut Problems) {
        self.check(field, *value, problems);
    }
}

/// A country: two letters.
pub(crate) struct Country;

impl Limit<String> for Country {
    fn check(&self, field: &str, value: &String, problems: &mut Problems) {
        if value.len() != 2 || !value.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            problems.add(field, "is two letters, such as CN");
        }
    }
}

/// A number within bounds, both included.
pub(crate) struct Range(pub(crate) i64, pub(crate) i64);

impl Limit<i64> for Range {
    fn check(&self, field: &str, value: &i64, problems: &mut Problems) {
        let Self(least, most) = *self;
        if !(least..=most).contains(value) {
            problems.add(
                field,
                format_args!("is {value}; {least} to {most} are allowed"),
            );
        }
    }
}

/// A page size of SCM.
pub(crate) struct PageSize;

impl Limit<i64> for PageSize {
    fn check(&self, field: &str, value: &i64, problems: &mut Problems) {
        if ![10, 20, 50].contains(value) {
            problems.add(field, format_args!("is {value}; 10, 20 and 50 are allowed"));
        }
    }
}

/// One of the words that the reference lists.
pub(crate) struct Known;

impl<T: Word + std::fmt::Display> Limit<T> for Known {
    fn check(&self, field: &str, value: &T, problems: &mut Problems) {
        if !value.is_known() {
            let words = T::KNOWN.join(", ");
            problems.add(field, format_args!("`{value}` is none of {words}"));
        }
    }
}

/// So many entries, each within a limit.
pub(crate) struct Each<L>(pub(crate) usize, pub(crate) usize, pub(crate) L);

impl<T, L: Limit<T>> Limit<Vec<T>> for Each<L> {
    fn check(&self, field: &str, value: &Vec<T>, problems: &mut Problems) {
        let Self(least, most, limit) = self;
        if value.is_empty() && *least > 0 {
            problems.add(field, "needs at least one entry");
        } else if value.len() < *least || value.len() > *most {
            problems.add(
                field,
                format_args!("has {} entries; at most {most} are allowed", value.len()),
            );
        }
        for entry in value {
            limit.check(field, entry, problems);
        }
    }
}

/// An object with limits of its own.
pub(crate) struct Inner;

impl<T: Request> Limit<T> for Inner {
    fn check(&self, field: &str, value: &T, problems: &mut Problems) {
        let mut inside = Problems::default();
        value.check(&mut inside);
        for problem in inside.0 {
            let below = problem.strip_prefix('`').unwrap_or(&problem);
            problems.0.push(format!("`{field}.{below}"));
        }
    }
}

/// A flag that may be either.
pub(crate) struct Either;

impl Limit<bool> for Either {
    fn check(&self, _: &str, _: &bool, _: &mut Problems) {}
}

/// A flag without which nothing is accepted.
pub(crate) struct Agreed;

impl Limit<bool> for Agreed {
    fn check(&self, field: &str, value: &bool, problems: &mut Problems) {
        if !value {
            problems.add(field, "must be agreed to");
        }
    }
}

/// Whether a field goes without saying.
pub(crate) trait Given {
    fn is_absent(&self) -> bool;
}

impl<T> Given for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Given for Vec<T> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

macro_rules! always_given {
    ($($type:ty),+) => {
        $(impl Given for $type {
            fn is_absent(&self) -> bool {
                false
            }
        })+
    };
}

always_given!(String, &str, bool, i64);

impl<T: Word> Given for T {
    fn is_absent(&self) -> bool {
        false
    }
}

/// The body of a request: each field with its limit. `as "…"` is its name on the wire where that is no name for Rust;
/// what is `None` or an empty list is left out, since the service takes null for a value in places.
macro_rules! request {
    ($($(#[$doc:meta])* $name:ident $(<$life:lifetime>)? {
        $($(#[$fdoc:meta])* $field:ident $(as $wire:literal)? : $type:ty = $limit:expr;)*
    })+) => {$(
        $(#[$doc])*
        #[derive(serde::Serialize)]
        pub struct $name $(<$life>)? {
            $(
                $(#[$fdoc])*
                #[serde(skip_serializing_if = "crate::ccm::limits::Given::is_absent")]
                $(#[serde(rename = $wire)])?
                pub $field: $type,
            )*
        }

        impl $(<$life>)? $crate::ccm::limits::Request for $name $(<$life>)? {
            fn check(&self, problems: &mut $crate::ccm::limits::Problems) {
                $({
                    let name = [$($wire,)? stringify!($field)][0];
                    $crate::ccm::limits::Limit::check(&$limit, name, &self.$field, problems);
                })*
            }
        }

        impl $(<$life>)? $crate::ccm::limits::Given for $name $(<$life>)? {
            fn is_absent(&self) -> bool {
                false
            }
        }
    )+};
}

pub(crate) use request;

#[cfg(test)]
mod tests {
    use super::*;

    fn told<T: ?Sized>(limit: &impl Limit<T>, value: &T) -> String {
        let mut problems = Problems::default();
        limit.check("field", value, &mut problems);
        problems.told().unwrap_or_default()
    }

    #[test]
    fn characters_are_counted_and_not_bytes() {
        assert_eq!(told(&Chars(3, 4), "äöü"), "");
        assert_eq!(
            told(&Chars(3, 4), "äöüßé"),
            "`field` has 5 characters; 3 to 4 are allowed"
        );
        assert_eq!(told(&Chars(1, 4), ""), "`field` must not be empty");
        assert_eq!(told(&Chars(0, 4), ""), "");
    }

    #[test]
    fn what_is_not_given_is_within_every_limit() {
        assert_eq!(told(&Range(1, 3), &None::<i64>), "");
        assert_eq!(
            told(&Range(1, 3), &Some(4)),
            "`field` is 4; 1 to 3 are allowed"
        );
        assert_eq!(told(&PageSize, &20), "");
        assert!(told(&PageSize, &30).contains("10, 20 and 50"));
    }

    #[test]
    fn lists_are_held_to_their_length_and_their_entries_to_theirs() {
        let limit = Each(1, 2, Chars(1, 3));
        assert_eq!(told(&limit, &vec!["a", "b"]), "");
        assert!(told(&limit, &Vec::<&str>::new()).contains("at least one"));
        assert!(told(&limit, &vec!["a", "b", "c"]).contains("has 3 entries"));
        assert!(told(&limit, &vec!["abcd"]).contains("4 characters"));
        assert_eq!(told(&Agreed, &false), "`field` must be agreed to");
    }
}
