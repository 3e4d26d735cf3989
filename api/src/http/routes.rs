//! All routes, in one place.

use std::future::Future;
use std::sync::Arc;

use actix_web::http::Method;
use actix_web::{HttpRequest, Route, guard, web};

use super::error::ApiError;
use super::exchange::{Exchange, Reply, Scope, serve};
use super::{
    History, Ledger, State, accounts, docs, forward, ledgers, ops, short, transactions, transfers,
};
use crate::telemetry::RouteMetrics;

/// The routes, ready to be set up in each worker.
pub(crate) struct Routes {
    state: Arc<State>,
    resources: Vec<Resource>,
    unknown: Arc<RouteMetrics>,
}

/// A path and what can be done there.
struct Resource {
    path: &'static str,
    scope: Scope,
    methods: Vec<(Method, Mount)>,
    other_methods: Arc<RouteMetrics>,
}

/// Makes a route for one worker.
type Mount = Box<dyn Fn() -> Route + Send + Sync>;

impl Routes {
    /// Every route. The busiest stand first, and a fixed word before a pattern that would match it.
    pub(crate) fn all(state: &Arc<State>) -> Routes {
        let mut routes = Routes::none(state);

        let ledger = Scope::Ledger;
        routes.at("/v1/transfers", ledger).post(transfers::create).history(transfers::list);
        routes.at("/transaction", ledger).post(short::transaction);
        routes.at("/process_transaction", ledger).post(short::process_transaction);
        routes.at("/v1/transfers/batch", ledger).post(transfers::create_batch);
        routes.at("/v1/transfers/{id}", ledger).get(transfers::find);
        routes.at("/v1/transactions", ledger).post(transactions::create);
        routes.at("/v1/transactions/{id}", ledger).get(transactions::find);
        routes.at("/v1/accounts", ledger).post(accounts::create).history(accounts::list);
        routes.at("/v1/accounts/batch", ledger).post(accounts::create_batch);
        routes.at("/v1/accounts/{id}", ledger).get(accounts::find);
        routes.at("/v1/accounts/{id}/transfers", ledger).history(accounts::transfers);
        routes.at("/v1/accounts/{id}/balances", ledger).history(accounts::balances);
        routes.at("/v1/ledgers", ledger).post(ledgers::create).history(ledgers::list);
        routes.at("/v1/ledgers/{id}", ledger).history(ledgers::find);
        routes.at("/account", ledger).post(short::open_account);
        routes.at("/balance/{account_id}", ledger).get(short::balance);
        routes.at("/transactions", ledger).history(short::transactions);

        let process = Scope::Process;
        routes.at("/healthz", process).get(ops::healthz);
        routes.at("/readyz", process).get(ops::readyz);
        routes.at("/metrics", process).get(ops::metrics);
        routes.at("/version", process).get(ops::version);
        routes.at("/openapi.json", process).get(docs::openapi);
        routes.at("/docs", process).get(docs::index);
        routes.at("/docs/{file}", process).get(docs::file);
        routes.at("/errors", process).get(docs::errors);
        routes.at("/errors/{code}", process).get(docs::error);

        routes
    }

    fn none(state: &Arc<State>) -> Routes {
        Routes {
            state: Arc::clone(state),
            resources: Vec::new(),
            unknown: Arc::new(RouteMetrics::new("other", "unknown")),
        }
    }

