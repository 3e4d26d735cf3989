//! Query parameters and path parts, read as strictly as bodies: an unknown or repeated one is refused.

use std::borrow::Cow;
use std::fmt::Write;

use actix_web::http::header::HeaderName;
use florin_engine::{Code, JournalSeq, LedgerId, Timestamp};
use florin_persistence::store::{MetadataEquals, TimeRange};

use super::error::{ApiError, Fault, FaultCode};
use super::exchange::Exchange;
use super::wire::values::{self, ValueFault};

const FLORIN_MIN_SEQ: HeaderName = HeaderName::from_static("florin-min-seq");
/// Entries of a page when `limit` is absent.
pub(crate) const LIMIT_DEFAULT: u64 = 50;
/// Entries of a page at most.
pub(crate) const LIMIT_MAX: u64 = 1000;

/// Entries of metadata that a list can be asked for at once.
const METADATA_MAX: usize = 8;

/// The query of a request. Each parameter is taken out by its name; what is left over at the end is unknown.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    known: Vec<&'static str>,
}

/// What lists of accounts and of transfers can both be asked for.
#[derive(Debug)]
pub(crate) struct Properties {
    /// Of this ledger.
    pub(crate) ledger: Option<LedgerId>,
    /// Of this code.
    pub(crate) code: Option<Code>,
    /// With this reference.
    pub(crate) user_data_128: Option<u128>,
    /// With this reference.
    pub(crate) user_data_64: Option<u64>,
    /// With this reference.
    pub(crate) user_data_32: Option<u32>,
    /// Decided in this range.
    pub(crate) time: TimeRange,
    /// With all of these entries of metadata.
    pub(crate) metadata: Vec<MetadataEquals>,
}

