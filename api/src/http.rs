//! STUB: the HTTP side, answering only that it is ready.
use std::io;
use std::net::TcpListener;

use actix_web::{App, HttpResponse, HttpServer, dev::Server, web};
use florin_actors::{Durability, Florin};

pub(crate) struct HttpConfig {
    pub(crate) workers: usize,
    pub(crate) body_bytes: usize,
    pub(crate) batch_body_bytes: usize,
    pub(crate) durability: Durability,
}

pub(crate) fn run(
    _florin: Florin,
    config: HttpConfig,
    listener: TcpListener,
) -> io::Result<Server> {
    let _ = (config.body_bytes, config.batch_body_bytes, config.durability);
    let server = HttpServer::new(|| {
        App::new()
            .route(
                "/readyz",
                web::get().to(|| async { HttpResponse::Ok().body("{\"status\":\"ready\"}") }),
            )
            .route(
                "/slow",
                web::get().to(|| async {
                    actix_web::rt::time::sleep(std::time::Duration::from_secs(3)).await;
                    HttpResponse::Ok().body("slow")
                }),
            )
    })
    .workers(config.workers)
    .disable_signals()
    .shutdown_timeout(30)
    .listen(listener)?
    .run();
    Ok(server)
}
