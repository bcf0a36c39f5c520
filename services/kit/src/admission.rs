//! Holds back a process's work until the version of the data in Redis is known to suit it, and ends the process when it no
//! longer does. Touches the hash of [`schema`](crate::schema).

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    connection::Redis,
    problem::ApiError,
    schema::{Duty, Schema, SchemaError},
};

/// Whether this program was found to suit the data. Cloning is cheap; every clone is the same answer.
#[derive(Debug, Clone)]
pub struct Admission(watch::Sender<bool>);

impl Default for Admission {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Admission {
    /// Asks until the answer is there, and goes on asking until `shutdown`, which it begins itself when this program is, or
    /// has become, too old.
    pub async fn keep(
        self,
        schema: Schema,
        redis: Redis,
        duty: Duty,
        shutdown: CancellationToken,
    ) -> Result<(), SchemaError> {
        let kept = match schema.admit(&redis, duty, &shutdown).await {
            Ok(Some(_)) => {
                self.0.send_replace(true);
                schema.keep(redis, duty, shutdown.clone()).await
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if kept.is_err() {
            self.0.send_replace(false);
        }
        shutdown.cancel();
        kept
    }

    /// Whether it is now.
    pub fn is_granted(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for it. False when `shutdown` came first.
    pub async fn granted(&self, shutdown: &CancellationToken) -> bool {
        let mut admission = self.0.subscribe();
        let granted = admission.wait_for(|granted| *granted);
        shutdown.run_until_cancelled(granted).await.is_some()
    }

    /// A readiness check: `not_admitted` until it is.
    pub fn readiness(&self) -> impl Fn() -> std::future::Ready<Result<(), &'static str>> + Send + Sync + 'static {
        let admission = self.clone();
        move || {
            std::future::ready(if admission.is_granted() {
                Ok(())
            } else {
                Err("not_admitted")
            })
        }
    }

    /// Answers 503 for all of a router until it is.
    pub fn guard(&self, router: Router) -> Router {
        let admission = self.clone();
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let is_granted = admission.is_granted();
            async move { answer(is_granted, request, next).await }
        }))
    }
}

async fn answer(is_granted: bool, request: Request, next: Next) -> Response {
    if is_granted {
        next.run(request).await
    } else {
        ApiError::dependency_unavailable().into_response()
    }
}