impl<'a> Query<'a> {
    /// Splits a query into its parameters.
    pub(crate) fn read(query: &'a str) -> Result<Query<'a>, ApiError> {
        let mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| malformed("query"))?;
            let value = decode(value).ok_or_else(|| malformed(name.to_string()))?;
            if pairs.iter().any(|(taken, _)| *taken == name) {
                return Err(ApiError::InvalidParameter(Fault::new(
                    name.into_owned(),
                    FaultCode::DuplicateParameter,
                    "stands twice",
                )));
            }
            pairs.push((name, value));
        }
        Ok(Query { pairs, known: Vec::new() })
    }

    /// Takes out the text of a parameter.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<Cow<'a, str>> {
        self.known.push(name);
        let at = self.pairs.iter().position(|(found, _)| found == name)?;
        Some(self.pairs.swap_remove(at).1)
    }

    /// Takes out a parameter.
    pub(crate) fn value<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, ValueFault>,
    ) -> Result<Option<T>, ApiError> {
        self.text(name).map(|text| read(&text).map_err(|fault| invalid(name, fault))).transpose()
    }

    /// Takes out an id.
    pub(crate) fn id(&mut self, name: &'static str) -> Result<Option<u128>, ApiError> {
        self.value(name, values::id_text)
    }

    /// Takes out a reference of the caller's of 128 bits.
    pub(crate) fn data_128(&mut self, name: &'static str) -> Result<Option<u128>, ApiError> {
        self.value(name, values::data_128_text)
    }

    /// Takes out an integer from 0 to `max`.
    pub(crate) fn integer(
        &mut self,
        name: &'static str,
        max: u64,
    ) -> Result<Option<u64>, ApiError> {
        self.value(name, |text| values::bounded(text, max))
    }

    /// Takes out a time.
    pub(crate) fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>, ApiError> {
        self.value(name, values::time_text)
    }

    /// Takes out `from` and `to`.
    pub(crate) fn time_range(&mut self) -> Result<TimeRange, ApiError> {
        Ok(TimeRange { from: self.time("from")?, to: self.time("to")? })
    }

    /// Takes out what all lists can be asked for.
    pub(crate) fn properties(&mut self) -> Result<Properties, ApiError> {
        Ok(Properties {
            ledger: self.integer("ledger", u64::from(u32::MAX))?.map(|id| LedgerId(id as u32)),
            code: self.integer("code", u64::from(u16::MAX))?.map(|code| Code(code as u16)),
            user_data_128: self.data_128("user_data_128")?,
            user_data_64: self.integer("user_data_64", u64::MAX)?,
            user_data_32: self.integer("user_data_32", u64::from(u32::MAX))?.map(|it| it as u32),
            time: self.time_range()?,
            metadata: self.metadata()?,
        })
    }

    /// Takes out what metadata has to have: each `metadata[KEY]=VALUE`.
    pub(crate) fn metadata(&mut self) -> Result<Vec<MetadataEquals>, ApiError> {
        fn key(name: &str) -> Option<&str> {
            name.strip_prefix("metadata[")?.strip_suffix(']')
        }
        self.known.push("metadata[KEY]");
        let (asked, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pairs).into_iter().partition(|(name, _)| key(name).is_some());
        self.pairs = others;
        if let Some((name, _)) = asked.get(METADATA_MAX) {
            return Err(ApiError::InvalidParameter(Fault::new(
                name.to_string(),
                FaultCode::OutOfRange,
                format!(
                    "is one too many: at most {METADATA_MAX} entries of metadata can be asked for"
                ),
            )));
        }
        let equals = |(name, value): (Cow<'_, str>, Cow<'_, str>)| MetadataEquals {
            key: key(&name).unwrap_or_default().to_owned(),
            value: value.into_owned(),
        };
        Ok(asked.into_iter().map(equals).collect())
    }

    /// Takes out the entries of a page.
    pub(crate) fn limit(&mut self) -> Result<u32, ApiError> {
        self.limit_within(LIMIT_DEFAULT, LIMIT_MAX)
    }

    /// Takes out the entries of a page that may have another number of them.
    pub(crate) fn limit_within(&mut self, default: u64, max: u64) -> Result<u32, ApiError> {
        let limit = self.value("limit", |text| {
            values::bounded(text, max).ok().filter(|limit| *limit > 0).ok_or_else(|| {
                let detail = format!("must be an integer from 1 to {max}");
                ValueFault::new(FaultCode::OutOfRange, detail)
            })
        })?;
        Ok(limit.unwrap_or(default) as u32)
    }

    /// Takes out one of several words; the first when the parameter is absent.
    pub(crate) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&'static str, T)],
    ) -> Result<Option<T>, ApiError> {
        self.value(name, |text| {
            let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
            found.ok_or_else(|| {
                let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                ValueFault::new(
                    FaultCode::InvalidValue,
                    format!("must be one of: {}", known.join(", ")),
                )
            })
        })
    }

    /// Refuses what nobody has taken out.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        let Some((unknown, _)) = self.pairs.into_iter().next() else {
            return Ok(());
        };
        let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
        Err(ApiError::InvalidParameter(Fault::new(
            unknown.into_owned(),
            FaultCode::UnknownParameter,
            format!("is no parameter here; known are: {known}"),
        )))
    }
}

fn malformed(name: impl Into<Cow<'static, str>>) -> ApiError {
    ApiError::InvalidParameter(Fault::new(
        name,
        FaultCode::Malformed,
        "is not percent-encoded UTF-8",
    ))
}

fn invalid(name: &'static str, fault: ValueFault) -> ApiError {
    ApiError::InvalidParameter(Fault::new(name, fault.code, fault.detail))
}

/// Undoes percent-encoding; a plus is a space.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// Percent-encodes a part of a path or a query.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes whatever is written");
        }
    }
    encoded
}

