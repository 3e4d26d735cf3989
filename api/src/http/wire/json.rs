//! Reading bodies strictly, and finding out what is wrong with one that can not be read.
//!
//! A body is read into objects whose fields are still raw text, so that ids and amounts keep their digits, and so that a
//! fault in one of them is named by this program and not by the JSON library. Only a body that fails is read a second time,
//! to find the path at which it does.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use crate::http::error::{ApiError, Fault, FaultCode};

/// Events in one command.
pub(crate) const EVENTS_MAX: usize = 8190;
/// The words by which [`Events`] says that there are too many, among the other errors of the JSON library.
const TOO_MANY_EVENTS: &str = "too many events";

/// Up to [`EVENTS_MAX`] events: reading stops at the first one too many, so that a body can not swell in memory.
#[derive(Debug)]
pub(crate) struct Events<T>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Events<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Events<T>, D::Error> {
        struct Elements<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = Events<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of events")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Events<T>, A::Error> {
                let mut events = Vec::new();
                while let Some(event) = seq.next_element()? {
                    if events.len() == EVENTS_MAX {
                        return Err(de::Error::custom(TOO_MANY_EVENTS));
                    }
                    events.push(event);
                }
                Ok(Events(events))
            }
        }
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

/// Where a JSON text stands, which decides how the path of a fault is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The body is one object: paths are told as they are.
    Object,
    /// The body is an array of events: its index is told apart from the path.
    Batch,
    /// The text is the value of this field of the body.
    Field(&'static str),
}

/// Reads a whole text, or says what is wrong with it and where.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a [u8], place: Place) -> Result<T, ApiError> {
    serde_json::from_slice(text).map_err(|error| diagnose::<T>(text, &error, place))
}

#[cold]
fn diagnose<'a, T: Deserialize<'a>>(
    text: &'a [u8],
    error: &serde_json::Error,
    place: Place,
) -> ApiError {
    let message = error.to_string();
    if message.starts_with(TOO_MANY_EVENTS) {
        let field = match place {
            Place::Field(field) => Some(field),
            Place::Object | Place::Batch => None,
        };
        return ApiError::TooManyEvents { field, events_max: EVENTS_MAX };
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let at = match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Err(error) => Location::of(error.path(), place),
        // What comes after a whole value has no path.
        Ok(_) => Location { index: None, path: String::new() },
    };
    match error.classify() {
        Category::Data => data_fault(&message, at),
        Category::Syntax | Category::Eof | Category::Io => ApiError::MalformedJson {
            index: at.index,
            fault: Fault::new(at.path, FaultCode::Malformed, format!("No JSON: {message}.")),
        },
    }
}

/// Tells a fault that the JSON library found in the shape of well-formed text.
fn data_fault(message: &str, at: Location) -> ApiError {
    let named = |prefix: &str| {
        let name = message.strip_prefix(prefix)?.strip_prefix('`')?;
        let (name, rest) = name.split_once('`')?;
        Some((name.to_owned(), rest.to_owned()))
    };
    // Without the position, which means nothing in a text that this program has cut out.
    let reason = message.split(" at line ").next().unwrap_or(message).to_owned();
    let (path, code, detail) = if let Some((name, rest)) = named("unknown field ") {
        let known = rest.split(" at line ").next().unwrap_or_default().replace('`', "");
        let known = known.trim_start_matches(", expected one of ").to_owned();
        (at.member(&name), FaultCode::UnknownField, format!("is no field here; known are: {known}"))
    } else if let Some((name, _)) = named("duplicate field ") {
        (at.member(&name), FaultCode::DuplicateField, "stands twice".to_owned())
    } else {
        let path = if at.path.is_empty() { "body".to_owned() } else { at.path };
        (path, FaultCode::WrongType, format!("can not be read: {reason}"))
    };
    ApiError::InvalidRequest { fault: Fault::new(path, code, detail), index: at.index }
}

/// A place inside a body.
struct Location {
    index: Option<u32>,
    path: String,
}

impl Location {
    fn of(path: &Path, place: Place) -> Location {
        let mut index = None;
        let mut shown = match place {
            Place::Field(field) => field.to_owned(),
            Place::Object | Place::Batch => String::new(),
        };
        for (at, segment) in path.iter().enumerate() {
            match segment {
                Segment::Seq { index: event } if at == 0 && place == Place::Batch => {
                    index = u32::try_from(*event).ok();
                }
                Segment::Seq { index: element } => {
                    if at == 0 && place != Place::Object {
                        index = u32::try_from(*element).ok();
                    }
                    shown.push_str(&format!("[{element}]"));
                }
                Segment::Map { key } => push_member(&mut shown, key),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        Location { index, path: shown }
    }

    /// The path of the member `name` of the object here. The path may already end in it, if reading stopped at its value.
    fn member(&self, name: &str) -> String {
        let mut path = self.path.clone();
        if path != name && !path.ends_with(&format!(".{name}")) {
            push_member(&mut path, name);
        }
        path
    }
}

fn push_member(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// Declares an object whose fields are read as raw text: each at most once, no others, and from a JSON object only.
macro_rules! raw_object {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $schema:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, utoipa::ToSchema)]
        pub(crate) struct $name<'a> {
            $(
                $(#[$field_meta])*
                #[schema(value_type = $schema)]
                pub(crate) $field: Option<&'a serde_json::value::RawValue>,
            )*
        }

        impl<'de: 'a, 'a> serde::Deserialize<'de> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                const FIELDS: &[&str] = &[$(stringify!($field)),*];

                #[allow(non_camel_case_types)]
                enum Name { $($field,)* }

                impl<'de> serde::Deserialize<'de> for Name {
                    fn deserialize<D: serde::Deserializer<'de>>(name: D) -> Result<Name, D::Error> {
                        struct NameVisitor;
                        impl serde::de::Visitor<'_> for NameVisitor {
                            type Value = Name;
                            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                                f.write_str("the name of a field")
                            }
                            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Name, E> {
                                match name {
                                    $(stringify!($field) => Ok(Name::$field),)*
                                    _ => Err(E::unknown_field(name, FIELDS)),
                                }
                            }
                        }
                        name.deserialize_identifier(NameVisitor)
                    }
                }

                struct Members<'a>(std::marker::PhantomData<&'a ()>);
                impl<'de: 'a, 'a> serde::de::Visitor<'de> for Members<'a> {
                    type Value = $name<'a>;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name<'a>, A::Error> {
                        $(let mut $field: Option<&'a serde_json::value::RawValue> = None;)*
                        while let Some(member) = map.next_key()? {
                            match member {
                                $(Name::$field => {
                                    if $field.is_some() {
                                        return Err(serde::de::Error::duplicate_field(stringify!($field)));
                                    }
                                    $field = Some(map.next_value()?);
                                })*
                            }
                        }
                        Ok($name { $($field,)* })
                    }
                }
                deserializer.deserialize_map(Members(std::marker::PhantomData))
            }
        }
    };
}
pub(crate) use raw_object;