    /// Begins a path.
    fn at(&mut self, path: &'static str, scope: Scope) -> Adding<'_> {
        let other_methods = Arc::new(RouteMetrics::new("other", path));
        self.resources.push(Resource { path, scope, methods: Vec::new(), other_methods });
        let resource = self.resources.last_mut().expect("it was just pushed");
        Adding { state: &self.state, resource }
    }

    /// Sets the routes up in one worker's application.
    pub(crate) fn configure(&self, app: &mut web::ServiceConfig) {
        for resource in &self.resources {
            let mut service = web::resource(resource.path);
            for (_, mount) in &resource.methods {
                service = service.route(mount());
            }
            let allow = resource.allow();
            let refuse = async move |_: &mut Exchange| Err(ApiError::MethodNotAllowed { allow });
            let metrics = &resource.other_methods;
            let other = handler(&self.state, metrics, resource.scope, refuse);
            app.service(service.default_service(web::to(other)));
        }
        // What is not there has no position to tell.
        let refuse = async |_: &mut Exchange| Err(ApiError::RouteNotFound);
        app.default_service(web::to(handler(&self.state, &self.unknown, Scope::Process, refuse)));
    }

    /// Every method and path, for comparing them with the published description.
    #[cfg(test)]
    pub(crate) fn listed(&self) -> Vec<String> {
        let methods = |resource: &Resource| {
            resource
                .methods
                .iter()
                .map(|(method, _)| format!("{method} {}", resource.path))
                .collect()
        };
        self.resources.iter().flat_map(|resource| -> Vec<String> { methods(resource) }).collect()
    }
}

impl Resource {
    fn allow(&self) -> &'static str {
        let has = |method| self.methods.iter().any(|(found, _)| *found == method);
        match (has(Method::GET), has(Method::POST)) {
            (true, true) => "GET, HEAD, POST",
            (true, false) => "GET, HEAD",
            (false, _) => "POST",
        }
    }
}

/// A path to which methods are added.
struct Adding<'a> {
    state: &'a Arc<State>,
    resource: &'a mut Resource,
}

impl Adding<'_> {
    /// A command, which a reader passes on.
    fn post<F>(self, run: F) -> Self
    where
        F: AsyncFn(&mut Exchange) -> Result<Reply, ApiError> + Copy + Send + Sync + 'static,
    {
        let route = || web::route().guard(guard::Post());
        match self.state.ledger {
            Ledger::Owner(_) => self.add(Method::POST, "POST", route, run),
            Ledger::Reader(_) => self.add(Method::POST, "POST", route, forward::command),
        }
    }

    /// Lists and history, which a process that only takes commands leaves to readers.
    fn history<F>(self, run: F) -> Self
    where
        F: AsyncFn(&mut Exchange) -> Result<Reply, ApiError> + Copy + Send + Sync + 'static,
    {
        match self.state.config.history {
            History::Served => self.get(run),
            History::Elsewhere => self.get(forward::history),
        }
    }

    /// HEAD is GET without the body, which the server leaves out by itself.
    fn get<F>(self, run: F) -> Self
    where
        F: AsyncFn(&mut Exchange) -> Result<Reply, ApiError> + Copy + Send + Sync + 'static,
    {
        let either = || web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
        self.add(Method::GET, "GET", either, run)
    }

    fn add<F>(
        self,
        method: Method,
        name: &'static str,
        route: impl Fn() -> Route + Send + Sync + 'static,
        run: F,
    ) -> Self
    where
        F: AsyncFn(&mut Exchange) -> Result<Reply, ApiError> + Copy + Send + Sync + 'static,
    {
        let state = Arc::clone(self.state);
        let metrics = Arc::new(RouteMetrics::new(name, self.resource.path));
        let scope = self.resource.scope;
        let mount = move || route().to(handler(&state, &metrics, scope, run));
        self.resource.methods.push((method, Box::new(mount)));
        self
    }
}

/// The handler as the server calls it.
fn handler<F>(
    state: &Arc<State>,
    metrics: &Arc<RouteMetrics>,
    scope: Scope,
    run: F,
) -> impl actix_web::Handler<
    (HttpRequest, web::Payload),
    Output = actix_web::HttpResponse,
    Future = impl Future<Output = actix_web::HttpResponse>,
>
where
    F: AsyncFn(&mut Exchange) -> Result<Reply, ApiError> + Copy + 'static,
{
    let (state, metrics) = (Arc::clone(state), Arc::clone(metrics));
    move |request: HttpRequest, payload: web::Payload| {
        serve(Arc::clone(&state), Arc::clone(&metrics), scope, run, request, payload)
    }
}
