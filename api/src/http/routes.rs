//! All routes, in one place.

use std::future::Future;
use std::sync::Arc;

use actix_web::{HttpRequest, Route, guard, web};

use super::door::Door;
use super::error::ApiError;
use super::exchange::{Exchange, Mounted, Place, Reply, serve};
use super::{
    History, Ledger, State, accounts, docs, forward, history, ledgers, lookup, ops, reports, short,
    statement, transactions, transfers,
};
use crate::keys::Scope;
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
    place: Place,
    methods: Vec<Method>,
    other_methods: Arc<RouteMetrics>,
}

/// A method of a path.
struct Method {
    kind: Kind,
    door: Door,
    served: Served,
    mount: Mount,
}

/// The methods that there are. HEAD is GET without the body, which the server leaves out by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    Post,
}

/// Whether this process does what a method asks, or says that processes of another role do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    Here,
    Elsewhere,
}

/// Makes a route for one worker.
type Mount = Box<dyn Fn(Mounted) -> Route + Send + Sync>;

impl Routes {
    /// Every route with what it asks of its callers. The busiest stand first, since each pattern before
    /// one costs a regular expression; and a fixed word before a pattern that would match it.
    pub(crate) fn all(state: &Arc<State>) -> Routes {
        let mut routes = Routes::none(state);

        let (open, read, write) = (Door::Open, Door::Needs(Scope::Read), Door::Needs(Scope::Write));
        let ledger = Place::Ledger;
        routes
            .at("/v1/transfers", ledger)
            .post(write, transfers::create)
            .history(read, transfers::list);
        routes.at("/transaction", ledger).post(write, short::transaction);
        routes.at("/process_transaction", ledger).post(write, short::process_transaction);
        routes.at("/v1/transfers/batch", ledger).post(write, transfers::create_batch);
        routes.at("/v1/transfers/lookup", ledger).look_up(read, lookup::transfers);
        routes
            .at("/v1/accounts", ledger)
            .post(write, accounts::create)
            .history(read, accounts::list);
        routes.at("/v1/accounts/batch", ledger).post(write, accounts::create_batch);
        routes.at("/v1/accounts/lookup", ledger).look_up(read, lookup::accounts);
        routes.at("/v1/accounts/{id}", ledger).get(read, accounts::find);
        routes.at("/v1/transfers/{id}", ledger).get(read, transfers::find);
        routes.at("/v1/transfers/{id}/post", ledger).post(write, transfers::post);
        routes.at("/v1/transfers/{id}/void", ledger).post(write, transfers::void);
        routes.at("/v1/transfers/{id}/reverse", ledger).post(write, transfers::reverse);
        routes.at("/v1/transactions", ledger).post(write, transactions::create);
        routes.at("/v1/transactions/{id}", ledger).get(read, transactions::find);
        routes.at("/v1/transactions/{id}/post", ledger).post(write, transactions::post);
        routes.at("/v1/transactions/{id}/void", ledger).post(write, transactions::void);
        routes.at("/v1/transactions/{id}/reverse", ledger).post(write, transactions::reverse);
        routes
            .at("/v1/accounts/{id}/overdraft_limit", ledger)
            .post(write, accounts::set_overdraft_limit);
        routes.at("/v1/accounts/{id}/metadata", ledger).post(write, accounts::replace_metadata);
        routes.at("/v1/accounts/{id}/transfers", ledger).history(read, history::transfers);
        routes.at("/v1/accounts/{id}/balances", ledger).history(read, history::balances);
        routes.at("/v1/accounts/{id}/balance", ledger).history(read, statement::balance);
        routes.at("/v1/accounts/{id}/statement", ledger).history(read, statement::statement);
        routes.at("/v1/ledgers", ledger).post(write, ledgers::create).history(read, ledgers::list);
        routes.at("/v1/ledgers/{id}", ledger).history(read, ledgers::find);
        routes.at("/v1/ledgers/{id}/trial-balance", ledger).history(read, reports::trial_balance);
        routes.at("/v1/ledgers/{id}/balance-sheet", ledger).history(read, reports::balance_sheet);
        routes.at("/account", ledger).post(write, short::open_account);
        routes.at("/balance/{account_id}", ledger).get(read, short::balance);
        routes.at("/transactions", ledger).history(read, short::transactions);

        let process = Place::Process;
        routes.at("/healthz", process).get(open, ops::healthz);
        routes.at("/readyz", process).get(open, ops::readyz);
        routes.at("/metrics", process).get(state.config.metrics_door, ops::metrics);
        routes.at("/version", process).get(open, ops::version);
        routes.at("/openapi.json", process).get(open, docs::openapi);
        routes.at("/docs", process).get(open, docs::index);
        routes.at("/docs/{file}", process).get(open, docs::file);
        routes.at("/errors", process).get(open, docs::errors);
        routes.at("/errors/{code}", process).get(open, docs::error);

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
    fn at(&mut self, path: &'static str, place: Place) -> Adding<'_> {
        let other_methods = Arc::new(RouteMetrics::new("other", path));
        self.resources.push(Resource { path, place, methods: Vec::new(), other_methods });
        let resource = self.resources.last_mut().expect("it was just pushed");
        Adding { state: &self.state, resource }
    }

    /// Sets the routes up in one worker's application.
    pub(crate) fn configure(&self, app: &mut web::ServiceConfig) {
        for resource in &self.resources {
            let mut service = web::resource(resource.path);
            for method in &resource.methods {
                service = service.route((method.mount)(resource.mounted(method.door)));
            }
            let refuse = async |_: &mut Exchange| Err(ApiError::MethodNotAllowed);
            let mounted = resource.mounted(resource.door());
            let other = handler(&self.state, &resource.other_methods, mounted, refuse);
            app.service(service.default_service(web::to(other)));
        }
        // What is not there has no position to tell.
        let refuse = async |_: &mut Exchange| Err(ApiError::RouteNotFound);
        let mounted = Mounted { place: Place::Process, door: Door::Needs(Scope::Read), allow: "" };
        let unknown = handler(&self.state, &self.unknown, mounted, refuse);
        app.default_service(web::to(unknown));
    }

    /// Every method and path with its door, for comparing them with the published description.
    #[cfg(test)]
    pub(crate) fn listed(&self) -> Vec<(String, Door)> {
        let methods = |resource: &Resource| {
            let name = |method: &Method| format!("{} {}", method.kind.name(), resource.path);
            resource.methods.iter().map(|method| (name(method), method.door)).collect()
        };
        self.resources.iter().flat_map(|resource| -> Vec<_> { methods(resource) }).collect()
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Get => "GET",
            Kind::Post => "POST",
        }
    }

    fn route(self) -> Route {
        match self {
            Kind::Get => web::route().guard(guard::Any(guard::Get()).or(guard::Head())),
            Kind::Post => web::route().guard(guard::Post()),
        }
    }
}

impl Resource {
    /// A route of this path, with this door.
    fn mounted(&self, door: Door) -> Mounted {
        Mounted { place: self.place, door, allow: self.allow() }
    }

