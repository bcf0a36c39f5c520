//! Inventory without products: the domain's own reservation rules over a map in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shopwright_domain::events::{
    Content, Meta, OrderEvent, OrderPlaced, RejectionReason, StockEvent, StockRejected, StockReserved, decode, encode,
};
use shopwright_domain::ids::OrderId;
use shopwright_domain::lines::{Line, PricedLine};
use shopwright_domain::money::Amount;
use shopwright_domain::reservation::{Answer, Request, Reservation, step};
use shopwright_kit::Redis;
use shopwright_streams::consume::{Entry, Handler, Outcome};

/// More than this many pieces are never there.
pub const IN_STOCK: u32 = 1_000;
pub const UNIT_PRICE: i64 = 333;

/// What became of an order's reservation, and the lines that were priced for it.
type Known = (Reservation, Option<Vec<PricedLine>>);

/// Inventory without products: by the domain's rules, with endless stock of small quantities at one price.
#[derive(Default)]
pub struct Inventory {
    known: Mutex<HashMap<OrderId, Known>>,
    /// Reservations get lost before they are committed.
    pub forgets: AtomicBool,
}

impl Inventory {
    pub fn reservation(&self, id: OrderId) -> Reservation {
        self.known
            .lock()
            .unwrap()
            .get(&id)
            .map_or(Reservation::None, |(reservation, _)| *reservation)
    }

    pub fn answer(&self, event: &OrderEvent) -> Option<StockEvent> {
        let order_id = event.order_id();
        let mut known = self.known.lock().unwrap();
        let (reservation, lines) = known.entry(order_id).or_insert((Reservation::None, None));
        let request = match event {
            OrderEvent::Placed(placed) => {
                *lines = price(placed);
                Request::Reserve(lines.as_ref().map(|_| ()).ok_or(RejectionReason::InsufficientStock))
            }
            OrderEvent::Cancelled(_) | OrderEvent::Declined(_) => Request::Release,
            OrderEvent::Paid(_) => {
                if self.forgets.load(Ordering::Relaxed) && *reservation == Reservation::Reserved {
                    *reservation = Reservation::Released;
                }
                Request::Commit
            }
            _ => return None,
        };
        let step = step(*reservation, &request);
        assert!(!step.alarm, "asked to release what is sold");
        *reservation = step.next;
        Some(match step.answer {
            Answer::Reserved => StockEvent::Reserved(StockReserved {
                order_id,
                lines: lines.clone().unwrap_or_default(),
            }),
            Answer::Rejected => StockEvent::Rejected(StockRejected {
                order_id,
                reason: RejectionReason::InsufficientStock,
                product_id: None,
            }),
            Answer::Committed => StockEvent::Committed(order_id),
            Answer::CommitRefused => StockEvent::CommitRefused(order_id),
            Answer::Released => StockEvent::Released(order_id),
        })
    }
}

fn price(placed: &OrderPlaced) -> Option<Vec<PricedLine>> {
    let price = |line: &Line| PricedLine {
        product_id: line.product_id,
        quantity: line.quantity,
        unit_price: Amount::new(UNIT_PRICE).unwrap(),
    };
    let there = placed.lines.as_slice().iter().all(|line| line.quantity <= IN_STOCK);
    there.then(|| placed.lines.as_slice().iter().map(price).collect())
}

pub struct InventoryHandler {
    pub inventory: Arc<Inventory>,
    pub redis: Redis,
    pub stream: String,
}

impl Handler for InventoryHandler {
    async fn handle(&self, entry: &Entry) -> Outcome {
        let received = decode::<OrderEvent>(|name| entry.fields.text(name)).unwrap();
        let Some(answer) = received.content.and_then(|event| self.inventory.answer(&event)) else {
            return Outcome::Done;
        };
        let meta = Meta {
            id: uuid::Uuid::now_v7().to_string(),
            ..received.meta
        };
        let mut command = redis::cmd("XADD");
        command.arg(&self.stream).arg("*");
        for (name, value) in encode(&answer, &meta) {
            command.arg(name).arg(value);
        }
        match command.exec_async(&mut self.redis.once()).await {
            Ok(()) => Outcome::Done,
            Err(_) => Outcome::RetryAfter(Duration::from_millis(100)),
        }
    }
}
