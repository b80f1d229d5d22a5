//! The codes of problems: stable, documented in `renewd.toml(5)`, never used for anything else once given.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The code of a problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// As it is shown, such as `CFG012`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

codes! {
    /// A file or directory cannot be read.
    Unreadable = "CFG001",
    /// A file is too large, or there are too many.
    TooLarge = "CFG002",
    /// A file is not UTF-8.
    NotText = "CFG003",
    /// A file is not TOML.
    Syntax = "CFG004",
    /// Others may change a file.
    Permissions = "CFG005",
    /// A key or table is given twice in one file.
    Duplicate = "CFG006",
    /// There is no such key or table.
    UnknownKey = "CFG010",
    /// A value of another type is needed.
    WrongType = "CFG011",
    /// A certificate names an issuer that is defined nowhere.
    UnknownIssuer = "CFG012",
    /// A certificate names a target that is defined nowhere.
    UnknownTarget = "CFG013",
    /// A key that must be there is not.
    Missing = "CFG014",
    /// A table's name cannot be used.
    BadId = "CFG015",
    /// Two tables of different kinds have one name.
    SameName = "CFG016",
    /// Defined and used by nothing.
    Unused = "CFG017",
    /// Not one of the words that are allowed.
    UnknownWord = "CFG018",
    /// A length of time cannot be read or is out of range.
    Duration = "CFG019",
    /// A text is empty, too long, or holds characters that do not belong there.
    Text = "CFG020",
    /// A setting has no effect beside another.
    NoEffect = "CFG021",
    /// The schedule cannot be read or never fires.
    Schedule = "CFG022",
    /// A maintenance window cannot be read, or the budget of reloads is out of range.
    Pacing = "CFG023",
    /// A name cannot be in a certificate.
    BadName = "CFG030",
    /// A list has something twice.
    Repeated = "CFG031",
    /// The common name does not fit.
    CommonName = "CFG032",
    /// When to renew does not fit.
    Renewal = "CFG033",
    /// Issuer, key and order do not go together.
    Combination = "CFG034",
    /// The issuer does not offer this kind of key.
    KeyAlgorithm = "CFG035",
    /// A field of the subject does not fit.
    Subject = "CFG036",
    /// More names than the issuer takes.
    TooManyNames = "CFG037",
    /// What may be bought does not fit, or does not fit the names of a certificate.
    Purchase = "CFG038",
    /// Who applies for public certificates is not said, or not in a form that the CA takes.
    Applicant = "CFG039",
    /// An endpoint is no URL, or not a safe one.
    Endpoint = "CFG040",
    /// An issuer has no credentials, or two kinds of them.
    Credentials = "CFG041",
    /// A secret is written into the policy.
    LiteralSecret = "CFG042",
    /// A reference to a secret cannot be read.
    Reference = "CFG043",
    /// A command cannot be run as written.
    Command = "CFG050",
    /// How a target is proven does not fit.
    Probe = "CFG051",
    /// A path cannot be used.
    Path = "CFG052",
    /// Two files would be written to one place.
    Clash = "CFG053",
    /// Owner, group or mode does not fit.
    Attributes = "CFG054",
    /// A target writes nothing.
    NoExport = "CFG055",
    /// How alerts are to leave the host does not fit.
    Channel = "CFG060",
    /// What is to be watched does not fit.
    Watch = "CFG061",
    /// A certificate or an issuer names a validation that is defined nowhere.
    UnknownValidation = "CFG070",
    /// How domains are proven does not fit.
    Validation = "CFG071",
    /// Where in the cloud certificates go does not fit, or this certificate cannot go there.
    Push = "CFG072",
    /// A certificate names a place of the cloud that is defined nowhere.
    UnknownPush = "CFG073",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
