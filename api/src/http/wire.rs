//! What goes over the wire: bodies as they are read, answers as they are written, and the texts of single values.
//!
//! These types are not the engine's: a field is converted by name, so that a new one breaks the build here first.

pub(crate) mod changes;
pub(crate) mod conditions;
pub(crate) mod input;
pub(crate) mod json;
pub(crate) mod metadata;
pub(crate) mod output;
pub(crate) mod report;
pub(crate) mod schemas;
pub(crate) mod values;
