//! How a record's bytes stand in JSON.

/// What a key or a value is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Anything: it travels as base64.
    Bytes,
    /// UTF-8 text: it travels as a JSON string.
    String,
    /// JSON: it travels as it is.
    Json,
}

impl Format {
    /// The format's name, as it stands in a pipeline's document.
    pub fn name(self) -> &'static str {
        match self {
            Format::Bytes => "bytes",
            Format::String => "string",
            Format::Json => "json",
        }
    }
}

/// What a pipeline's keys and values are said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formats {
    /// `None`: text where a key is UTF-8, else bytes.
    pub key: Option<Format>,
    /// JSON unless something else is said.
    pub value: Format,
}

impl Default for Formats {
    fn default() -> Formats {
        Formats {
            key: None,
            value: Format::Json,
        }
    }
}
