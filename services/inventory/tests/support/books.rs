//! The books of inventory, added up: what every test may end with, whatever it did.

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;
use serde_json::Value;

use super::Shop;

/// Everything that counts, by key: three figures of each stock, and each reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Books {
    stock: HashMap<String, (i64, i64, i64)>,
    in_stock: HashMap<String, bool>,
    pub reservations: HashMap<String, Value>,
}

impl Books {
    pub async fn read(shop: &Shop) -> Self {
        let mut harness = shop.harness.clone();
        let (mut stock, mut in_stock) = (HashMap::new(), HashMap::new());
        for key in keys(&mut harness, "{demo-inventory}:stock:*").await {
            let figures: (i64, i64, i64) = redis::cmd("HMGET")
                .arg(&[&*key, "on_hand", "reserved", "received"])
                .query_async(&mut harness)
                .await
                .unwrap();
            let id = key.rsplit(':').next().unwrap().to_owned();
            if let Some(product) = document(&mut harness, &format!("{{demo-inventory}}:product:{id}")).await {
                in_stock.insert(id.clone(), product["in_stock"].as_bool().unwrap());
            }
            stock.insert(id, figures);
        }
        let mut reservations = HashMap::new();
        for key in keys(&mut harness, "{demo-inventory}:reservation:*").await {
            let reservation = document(&mut harness, &key).await.unwrap();
            reservations.insert(key.rsplit(':').next().unwrap().to_owned(), reservation);
        }
        Self {
            stock,
            in_stock,
            reservations,
        }
    }

    /// reserved is what the reservations hold; received without what they sold is on hand; nothing is below zero, and the
    /// product says whether there is some.
    pub fn check(&self) -> Result<(), String> {
        for (id, (on_hand, reserved, received)) in &self.stock {
            let (held, sold) = (self.pieces(id, "reserved"), self.pieces(id, "committed"));
            let told = self.in_stock.get(id).copied();
            let case = format!(
                "{id}: on hand {on_hand}, reserved {reserved}, received {received}; by reservations held {held}, sold {sold}, in stock {told:?}"
            );
            if *reserved != held || received - sold != *on_hand {
                return Err(format!("the sums differ: {case}"));
            }
            if !(0..=*on_hand).contains(reserved) {
                return Err(format!("more is promised than there is: {case}"));
            }
            if told.is_some_and(|told| told != (on_hand > reserved)) {
                return Err(format!("the product tells something else: {case}"));
            }
        }
        Ok(())
    }

    fn pieces(&self, product: &str, state: &str) -> i64 {
        self.reservations
            .values()
            .filter(|reservation| reservation["state"] == state)
            .flat_map(|reservation| reservation["lines"].as_array().unwrap())
            .filter(|line| line["product_id"] == product)
            .map(|line| line["quantity"].as_i64().unwrap())
            .sum()
    }
}

async fn keys(harness: &mut MultiplexedConnection, pattern: &str) -> Vec<String> {
    redis::cmd("KEYS").arg(pattern).query_async(harness).await.unwrap()
}

async fn document(harness: &mut MultiplexedConnection, key: &str) -> Option<Value> {
    let text: Option<String> = redis::cmd("JSON.GET").arg(key).query_async(harness).await.unwrap();
    text.map(|text| serde_json::from_str(&text).unwrap())
}
