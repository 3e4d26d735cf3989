//! The protocol against a real Redis.

mod form;
mod model;
mod near;
mod protocol;
mod trouble;
mod world;
