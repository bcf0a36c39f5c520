//! Products and their stock in Redis: read, search, create, adjust. Touches the keys of inventory only.

use std::{sync::LazyLock, time::Duration};

use axum::http::StatusCode;
use redis::{RedisError, Script, ScriptInvocation, Value};
use shopwright_domain::{events::Meta, ids::ProductId, keys::ShopKeys};
use shopwright_kit::{
    Idempotency, Record, Redis, crash,
    search_index::{SearchIndex, is_missing},
};

use crate::{
    product::{Document, MAX_STOCK, NewAdjustment, Product, Stock},
    repetition::Creation,
    search::Search,
};

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| {
            Script::new(concat!(
                include_str!("scripts/catalogue.lua"),
                include_str!(concat!("scripts/", $file))
            ))
        })
    };
}

static CREATE: LazyLock<Script> = script!("create_product.lua");
static ADJUST: LazyLock<Script> = script!("adjust_stock.lua");

/// A failure of the catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Redis failed or refused.
    #[error("Redis: {0}")]
    Redis(#[from] RedisError),
    /// The search engine did not understand the query.
    #[error("the query is not understood")]
    Query,
    /// The index is not there, or not yet.
    #[error("the search index is not there")]
    NoIndex,
    /// Something in Redis, or a reply, is not as this service writes it.
    #[error("{0} is not as expected")]
    Corrupt(&'static str),
}

/// What became of an adjustment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adjusted {
    /// Done; the stock afterwards.
    Done(Stock),
    /// Done before, by the same request; its record.
    Before(String),
    /// No such product.
    NotFound,
    /// Fewer pieces than are reserved would be left; the stock as it is.
    Insufficient(Stock),
    /// More than [`MAX_STOCK`] would be there.
    OutOfRange,
}

/// The products of one shop.
#[derive(Debug, Clone)]
pub struct Catalogue {
    redis: Redis,
    keys: ShopKeys,
    /// How long a repeated request is known.
    retention: Duration,
}

impl Catalogue {
    /// Over the service's own connection. A repeated request is known for `retention`.
    pub fn new(redis: Redis, keys: ShopKeys, retention: Duration) -> Self {
        Self { redis, keys, retention }
    }

    /// The index that [`Catalogue::search`] needs.
    pub fn index(keys: &ShopKeys) -> SearchIndex {
        SearchIndex {
            name: keys.products_index(),
            version: 1,
            prefix: keys.product_prefix(),
            schema: &[
                "$.name",
                "AS",
                "name",
                "TEXT",
                "WEIGHT",
                "5",
                "$.description",
                "AS",
                "description",
                "TEXT",
                "$.id",
                "AS",
                "id",
                "TAG",
                "SORTABLE",
                "$.archived",
                "AS",
                "archived",
                "TAG",
            ],
        }
    }

    /// Stores a product with its stock, and tells. A request that was made before changes nothing and gives its record.
    pub async fn create(
        &self,
        product: &Product,
        stock: i64,
        event: &Meta,
        request: &Idempotency,
    ) -> Result<Option<String>, CatalogueError> {
        let document = serde_json::to_string(&Document {
            product,
            archived: false,
        })
        .map_err(|_| CatalogueError::Corrupt("a product"))?;
        let creation = Creation {
            created_at: product.created_at,
        };
        let result = serde_json::to_value(creation).map_err(|_| CatalogueError::Corrupt("a product"))?;
        let record = request.record(StatusCode::CREATED, product.id.to_string(), Some(result));
        let mut invocation = self.invocation(&CREATE, product.id, event, request, &record);
        let before = invocation
            .arg(document)
            .arg(stock)
            .invoke_async(&mut self.redis.idempotent())
            .await
            .map_err(script_error)?;
        Ok(before)
    }

