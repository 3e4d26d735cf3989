//! What `deploy/build` trains with works: it takes minutes to get that far.

use std::process::Command;

use florin_tests::server::binary;

#[test]
fn the_program_that_is_shipped_can_be_trained() {
    let trained = Command::new(env!("CARGO_BIN_EXE_train"))
        .arg("1")
        .env("FLORIN_BIN", binary())
        .env("EMPTY_HANDLER_BIN", env!("CARGO_BIN_EXE_empty_handler"))
        .output();
    let trained = trained.expect("it can be started");
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
}
