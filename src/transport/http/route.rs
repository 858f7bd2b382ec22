//! Routes that know their methods, so that a wrong one gets 405 and a list (RFC 9110 section 15.5.6).

use super::problem::Problem;
use actix_web::dev::{AppService, HttpServiceFactory};
use actix_web::{FromRequest, Handler, Resource, Responder, guard, web};

/// A path with its methods.
pub(in crate::transport) struct Route {
    resource: Resource,
    allow: Vec<&'static str>,
}

/// Begins a route.
pub(in crate::transport) fn at(path: &str) -> Route {
    Route { resource: web::resource(path), allow: Vec::new() }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident => $allow:expr, $route:expr;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub(in crate::transport) fn $name<F, Args>(self, handler: F) -> Self
            where
                F: Handler<Args>,
                Args: FromRequest + 'static,
                F::Output: Responder + 'static,
            {
                self.with(&$allow, $route.to(handler))
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

    fn with(mut self, allow: &[&'static str], route: actix_web::Route) -> Self {
        self.allow.extend_from_slice(allow);
        Self { resource: self.resource.route(route), allow: self.allow }
    }
}

impl HttpServiceFactory for Route {
    fn register(self, config: &mut AppService) {
        let allow = self.allow.join(", ");
        let refuse = move || std::future::ready(Err::<String, _>(Problem::wrong_method(allow.clone())));
        self.resource.default_service(web::to(refuse)).register(config);
    }
}
