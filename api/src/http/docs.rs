//! What people read: the published description, its pages, and the error catalogue.

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;
use utoipa_swagger_ui::Config;

use super::catalogue::{self, Entry, Retry};
use super::error::ApiError;
use super::exchange::{Exchange, Reply};
use super::openapi::DOCUMENT;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// This description
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "documentation",
    responses((status = 200, description = "The description", body = Object)),
)]
pub(crate) async fn openapi(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    let kind = HeaderValue::from_static("application/json");
    Ok(Reply::of(StatusCode::OK, kind, Bytes::from_static(DOCUMENT.as_bytes())))
}

/// This description as a page to read and try; needs no internet
#[utoipa::path(
    get,
    path = "/docs",
    tag = "documentation",
    responses((status = 308, description = "The page is at /docs/index.html")),
)]
pub(crate) async fn index(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    let reply = Reply::of(StatusCode::PERMANENT_REDIRECT, HTML, Bytes::new());
    Ok(reply.located("/docs/index.html".to_owned()))
}

/// The page's frame; what it loads comes from this server, so that it needs no internet.
const INDEX: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Florin: the HTTP contract</title>
<link rel="stylesheet" href="./swagger-ui.css">
<link rel="icon" href="data:,">
<body style="margin:0">
<div id="swagger-ui"></div>
<script src="./swagger-ui-bundle.js"></script>
<script src="./swagger-ui-standalone-preset.js"></script>
<script src="./swagger-initializer.js"></script>
</html>
"#;

static PAGES: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    // The validator would be asked over the internet.
    Arc::new(Config::from("/openapi.json").validator_url("none").try_it_out_enabled(true))
});

/// A file of the page
#[utoipa::path(
    get,
    path = "/docs/{file}",
    tag = "documentation",
    params(("file" = String, Path, description = "The file's name")),
    responses((status = 200, description = "The file", body = String, content_type = "text/html")),
)]
pub(crate) async fn file(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let name = exchange.path_part("file")?;
    if name == "index.html" {
        return Ok(Reply::of(StatusCode::OK, HTML, Bytes::from_static(INDEX.as_bytes())));
    }
    let file = utoipa_swagger_ui::serve(&name, Arc::clone(&PAGES)).map_err(|error| {
        tracing::error!(%error, "a file of the documentation can not be shown");
        ApiError::Internal
    })?;
    let file = file.ok_or(ApiError::RouteNotFound)?;
    let kind = match file.content_type.as_str() {
        "text/html" => HTML,
        kind => HeaderValue::from_str(kind).map_err(|_| ApiError::Internal)?,
    };
    Ok(Reply::of(StatusCode::OK, kind, file.bytes.into_owned().into()))
}

/// The error catalogue: every code, what it means and what to do
#[utoipa::path(
    get,
    path = "/errors",
    tag = "documentation",
    responses((status = 200, description = "The catalogue, as JSON where the request accepts only that", content(
        (String = "text/html"),
        (Vec<Entry> = "application/json"),
    ))),
)]
pub(crate) async fn errors(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    let entries = catalogue::entries();
    if wants_json(exchange) {
        return Reply::json(StatusCode::OK, &entries);
    }
    let mut list = String::from("<table><tr><th>code<th>status<th>meaning</tr>");
    for entry in &entries {
        let Entry { code, meaning, .. } = entry;
        let statuses = statuses(entry);
        let _ = write!(
            list,
            "<tr><td><a href=\"/errors/{code}\"><code>{code}</code></a><td>{statuses}<td>{meaning}</tr>"
        );
    }
    list.push_str("</table>");
    Ok(page("Error catalogue", &list))
}

/// The page of one code, to which `type` in a problem document points
#[utoipa::path(
    get,
    path = "/errors/{code}",
    tag = "documentation",
    params(("code" = super::openapi::ErrorCode, Path, description = "The code")),
    responses((status = 200, description = "What it means and what to do, as JSON where the request accepts only that", content(
        (String = "text/html"),
        (Entry = "application/json"),
    ))),
)]
pub(crate) async fn error(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    let code = exchange.path_part("code")?;
    let entry = catalogue::entries().into_iter().find(|entry| entry.code == code);
    let entry = entry.ok_or(ApiError::RouteNotFound)?;
    if wants_json(exchange) {
        return Reply::json(StatusCode::OK, &entry);
    }
    let Entry { code, retry, title, meaning, advice, .. } = &entry;
    let retry = match retry {
        Retry::SameId => "<code>same_id</code>: the same request with the same id or key",
        Retry::NewId => "<code>new_id</code>: a new try with a new id",
        Retry::After => "<code>after</code>: the same request later",
        Retry::Never => "<code>never</code>: not before the request has changed",
    };
    let body = format!(
        "<p><code>{code}</code>, status {}<p>{meaning}<h2>What to do</h2><p>{advice}<p>Retry {retry}.<p><a href=\"/errors\">All codes</a>",
        statuses(&entry)
    );
    Ok(page(title, &body))
}

fn statuses(entry: &Entry) -> String {
    entry.statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(" or ")
}

fn wants_json(exchange: &Exchange) -> bool {
    let accept = exchange.request.headers().get(header::ACCEPT);
    accept.is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"))
}

fn page(title: &str, body: &str) -> Reply {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title} - Florin</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}\
         th,td{{text-align:left;vertical-align:top;padding:.2em 1em .2em 0}}</style>\
         <h1>{title}</h1>{body}</html>"
    );
    Reply::of(StatusCode::OK, HTML, html.into())
}
