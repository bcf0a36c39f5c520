//! What shoppers order: products made for the load, or those that the shop has.

use std::time::Duration;

use serde_json::json;
use shopwright_domain::ids::ProductId;
use shopwright_domain::money::{Amount, Currency, Money};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::address::ShopUrl;
use crate::admin_key::AdminKey;
use crate::api::{ProductList, ProductView};
use crate::call::Call;
use crate::client::{Caller, Client, Get, Outcome, Post, Read};
use crate::recorder::Recorder;

const TIMEOUT: Duration = Duration::from_secs(15);
const ATTEMPTS: u32 = 8;

/// A product that can be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// For one piece.
    pub price: Money,
}

/// Products to order: the first is the hot one, the further ones ever less popular. At least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Products(Vec<Product>);

/// What to make.
#[derive(Debug, Clone, Copy)]
pub struct NewProducts {
    /// How many, the hot one included.
    pub count: u32,
    /// Pieces of the hot one.
    pub hot_stock: u32,
    /// Pieces of each other one.
    pub stock: u32,
    /// Of the shop.
    pub currency: Currency,
}

/// Why there are no products.
#[derive(Debug, thiserror::Error)]
pub enum ProductsError {
    /// The client cannot be made.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The shop said no.
    #[error("the shop refused a product with {0} {1}")]
    Refused(u16, String),
    /// The shop gave no usable answer.
    #[error("the shop gave no usable answer, {ATTEMPTS} times in a row")]
    Unavailable,
    /// The shop sells nothing, or nothing was asked for.
    #[error("there is no product: set ADMIN_KEY so that some are created")]
    None,
}

impl Products {
    /// Wraps products that are there.
    pub fn new(products: Vec<Product>) -> Result<Self, ProductsError> {
        if products.is_empty() {
            Err(ProductsError::None)
        } else {
            Ok(Self(products))
        }
    }

    /// Makes products under idempotency keys, so that a lost reply makes none twice. They stay in the shop.
    pub async fn create(url: &ShopUrl, key: &AdminKey, new: NewProducts) -> Result<Self, ProductsError> {
        let client = Client::new(url.clone(), Some(key.clone()), TIMEOUT, ATTEMPTS)?;
        let (recorder, over) = (Recorder::default(), CancellationToken::new());
        let mut products = Vec::new();
        for number in 0..new.count {
            let (name, stock) = match number {
                0 => ("Load: hot".to_owned(), new.hot_stock),
                _ => (format!("Load: {number}"), new.stock),
            };
            // Prices differ, so that amounts mixed up between orders show.
            let price = Amount::new(1_000 + 37 * i64::from(number)).unwrap_or(Amount::ZERO);
            let price = Money {
                amount: price,
                currency: new.currency,
            };
            let body = json!({"name": name, "price": price, "stock": stock}).to_string();
            let post = Post {
                call: Call::CreateProduct,
                path: "/products",
                caller: Caller::Staff,
                key: Uuid::new_v4(),
                body: body.into_bytes(),
            };
            match client
                .post::<ProductView>(&post, Instant::now(), &recorder, &over)
                .await
            {
                Outcome::Accepted(reply, _) => products.push(reply.body.into()),
                Outcome::Refused(status, code) => return Err(ProductsError::Refused(status, code)),
                Outcome::Unavailable | Outcome::Unknown => return Err(ProductsError::Unavailable),
            }
        }
        Self::new(products)
    }

    /// The shop's own newest products, at most 100.
    pub async fn existing(url: &ShopUrl) -> Result<Self, ProductsError> {
        let client = Client::new(url.clone(), None, TIMEOUT, ATTEMPTS)?;
        let recorder = Recorder::default();
        let get = Get {
            call: Call::ListProducts,
            path: "/products?limit=100",
            caller: Caller::Anybody,
        };
        for _ in 0..ATTEMPTS {
            match client.get::<ProductList>(get, Instant::now(), &recorder).await {
                Read::Found(list) => return Self::new(list.items.into_iter().map(Product::from).collect()),
                Read::Missing | Read::Failed(_) => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
        Err(ProductsError::Unavailable)
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Product] {
        &self.0
    }
}

impl From<ProductView> for Product {
    fn from(view: ProductView) -> Self {
        Self {
            id: view.id,
            price: view.price,
        }
    }
}
