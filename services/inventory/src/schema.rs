//! Which version of inventory's data this program writes, and that it answers nothing from data of a version that it does
//! not know. Touches the one hash that says so.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use shopwright_domain::keys::ShopKeys;
use shopwright_kit::{
    ApiError, Redis, Schema,
    schema::{Duty, SchemaError},
};
use tokio_util::sync::CancellationToken;

/// The data as this program writes it.
pub fn schema(keys: &ShopKeys) -> Schema {
    Schema {
        key: keys.inventory_schema(),
        version: 1,
        oldest_compatible: 1,
    }
}

/// Whether this program was found to suit the data. Cloning is cheap; every clone is the same answer.
#[derive(Debug, Clone, Default)]
pub struct Admitted(Arc<AtomicBool>);

impl Admitted {
    /// Asks until the answer is there and goes on asking until `shutdown`, which it begins itself when this program has
    /// become too old.
    pub async fn keep(
        self,
        schema: Schema,
        redis: Redis,
        duty: Duty,
        shutdown: CancellationToken,
    ) -> Result<(), SchemaError> {
        let kept = match schema.admit(&redis, duty, &shutdown).await {
            Ok(Some(_)) => {
                self.0.store(true, Ordering::Relaxed);
                schema.keep(redis, duty, shutdown.clone()).await
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        self.0.store(false, Ordering::Relaxed);
        shutdown.cancel();
        kept
    }

    /// Answers 503 for all of a router while this is not known.
    pub fn guard(&self, router: Router) -> Router {
        let admitted = self.clone();
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let is_admitted = admitted.0.load(Ordering::Relaxed);
            async move { answer(is_admitted, request, next).await }
        }))
    }
}

async fn answer(is_admitted: bool, request: Request, next: Next) -> Response {
    if is_admitted {
        next.run(request).await
    } else {
        ApiError::dependency_unavailable().into_response()
    }
}