impl Exchange {
    /// The query of the request.
    pub(crate) fn query(&self) -> Result<Query<'_>, ApiError> {
        Query::read(self.request.query_string())
    }

    /// Refuses any query.
    pub(crate) fn no_query(&self) -> Result<(), ApiError> {
        if self.request.query_string().is_empty() { Ok(()) } else { self.query()?.finish() }
    }

    /// The id in the path.
    pub(crate) fn path_id(&self) -> Result<u128, ApiError> {
        let text = self.path_part("id")?;
        values::id_text(&text).map_err(|fault| invalid("id", fault))
    }

    /// The number of the ledger in the path.
    pub(crate) fn path_ledger(&self) -> Result<LedgerId, ApiError> {
        let text = self.path_part("id")?;
        let id = values::bounded(&text, u64::from(u32::MAX));
        id.map(|id| LedgerId(id as u32)).map_err(|fault| invalid("id", fault))
    }

    /// A part of the path.
    pub(crate) fn path_part(&self, name: &'static str) -> Result<Cow<'_, str>, ApiError> {
        let text = self.request.match_info().get(name).unwrap_or_default();
        // A plus means itself in a path.
        if !text.contains('%') {
            return Ok(Cow::Borrowed(text));
        }
        decode(&text.replace('+', "%2B"))
            .map(|text| Cow::Owned(text.into_owned()))
            .ok_or_else(|| malformed(name))
    }

    /// The position that the answer has to cover, where the query can say nothing else.
    pub(crate) fn only_min_seq(&self) -> Result<Option<JournalSeq>, ApiError> {
        let mut query = self.query()?;
        let min_seq = self.min_seq(&mut query)?;
        query.finish()?;
        Ok(min_seq)
    }

    /// The position that the answer has to cover: the parameter `min_seq` or the header `Florin-Min-Seq`.
    pub(crate) fn min_seq(&self, query: &mut Query<'_>) -> Result<Option<JournalSeq>, ApiError> {
        let parameter = query.integer("min_seq", u64::MAX)?;
        let header = match self.request.headers().get(FLORIN_MIN_SEQ) {
            None => None,
            Some(value) => {
                let text = value.to_str().unwrap_or_default();
                let number = values::bounded(text, u64::MAX).map_err(|fault| {
                    ApiError::InvalidHeader(Fault::new("Florin-Min-Seq", fault.code, fault.detail))
                })?;
                Some(number)
            }
        };
        // Both given: both hold.
        Ok(parameter.max(header).map(JournalSeq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: &str) {
        let read = || -> Result<String, ApiError> {
            let mut query = Query::read(query)?;
            let shown = format!(
                "{} {:?} {:?} {:?} {:?}",
                query.limit()?,
                query.integer("code", 65_535)?,
                query.id("account")?,
                query.word("order", &[("desc", 'd'), ("asc", 'a')])?,
                query.text("cursor"),
            );
            query.finish()?;
            Ok(shown)
        };
        let shown = read().unwrap_or_else(|error| match error {
            ApiError::InvalidParameter(fault) => format!("{} {:?}", fault.field, fault.code),
            error => format!("{error:?}"),
        });
        assert_eq!(shown, expected, "{query}");
    }

    #[test]
    fn queries_are_read_strictly() {
        check("", "50 None None None None");
        check("limit=1000&code=7", "1000 Some(7) None None None");
        check("order=asc&account=7&", "50 None Some(7) Some('a') None");
        check("cursor=a%2Bb+c%3d", "50 None None None Some(\"a+b c=\")");
        check("%6Cimit=3", "3 None None None None");
        check("limit=0", "limit OutOfRange");
        check("limit=1001", "limit OutOfRange");
        check("limit=", "limit OutOfRange");
        check("limit=-1", "limit OutOfRange");
        check("code=65536", "code OutOfRange");
        check("code=1.0", "code OutOfRange");
        check("account=x", "account NotAnId");
        check("order=up", "order InvalidValue");
        check("limit=1&limit=1", "limit DuplicateParameter");
        check("limt=1", "limt UnknownParameter");
        check("limit", "limit OutOfRange");
        check("cursor=%zz", "cursor Malformed");
        check("cursor=%ff", "cursor Malformed");
        check("%zz=1", "query Malformed");
    }

    #[test]
    fn links_are_encoded() {
        assert_eq!(encode("a+b/ü="), "a%2Bb%2F%C3%BC%3D");
        assert_eq!(decode(&encode("a+b/ü=")).unwrap(), "a+b/ü=");
    }
}