    /// What both scripts are told first; see `scripts/catalogue.lua`.
    fn invocation<'a>(
        &self,
        script: &'a Script,
        product: ProductId,
        event: &Meta,
        request: &Idempotency,
        record: &Record,
    ) -> ScriptInvocation<'a> {
        let mut invocation = script.key(self.keys.product(product));
        invocation
            .key(self.keys.stock(product))
            .key(self.keys.inventory_catalogue())
            .key(self.keys.inventory_idempotency(&request.id))
            .arg(product.to_string())
            .arg(&[&event.id, &event.time, &event.traceparent, &event.request_id])
            .arg(record.to_json())
            .arg(self.retention.as_secs() * 1_000);
        invocation
    }

    /// One product.
    pub async fn get(&self, id: ProductId) -> Result<Option<Product>, CatalogueError> {
        let text: Option<String> = redis::cmd("JSON.GET")
            .arg(self.keys.product(id))
            .query_async(&mut self.redis.idempotent())
            .await?;
        text.as_deref().map(parse).transpose()
    }

    /// At most `limit` products that match; the newest first, or the best match first when there are words.
    pub async fn search(&self, search: &Search, limit: u16) -> Result<Vec<Product>, CatalogueError> {
        let mut command = redis::cmd("FT.SEARCH");
        command.arg(self.keys.products_index()).arg(&search.query);
        if search.parameters.is_empty() {
            command.arg(&["SORTBY", "id", "DESC"]);
        } else {
            command.arg("PARAMS").arg(search.parameters.len() * 2);
            for (name, value) in &search.parameters {
                command.arg(name).arg(value);
            }
        }
        command
            .arg(&["RETURN", "1", "$"])
            .arg("LIMIT")
            .arg(0)
            .arg(limit)
            .arg("DIALECT")
            .arg(2);
        let reply: Value = command
            .query_async(&mut self.redis.idempotent())
            .await
            .map_err(search_error)?;
        Ok(documents(&reply)
            .iter()
            .filter_map(|(key, document)| {
                let product = parse(document);
                if let Err(error) = &product {
                    // One broken document must not close the shop.
                    tracing::error!(key, %error, "left out of a list");
                }
                product.ok()
            })
            .collect())
    }

    /// The stock of one product.
    pub async fn stock(&self, id: ProductId) -> Result<Option<Stock>, CatalogueError> {
        let (on_hand, reserved): (Option<i64>, Option<i64>) = redis::cmd("HMGET")
            .arg(self.keys.stock(id))
            .arg(&["on_hand", "reserved"])
            .query_async(&mut self.redis.idempotent())
            .await?;
        Ok(on_hand
            .zip(reserved)
            .map(|(on_hand, reserved)| Stock::new(id, on_hand, reserved)))
    }

    /// Adds to the stock or takes from it, and tells. A request that was made before changes nothing and gives its record.
    pub async fn adjust(
        &self,
        id: ProductId,
        adjustment: &NewAdjustment,
        event: &Meta,
        request: &Idempotency,
    ) -> Result<Adjusted, CatalogueError> {
        let reason = serde_json::to_string(&adjustment.reason).map_err(|_| CatalogueError::Corrupt("an adjustment"))?;
        // The script adds the result: what the stock is then.
        let record = request.record(StatusCode::CREATED, &event.id, None);
        let mut invocation = self.invocation(&ADJUST, id, event, request, &record);
        let (outcome, on_hand, reserved, before): (String, i64, i64, String) = invocation
            .arg(adjustment.delta)
            .arg(reason)
            .arg(MAX_STOCK)
            .invoke_async(&mut self.redis.idempotent())
            .await
            .map_err(script_error)?;
        crash::point("inventory.adjust.after_store");
        match outcome.as_str() {
            "repeated" => Ok(Adjusted::Before(before)),
            "adjusted" => Ok(Adjusted::Done(Stock::new(id, on_hand, reserved))),
            "not_found" => Ok(Adjusted::NotFound),
            "insufficient_stock" => Ok(Adjusted::Insufficient(Stock::new(id, on_hand, reserved))),
            "out_of_range" => Ok(Adjusted::OutOfRange),
            _ => Err(CatalogueError::Corrupt("a script's reply")),
        }
    }
}

fn parse(document: &str) -> Result<Product, CatalogueError> {
    serde_json::from_str(document).map_err(|_| CatalogueError::Corrupt("a product's document"))
}

/// What both scripts refuse before they write anything; see `scripts/catalogue.lua`.
fn script_error(error: RedisError) -> CatalogueError {
    if error.code() != Some("CORRUPT") {
        return CatalogueError::Redis(error);
    }
    CatalogueError::Corrupt(match error.detail() {
        Some("product") => "the key of a product",
        Some("stock") => "the stock of a product",
        Some("catalogue") => "the stream of the catalogue",
        _ => "the key of a request's record",
    })
}

fn search_error(error: RedisError) -> CatalogueError {
    if is_missing(&error) {
        CatalogueError::NoIndex
    } else if !error.is_io_error() && error.to_string().to_ascii_lowercase().contains("syntax") {
        CatalogueError::Query
    } else {
        CatalogueError::Redis(error)
    }
}

/// The keys and documents of a reply `[total, key, ["$", document], ...]`. One deleted meanwhile has none and is left out.
fn documents(reply: &Value) -> Vec<(String, String)> {
    let Value::Array(items) = reply else { return Vec::new() };
    items
        .get(1..)
        .unwrap_or_default()
        .chunks_exact(2)
        .filter_map(|row| match &row[1] {
            Value::Array(fields) => {
                let document = fields
                    .get(1)
                    .and_then(|value| redis::from_redis_value_ref(value).ok())?;
                Some((redis::from_redis_value_ref(&row[0]).ok()?, document))
            }
            _ => None,
        })
        .collect()
}