    /// What this process serves here.
    fn allow(&self) -> &'static str {
        let served = self.methods.iter().filter(|method| method.served == Served::Here);
        let serves = |kind| served.clone().any(|method| method.kind == kind);
        match (serves(Kind::Get), serves(Kind::Post)) {
            (true, true) => "GET, HEAD, POST",
            (true, false) => "GET, HEAD",
            (false, true) => "POST",
            (false, false) => "",
        }
    }

    /// What is asked of those who use a method that is not there: as little as for any that is, and never more than to be known.
    fn door(&self) -> Door {
        let doors = self.methods.iter().map(|method| method.door);
        doors.fold(Door::Needs(Scope::Read), Door::min)
    }
}

/// A path to which methods are added.
struct Adding<'a> {
    state: &'a Arc<State>,
    resource: &'a mut Resource,
}

impl Adding<'_> {
    /// A command, which a reader passes on.
    fn post<F>(self, door: Door, run: F) -> Self
    where
        F: AsyncFn(&mut Exchange) -> Result<Reply, ApiError> + Copy + Send + Sync + 'static,
    {
        match (&self.state.ledger, &self.state.config.writer) {
            (Ledger::Owner(_), _) => self.add(Kind::Post, Served::Here, door, run),
            (Ledger::Reader(_), Some(_)) => {
                self.add(Kind::Post, Served::Here, door, forward::command)
            }
            (Ledger::Reader(_), None) => {
                self.add(Kind::Post, Served::Elsewhere, door, forward::command)
            }
        }
    }

    /// A read that comes as a POST, and is no command: a reader answers it itself.
    fn look_up<F>(self, door: Door, run: F) -> Self
    where
        F: AsyncFn(&mut Exchange) -> Result<Reply, ApiError> + Copy + Send + Sync + 'static,
    {
        self.add(Kind::Post, Served::Here, door, run)
    }

    /// Lists and history, which a process that only takes commands leaves to readers.
    fn history<F>(self, door: Door, run: F) -> Self
    where
        F: AsyncFn(&mut Exchange) -> Result<Reply, ApiError> + Copy + Send + Sync + 'static,
    {
        match self.state.config.history {
            History::Served => self.get(door, run),
            History::Elsewhere => self.add(Kind::Get, Served::Elsewhere, door, forward::history),
        }
    }

    fn get<F>(self, door: Door, run: F) -> Self
    where
        F: AsyncFn(&mut Exchange) -> Result<Reply, ApiError> + Copy + Send + Sync + 'static,
    {
        self.add(Kind::Get, Served::Here, door, run)
    }

    fn add<F>(self, kind: Kind, served: Served, door: Door, run: F) -> Self
    where
        F: AsyncFn(&mut Exchange) -> Result<Reply, ApiError> + Copy + Send + Sync + 'static,
    {
        let state = Arc::clone(self.state);
        let metrics = Arc::new(RouteMetrics::new(kind.name(), self.resource.path));
        let mount =
            Box::new(move |mounted| kind.route().to(handler(&state, &metrics, mounted, run)));
        self.resource.methods.push(Method { kind, door, served, mount });
        self
    }
}

/// The handler as the server calls it.
fn handler<F>(
    state: &Arc<State>,
    metrics: &Arc<RouteMetrics>,
    mounted: Mounted,
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
        serve(Arc::clone(&state), Arc::clone(&metrics), mounted, run, request, payload)
    }
}
