//! The yardstick: an HTTP server that reads the same JSON as a transfer, or the same id as a read of an account, and does nothing
//! with it.
//!
//! It answers a fixed body, as long as the one that Florin answers, so that what is left between the two is what the ledger
//! does: deciding, journaling, waiting for the disk, or asking the cache. `benches/http.sh` and `benches/readers.sh` drive both
//! with the same load.

use std::io::Write;
use std::process::ExitCode;
use std::{env, fs, io};

use actix_web::http::header::ContentType;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde::Deserialize;

/// What the load generator sends, read into fields of the same kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    debit_account_id: u64,
    credit_account_id: u64,
    amount: String,
}

async fn transfer(body: web::Json<Transfer>, answer: web::Data<String>) -> HttpResponse {
    let transfer = body.into_inner();
    // Looked at, so that reading them can not be left out.
    if transfer.debit_account_id == transfer.credit_account_id || transfer.amount.is_empty() {
        return HttpResponse::UnprocessableEntity().finish();
    }
    HttpResponse::Created().content_type(ContentType::json()).body(answer.get_ref().clone())
}

async fn account(id: web::Path<u64>, answer: web::Data<String>) -> HttpResponse {
    if id.into_inner() == 0 {
        return HttpResponse::NotFound().finish();
    }
    HttpResponse::Ok().content_type(ContentType::json()).body(answer.get_ref().clone())
}

async fn serve(address: &str, answer: String) -> io::Result<()> {
    let answer = web::Data::new(answer);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(answer.clone())
            .route("/v1/transfers", web::post().to(transfer))
            .route("/v1/accounts/{id}", web::get().to(account))
    })
    .bind(address)?;
    for address in server.addrs() {
        writeln!(io::stdout(), "ready on http://{address}")?;
    }
    server.run().await
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let [address, answer] = words.as_slice() else {
        eprintln!("usage: empty_handler ADDRESS FILE_WITH_THE_ANSWER");
        return ExitCode::from(2);
    };
    let served = fs::read_to_string(answer)
        .and_then(|answer| actix_web::rt::System::new().block_on(serve(address, answer)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("empty_handler: {error}");
            ExitCode::FAILURE
        }
    }
}
