//! URLs, files and text that stands elsewhere.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path as FilePath, PathBuf};

use hyper::Uri;

use crate::config::document::TextDoc;
use crate::config::hidden::is_hidden;
use crate::config::path::Path;
use crate::config::problem::{Code, Report};
use crate::function::{check_header, check_url};
use crate::http::AddressPolicy;

/// Longer text than this is no secret.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// A URL that can be called.
pub(super) fn url(text: &str, path: &Path, policy: &AddressPolicy, report: &mut Report<'_>) -> Option<Uri> {
    let checked = match text.trim().parse::<Uri>() {
        Ok(url) => check_url(&url).and_then(|()| permitted(&url, policy)).map(|()| url),
        Err(error) => Err(format!("this is no URL ({error}), expected http://… or https://…")),
    };
    match checked {
        Ok(url) => Some(url),
        Err(message) => {
            report.value(path, Code::InvalidValue, message);
            None
        }
    }
}

/// An address in the URL itself is known before anything is resolved.
fn permitted(url: &Uri, policy: &AddressPolicy) -> Result<(), String> {
    let host = url.host().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) => policy.permit(address).map_err(|denied| denied.to_string()),
        Err(_) => Ok(()),
    }
}

/// Headers that a user sets.
pub(super) fn headers(
    headers: &BTreeMap<String, TextDoc>,
    path: &Path,
    base: &FilePath,
    report: &mut Report<'_>,
) -> Vec<(String, String)> {
    let mut checked = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let path = path.key(name);
        let Some(value) = text(value, &path, base, report) else {
            continue;
        };
        match check_header(name, &value) {
            Ok(_) => checked.push((name.clone(), value)),
            Err(message) => report.value(&path, Code::InvalidValue, message),
        }
    }
    checked
}

/// Text, from wherever it stands. What it says is in no message.
pub(super) fn text(doc: &TextDoc, path: &Path, base: &FilePath, report: &mut Report<'_>) -> Option<String> {
    let found = match doc {
        TextDoc::Here(text) if is_hidden(text) => Err(format!(
            "found {text}, which is shown instead of a secret to who may not see it; expected the secret, or {{secret: NAME}}"
        )),
        TextDoc::Here(text) => return Some(text.clone()),
        TextDoc::Elsewhere { env: Some(name), .. } => from_environment(name),
        TextDoc::Elsewhere { file: Some(file), .. } => from_file(&base.join(file)),
        TextDoc::Elsewhere { secret: Some(name), .. } => report.secret(name),
        // A reference without any of them was refused with the document's shape.
        TextDoc::Elsewhere { .. } => return None,
    };
    match found {
        Ok(text) => {
            report.refer(&text);
            Some(text)
        }
        Err(message) => {
            report.value(path, Code::InvalidValue, message);
            None
        }
    }
}

fn from_environment(name: &str) -> Result<String, String> {
    match std::env::var(name) {
        Ok(text) => Ok(text),
        Err(std::env::VarError::NotPresent) => Err(format!("the environment variable {name} is not set")),
        Err(std::env::VarError::NotUnicode(_)) => Err(format!("the environment variable {name} is not UTF-8")),
    }
}

fn from_file(file: &FilePath) -> Result<String, String> {
    let shown = file.display();
    let length = std::fs::metadata(file)
        .map_err(|error| format!("{shown} can't be read: {error}"))?
        .len();
    if length > MAX_SECRET_BYTES {
        return Err(format!(
            "{shown} has {length} bytes, expected at most {MAX_SECRET_BYTES}"
        ));
    }
    let text = std::fs::read_to_string(file).map_err(|error| format!("{shown} can't be read: {error}"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// A file that can be read.
pub(super) fn file(name: Option<&String>, path: &Path, base: &FilePath, report: &mut Report<'_>) -> Option<PathBuf> {
    let file = base.join(name?);
    match std::fs::File::open(&file) {
        Ok(_) => Some(file),
        Err(error) => {
            report.value(
                path,
                Code::InvalidValue,
                format!("{} can't be read: {error}", file.display()),
            );
            None
        }
    }
}
