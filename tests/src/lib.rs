//! The harness of the black-box tests: it starts the real binary and speaks to it as a client would.
//!
//! In reading order: [`server`] runs the program on a directory of its own, [`http`] asks and reads answers, [`wire`] writes
//! bytes that no decent client would, [`bank`] puts it into the words of the domain, [`load`] keeps accounts of what a crowd
//! of clients was told, [`witness`] writes down what clients did and when, for [`history`] to check, [`postgres`] and [`redis`] are servers of its own, to serve and to break, [`proxy`] breaks the way to them, [`fault`] and [`small_disk`] are disks that fail and fill, [`compare`] and [`random`] serve
//! them all.

pub mod bank;
pub mod compare;
pub mod fault;
pub mod history;
pub mod http;
pub mod load;
pub mod postgres;
pub mod proxy;
pub mod random;
pub mod redis;
pub mod server;
pub mod small_disk;
pub mod wire;
pub mod witness;
