//! The design that people use today: the same HTTP contract over PostgreSQL with row locks.
//!
//! A transfer is one call of a function in the database (`schema.sql`), which takes the id, locks the two accounts with
//! `SELECT … FOR UPDATE` in the order of their ids, looks at the balance, writes both rows and commits: one round trip and one
//! commit a request. A batch is one transaction of a few statements over arrays. Statements are prepared once a connection, connections are
//! opened at the start and kept by the thread that uses them, and none is tested before it is used: all that can be had
//! without leaving the design. `benches/tests/same_answers.rs` holds its answers against those of Florin.

mod rows;
mod wire;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, io};

use actix_web::http::header;
use actix_web::{App, HttpResponse, HttpServer, web};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, PgConnection};

use rows::Done;
use wire::{Account, Id, NewAccount, NewTransfer, Refused};

/// Events that one batch may have, and bytes of its body: those of Florin.
const EVENTS_MAX: usize = 8_190;
const BODY_BYTES_MAX: usize = 16 << 20;
/// A caller is told that nobody knows what became of its request when no connection is free for so long.
const PATIENCE: Duration = Duration::from_secs(30);

async fn transfer(
    pool: web::Data<PgPool>,
    asked: web::Json<NewTransfer>,
) -> Result<HttpResponse, Refused> {
    Ok(match rows::transfer(&pool, asked.into_inner()).await? {
        Done::Created(transfer) => HttpResponse::Created()
            .insert_header((header::LOCATION, format!("/v1/transfers/{}", transfer.id)))
            .json(transfer),
        Done::Replayed(transfer) => {
            HttpResponse::Ok().insert_header(("Idempotent-Replayed", "true")).json(transfer)
        }
    })
}

async fn batch(
    pool: web::Data<PgPool>,
    asked: web::Json<Vec<NewTransfer>>,
) -> Result<HttpResponse, Refused> {
    if asked.len() > EVENTS_MAX {
        return Err(Refused::TooManyEvents);
    }
    Ok(HttpResponse::Ok().json(rows::transfers(&pool, asked.into_inner()).await?))
}

async fn accounts(
    pool: web::Data<PgPool>,
    asked: web::Json<Vec<NewAccount>>,
) -> Result<HttpResponse, Refused> {
    if asked.len() > EVENTS_MAX {
        return Err(Refused::TooManyEvents);
    }
    Ok(HttpResponse::Ok().json(rows::accounts(&pool, &asked).await?))
}

async fn account(pool: web::Data<PgPool>, id: web::Path<String>) -> Result<HttpResponse, Refused> {
    let id = Id::parse(&id).ok_or_else(|| Refused::Unreadable("the id is none".to_owned()))?;
    Ok(HttpResponse::Ok().json(Account::from(rows::account(&pool, id).await?)))
}

/// Fills an empty database.
async fn create_tables(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let there: Option<String> = sqlx::query_scalar("SELECT to_regclass('transfers')::text")
        .fetch_one(&mut connection)
        .await?;
    if there.is_none() {
        sqlx::raw_sql(include_str!("schema.sql")).execute(&mut connection).await?;
    }
    connection.close().await
}

async fn serve(address: &str, url: &str, connections: u32) -> io::Result<()> {
    let options: PgConnectOptions = url.parse().map_err(io::Error::other)?;
    create_tables(&options).await.map_err(io::Error::other)?;
    let workers = std::thread::available_parallelism()?.get();
    let each = connections.div_ceil(u32::try_from(workers).map_err(io::Error::other)?);
    let server = HttpServer::new(move || {
        // Called by each thread for itself: a connection that another thread waits for costs a wake-up more.
        let pool = PgPoolOptions::new()
            .max_connections(each)
            .min_connections(each)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(options.clone());
        let json = web::JsonConfig::default().limit(BODY_BYTES_MAX).error_handler(wire::unreadable);
        App::new()
            .app_data(web::Data::new(pool))
            .app_data(json)
            .route("/v1/transfers", web::post().to(transfer))
            .route("/v1/transfers/batch", web::post().to(batch))
            .route("/v1/accounts/batch", web::post().to(accounts))
            .route("/v1/accounts/{id}", web::get().to(account))
    })
    .workers(workers)
    .bind(address)?;
    for address in server.addrs() {
        writeln!(io::stdout(), "ready on http://{address}")?;
    }
    server.run().await
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let numbered = match words.as_slice() {
        [address, url, connections] => {
            connections.parse().ok().filter(|count| *count > 0).map(|count| (address, url, count))
        }
        _ => None,
    };
    let Some((address, url, connections)) = numbered else {
        eprintln!("usage: row_locks ADDRESS DATABASE_URL CONNECTIONS");
        return ExitCode::from(2);
    };
    match actix_web::rt::System::new().block_on(serve(address, url, connections)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("row_locks: {error}");
            ExitCode::FAILURE
        }
    }
}
