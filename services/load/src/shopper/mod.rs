//! What arrives: browsing and placing. An accepted order's further life is in `life`, calls made twice are in `twice`.

use std::sync::Arc;

use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::api::{PlacedView, ProductView, StockView};
use crate::call::Call;
use crate::client::{Caller, Get, Post, Read};
use crate::journal::{self, Fact, Line, When};
use crate::observe::{money_fault, stock_fault};
use crate::plan::{Action, PlannedLine, PlannedOrder, Then};
use crate::run::{Order, Run};
use crate::violation::ViolationKind;

mod life;
mod twice;

/// Does what was planned.
pub(crate) async fn act(run: &Arc<Run>, action: Action, intended: Instant) {
    match action {
        Action::Order(planned) => place(run, planned, intended).await,
        Action::ListProducts => {
            let get = browse(Call::ListProducts, "/products");
            let _: Option<Read<serde::de::IgnoredAny>> = ask(run, get, intended).await;
        }
        Action::ReadProduct(product) => {
            let path = format!("/products/{}", run.products.as_slice()[product].id);
            let _: Option<Read<ProductView>> = ask(run, browse(Call::ReadProduct, &path), intended).await;
        }
        Action::ReadStock(product) => {
            let id = run.products.as_slice()[product].id;
            let path = format!("/products/{id}/stock");
            let read = ask::<StockView>(run, browse(Call::ReadStock, &path), intended).await;
            if let Some(Read::Found(stock)) = read
                && let Some(fault) = stock_fault(stock)
            {
                run.recorder.violation(ViolationKind::Stock, &id, fault);
            }
        }
    }
}

fn browse(call: Call, path: &str) -> Get<'_> {
    Get {
        call,
        path,
        caller: Caller::Anybody,
    }
}

/// A GET that ends with the run.
async fn ask<T: serde::de::DeserializeOwned>(run: &Run, get: Get<'_>, intended: Instant) -> Option<Read<T>> {
    tokio::select! {
        read = run.client.get(get, intended, &run.recorder) => Some(read),
        () = run.over.cancelled() => None,
    }
}

async fn place(run: &Arc<Run>, planned: PlannedOrder, intended: Instant) {
    let asked_at = journal::now();
    let products = run.products.as_slice();
    let body = |line: &PlannedLine| {
        let product = products[line.product];
        let mut body = json!({"product_id": product.id, "quantity": line.quantity});
        if line.names_price {
            body["expected_unit_price"] = json!(product.price);
        }
        body
    };
    let lines: Vec<_> = planned.lines.iter().map(body).collect();
    let post = Post {
        call: Call::PlaceOrder,
        path: "/orders",
        caller: Caller::Anybody,
        key: Uuid::new_v4(),
        body: json!({"lines": lines}).to_string().into_bytes(),
    };
    let answers = twice::post(run, &post, planned.repeat, intended, |placed: &PlacedView| {
        placed.order.id
    })
    .await;
    let lines: Vec<_> = planned
        .lines
        .iter()
        .map(|line| Line {
            product_id: products[line.product].id,
            quantity: line.quantity,
        })
        .collect();
    run.recorder.count(|counts| {
        counts.placed.accepted += answers.accepted.len() as u64;
        if answers.accepted.is_empty() {
            counts.placed.unknown += u64::from(answers.is_unknown);
            counts.placed.refused += u64::from(answers.is_refused && !answers.is_unknown);
            counts.placed.unavailable += u64::from(!answers.is_refused && !answers.is_unknown);
        }
    });
    if answers.accepted.is_empty() && answers.is_unknown {
        run.write(When::since(asked_at), Fact::OrderUnknown { key: post.key, lines });
        return;
    }
    // Two under one key are a violation, recorded above; both were promised, so both are written down and followed.
    let mut then = planned.then;
    for (placed, when) in answers.accepted {
        let then = std::mem::replace(&mut then, Then::Nothing);
        accepted(run, (placed, when), post.key, lines.clone(), (planned.repeat, then));
    }
}

fn accepted(
    run: &Arc<Run>,
    (placed, when): (PlacedView, When),
    key: Uuid,
    lines: Vec<Line>,
    (repeat, then): (crate::plan::Repeat, Then),
) {
    let id = placed.order.id;
    let fact = Fact::OrderAccepted {
        id,
        token: placed.order_token.clone(),
        key,
        lines,
    };
    run.write(when, fact);
    if let Some(fault) = money_fault(&placed.order) {
        run.recorder.violation(ViolationKind::Money, &id, fault);
    }
    let order = Arc::new(Order {
        id,
        token: placed.order_token,
        accepted_at: Instant::now(),
    });
    run.offer(order.clone());
    run.tasks.spawn(life::live(run.clone(), order, repeat, then));
}
