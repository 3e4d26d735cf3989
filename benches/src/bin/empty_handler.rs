//! The yardstick: an HTTP server that reads the same JSON as a transfer, a batch of them or the id of an account, and does nothing
//! with it.
//!
//! It answers fixed bodies, as long as those that Florin answers, so that what is left between the two is what the ledger
//! does: deciding, journaling, waiting for the disk, or asking the cache. `benches/http/run` and `benches/readers.sh` drive both
//! with the same load.

use std::io::Write;
use std::process::ExitCode;
use std::{env, fs, io};

use actix_web::http::header::ContentType;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde::Deserialize;

/// Bytes that a batch's body may have: as many as in Florin.
const BODY_BYTES_MAX: usize = 16 << 20;

/// What the load generator sends, read into fields of the same kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    id: String,
    debit_account_id: u64,
    credit_account_id: u64,
    amount: String,
}

impl Transfer {
    /// Looked at, so that reading them can not be left out.
    fn is_possible(&self) -> bool {
        self.debit_account_id != self.credit_account_id
            && !self.amount.is_empty()
            && !self.id.is_empty()
    }
}

/// What is answered to one request, and to a batch.
struct Answers {
    one: String,
    batch: String,
}

async fn transfer(body: web::Json<Transfer>, answers: web::Data<Answers>) -> HttpResponse {
    if !body.is_possible() {
        return HttpResponse::UnprocessableEntity().finish();
    }
    HttpResponse::Created().content_type(ContentType::json()).body(answers.one.clone())
}

async fn batch(body: web::Json<Vec<Transfer>>, answers: web::Data<Answers>) -> HttpResponse {
    if !body.iter().all(Transfer::is_possible) {
        return HttpResponse::UnprocessableEntity().finish();
    }
    HttpResponse::Ok().content_type(ContentType::json()).body(answers.batch.clone())
}

async fn account(id: web::Path<u64>, answers: web::Data<Answers>) -> HttpResponse {
    if id.into_inner() == 0 {
        return HttpResponse::NotFound().finish();
    }
    HttpResponse::Ok().content_type(ContentType::json()).body(answers.one.clone())
}

async fn serve(address: &str, answers: Answers) -> io::Result<()> {
    let answers = web::Data::new(answers);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(answers.clone())
            .app_data(web::JsonConfig::default().limit(BODY_BYTES_MAX))
            .route("/v1/transfers", web::post().to(transfer))
            .route("/v1/transfers/batch", web::post().to(batch))
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
    let [address, one, batch] = words.as_slice() else {
        eprintln!(
            "usage: empty_handler ADDRESS FILE_WITH_THE_ANSWER FILE_WITH_THE_ANSWER_TO_A_BATCH"
        );
        return ExitCode::from(2);
    };
    let answers = fs::read_to_string(one)
        .and_then(|one| Ok(Answers { one, batch: fs::read_to_string(batch)? }));
    let served =
        answers.and_then(|answers| actix_web::rt::System::new().block_on(serve(address, answers)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("empty_handler: {error}");
            ExitCode::FAILURE
        }
    }
}
