//! Routes that know their methods and whom they are for: a wrong method gets 405 and a list (RFC 9110 section 15.5.6), and one that
//! says nothing of who may ask can't be written.

use super::call::{Call, Visit};
use super::problem::Problem;
use crate::domain::Action;
use actix_web::dev::{AppService, HttpServiceFactory};
use actix_web::{FromRequest, Handler, HttpRequest, Resource, Responder, guard, web};

/// Says that a route is for everybody, known or not.
#[derive(Debug, Clone, Copy)]
pub(in crate::transport) struct Anybody;

/// Whom a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Anybody,
    /// Whoever the policy allows this.
    Allowed(Action),
}

/// Ties what a handler takes to whom it is for: only a route with an action gives a [`Call`], which has asked the policy, and such a
/// route gives nothing less.
pub(in crate::transport) trait Admits<Args> {
    fn access(self) -> Access;
}

impl Admits<(Call,)> for Action {
    fn access(self) -> Access {
        Access::Allowed(self)
    }
}

macro_rules! anybody {
    ($($args:ty),*) => {
        $(impl Admits<$args> for Anybody {
            fn access(self) -> Access {
                Access::Anybody
            }
        })*
    };
}
anybody!((), (Visit,), (HttpRequest,), (HttpRequest, Visit));

/// The methods of a path, and whom each is for.
#[derive(Debug, Clone, Default)]
struct Methods(Vec<(&'static str, Access)>);

impl Methods {
    fn of(&self, method: &str) -> Option<Access> {
        self.0.iter().find(|(known, _)| *known == method).map(|(_, access)| *access)
    }
}

/// A path with its methods.
pub(in crate::transport) struct Route {
    path: &'static str,
    resource: Resource,
    methods: Methods,
}

/// Begins a route.
pub(in crate::transport) fn at(path: &'static str) -> Route {
    Route { path, resource: web::resource(path), methods: Methods::default() }
}

/// What the route of a request asks of whoever sends it; none where there is no such route.
pub(super) fn access(request: &HttpRequest) -> Option<Access> {
    request.app_data::<Methods>()?.of(request.method().as_str())
}

/// A route in the list of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub method: &'static str,
    /// With the names of its parts: `/api/v1/rooms/{room}`.
    pub path: String,
    pub access: Access,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident => $allow:expr, $route:expr;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub(in crate::transport) fn $name<A, F, Args>(self, whom: A, handler: F) -> Self
            where
                A: Admits<Args>,
                F: Handler<Args>,
                Args: FromRequest + 'static,
                F::Output: Responder + 'static,
            {
                self.with(&$allow, whom.access(), $route.to(handler))
            }
        )*
    };
}

impl Route {
    methods! {
        /// Reads; HEAD too, without the body.
        get => ["GET", "HEAD"], web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
        /// Makes.
        post => ["POST"], web::post();
        /// Puts in place.
        put => ["PUT"], web::put();
        /// Changes.
        patch => ["PATCH"], web::patch();
        /// Takes away.
        delete => ["DELETE"], web::delete();
    }

    fn with(mut self, methods: &[&'static str], access: Access, route: actix_web::Route) -> Self {
        self.methods.0.extend(methods.iter().map(|method| (*method, access)));
        Self { resource: self.resource.route(route), ..self }
    }

    /// Its rows in the list, below `scope`.
    pub(super) fn listed(&self, scope: &str) -> impl Iterator<Item = Listed> {
        let path = format!("{scope}{}", self.path);
        let methods = self.methods.0.iter();
        methods.map(move |(method, access)| Listed { method, path: path.clone(), access: *access })
    }
}

impl HttpServiceFactory for Route {
    fn register(self, config: &mut AppService) {
        let allow = self.methods.0.iter().map(|(method, _)| *method).collect::<Vec<_>>().join(", ");
        let refuse = move || std::future::ready(Err::<String, _>(Problem::wrong_method(allow.clone())));
        self.resource.app_data(self.methods).default_service(web::to(refuse)).register(config);
    }
}
