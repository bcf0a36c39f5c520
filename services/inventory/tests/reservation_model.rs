//! The reservation scripts on a real Redis, as the user who runs them, against the pure model.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use shopwright_domain::{
    events::{RejectionReason, StockEvent},
    ids::{OrderId, ProductId},
    lines::Line,
    money::Amount,
    reservation::{Answer, Offer, Request, Reservation, StockMove, judge, step},
};
use shopwright_inventory::reservations::{self, Outcome};
use support::{Shop, eur, line, meta, placed, state_of};

fn answer_of(event: &StockEvent) -> Answer {
    match event {
        StockEvent::Reserved(_) => Answer::Reserved,
        StockEvent::Rejected(_) => Answer::Rejected,
        StockEvent::Committed(_) => Answer::Committed,
        StockEvent::CommitRefused(_) => Answer::CommitRefused,
        StockEvent::Released(_) => Answer::Released,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Reserve,
    Release,
    Commit,
}

const ASKS: [Ask; 3] = [Ask::Reserve, Ask::Release, Ask::Commit];

/// Brings a fresh order of two lines into a state, with stock in plenty.
async fn bring_to(shop: &Shop, state: Reservation, order: OrderId, lines: &[Line]) {
    let path: &[Ask] = match state {
        Reservation::None => &[],
        Reservation::Reserved => &[Ask::Reserve],
        Reservation::Committed => &[Ask::Reserve, Ask::Commit],
        Reservation::Released => &[Ask::Reserve, Ask::Release],
        Reservation::Rejected => {
            shop.reserve(order, &[line(ProductId::generate(), 1)]).await;
            &[]
        }
        Reservation::Tombstone => &[Ask::Release],
    };
    for ask in path {
        run(shop, *ask, order, lines).await;
    }
    assert_eq!(state_of(shop.reservation(order).await.as_ref()), state);
}

async fn run(shop: &Shop, ask: Ask, order: OrderId, lines: &[Line]) -> Outcome {
    match ask {
        Ask::Reserve => shop.reserve(order, lines).await,
        Ask::Release => shop.release(order).await,
        Ask::Commit => shop.commit(order).await,
    }
}

/// Every state x request x stock level: state, answer, counters, `in_stock` and alarm are the model's, and so they are
/// when the same request comes again.
#[tokio::test(flavor = "multi_thread")]
async fn the_scripts_do_what_the_model_says() {
    let mut shop = Shop::start().await;
    for state in Reservation::ALL {
        for ask in ASKS {
            for spare in 0..=3 {
                compare(&mut shop, state, ask, spare).await;
            }
        }
    }
    shop.books().await;
}

async fn compare(shop: &mut Shop, state: Reservation, ask: Ask, spare: i64) {
    let case = format!("{state:?} {ask:?} with {spare} spare");
    let order = OrderId::generate();
    let lines = [line(shop.product(500, 10).await, 2), line(shop.product(7, 10).await, 1)];
    bring_to(shop, state, order, &lines).await;
    let mut expected = Vec::new();
    for line in &lines {
        let (_, reserved) = shop.stock(line.product_id).await;
        shop.set_on_hand(line.product_id, spare + reserved).await;
        shop.set(line.product_id, ".in_stock", if spare > 0 { "true" } else { "false" })
            .await;
        expected.push((spare + reserved, reserved));
    }
    let verdict = judge(eur(), &lines, |product| {
        let price = if product == lines[0].product_id { 500 } else { 7 };
        let unit_price = Amount::new(price).unwrap();
        Some(Offer {
            unit_price,
            currency: eur(),
            archived: false,
            available: spare,
        })
    });
    let request = match ask {
        Ask::Reserve => Request::Reserve(verdict.clone().map(|_| ()).map_err(|(reason, _)| reason)),
        Ask::Release => Request::Release,
        Ask::Commit => Request::Commit,
    };

    let mut from = state;
    for repetition in 0..2 {
        let model = step(from, &request);
        for (line, (on_hand, reserved)) in lines.iter().zip(&mut expected) {
            let quantity = i64::from(line.quantity);
            match model.stock {
                StockMove::None => {}
                StockMove::Hold => *reserved += quantity,
                StockMove::GiveBack => *reserved -= quantity,
                StockMove::Sell => {
                    *reserved -= quantity;
                    *on_hand -= quantity;
                }
            }
        }
        let before = shop.answers().await.len();
        let outcome = run(shop, ask, order, &lines).await;
        let answers = shop.answers().await;
        assert_eq!(answers.len(), before + 1, "{case}: one answer a request");
        assert_eq!(answer_of(&answers[before]), model.answer, "{case}, {repetition}");
        assert_eq!(
            outcome,
            Outcome {
                answer: model.answer,
                changed: model.next != from,
                alarm: model.alarm
            },
            "{case}, {repetition}"
        );
        assert_eq!(
            state_of(shop.reservation(order).await.as_ref()),
            model.next,
            "{case}, {repetition}"
        );
        match &answers[before] {
            StockEvent::Reserved(event) if from == Reservation::None || ask == Ask::Reserve => {
                assert_eq!(
                    event
                        .lines
                        .iter()
                        .map(|line| line.unit_price.minor_units())
                        .collect::<Vec<_>>(),
                    [500, 7]
                );
            }
            StockEvent::Rejected(event) if from == Reservation::None => {
                let (reason, product) = verdict.clone().unwrap_err();
                assert_eq!((event.reason, event.product_id), (reason, Some(product)), "{case}");
            }
            _ => {}
        }
        for (line, expected) in lines.iter().zip(&expected) {
            assert_eq!(shop.stock(line.product_id).await, *expected, "{case}, {repetition}");
            assert_eq!(
                shop.in_stock(line.product_id).await,
                expected.0 > expected.1,
                "{case}, {repetition}"
            );
        }
        from = model.next;
    }
}

/// Products of every kind, orders of every kind: the verdict, its reason and its product are the model's.
#[test]
fn the_reserve_script_judges_as_the_model_does() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let shop = runtime.block_on(Shop::start());
    // Fourth field: what the shopper saw, relative to the price; 2 for nothing.
    let lines = prop::collection::vec(
        (
            prop::bool::weighted(0.9),
            prop::bool::weighted(0.9),
            prop::bool::weighted(0.9),
            0..3i64,
            0..4i64,
            1..4u32,
        ),
        1..5,
    );
    let mut runner = TestRunner::new(Config {
        cases: 120,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&lines, |given| {
            runtime.block_on(judge_once(&shop, &given));
            Ok(())
        })
        .unwrap();
}

async fn judge_once(shop: &Shop, given: &[(bool, bool, bool, i64, i64, u32)]) {
    const PRICE: i64 = 9_007_199_254_740_991 / 50_000;
    let mut offers = std::collections::HashMap::new();
    let mut lines = Vec::new();
    for (known, sold, same_currency, seen, available, quantity) in given {
        let price = Amount::new(PRICE).unwrap();
        let id = if *known {
            shop.product(PRICE, *available).await
        } else {
            ProductId::generate()
        };
        if *known {
            shop.set(id, ".archived", if *sold { "false" } else { "true" }).await;
            let currency = if *same_currency { "EUR" } else { "USD" };
            shop.set(id, ".price.currency", &format!("\"{currency}\"")).await;
            let currency = currency.parse().unwrap();
            offers.insert(
                id,
                Offer {
                    unit_price: price,
                    currency,
                    archived: !sold,
                    available: *available,
                },
            );
        }
        let expected_unit_price = (*seen < 2).then(|| Amount::new(PRICE + seen).unwrap());
        lines.push(Line {
            product_id: id,
            quantity: *quantity,
            expected_unit_price,
        });
    }
    let order = OrderId::generate();
    let outcome = shop.reserve(order, &lines).await;
    let document = shop.reservation(order).await.unwrap();
    match judge(eur(), &lines, |id| offers.get(&id).copied()) {
        Ok(priced) => {
            assert_eq!(outcome.answer, Answer::Reserved);
            assert_eq!(document["lines"], serde_json::to_value(&priced).unwrap());
        }
        Err((reason, product)) => {
            assert_eq!(outcome.answer, Answer::Rejected);
            assert_eq!(document["reason"], reason.as_str());
            assert_eq!(document["product_id"], product.to_string());
            for id in offers.keys() {
                assert_eq!(shop.stock(*id).await.1, 0, "a refused order holds nothing");
            }
        }
    }
}

const ORDERS: usize = 3;
const PRICES: [i64; 2] = [500, 7];

/// Three orders of the same two products, by the pure rules. A round of a batch reads the lines of all its reservations
/// first; a release or a commit that finds other lines than were read waits for the next round.
struct Model {
    lines: [Vec<Line>; ORDERS],
    states: [Reservation; ORDERS],
    /// On hand and reserved, of each product.
    stock: [(i64, i64); 2],
    told: Vec<Answer>,
}

impl Model {
    fn batch(&mut self, asks: &[(usize, Ask)]) -> Vec<Outcome> {
        let mut outcomes = vec![None; asks.len()];
        let mut open: Vec<usize> = (0..asks.len()).collect();
        while !open.is_empty() {
            let has_lines = self.states.map(|state| {
                matches!(
                    state,
                    Reservation::Reserved | Reservation::Committed | Reservation::Released
                )
            });
            open.retain(|index| {
                let (order, ask) = asks[*index];
                let waits = ask != Ask::Reserve && self.states[order] == Reservation::Reserved && !has_lines[order];
                if !waits {
                    outcomes[*index] = Some(self.step(order, ask));
                }
                waits
            });
        }
        outcomes.into_iter().map(Option::unwrap).collect()
    }

    fn step(&mut self, order: usize, ask: Ask) -> Outcome {
        let request = match ask {
            Ask::Reserve => {
                let offer = |product| {
                    let index = self.lines[order].iter().position(|line| line.product_id == product)?;
                    Some(Offer {
                        unit_price: Amount::new(PRICES[index]).unwrap(),
                        currency: eur(),
                        archived: false,
                        available: self.stock[index].0 - self.stock[index].1,
                    })
                };
                let verdict = judge(eur(), &self.lines[order], offer);
                Request::Reserve(verdict.map(|_| ()).map_err(|(reason, _)| reason))
            }
            Ask::Release => Request::Release,
            Ask::Commit => Request::Commit,
        };
        let done = step(self.states[order], &request);
        for (line, (on_hand, reserved)) in self.lines[order].iter().zip(&mut self.stock) {
            let quantity = i64::from(line.quantity);
            match done.stock {
                StockMove::None => {}
                StockMove::Hold => *reserved += quantity,
                StockMove::GiveBack => *reserved -= quantity,
                StockMove::Sell => {
                    *reserved -= quantity;
                    *on_hand -= quantity;
                }
            }
        }
        let changed = done.next != self.states[order];
        self.states[order] = done.next;
        self.told.push(done.answer);
        Outcome {
            answer: done.answer,
            changed,
            alarm: done.alarm,
        }
    }
}

/// Any requests of orders that want the same scarce products, in batches: outcome, answers in their order, states and
/// counters are the model's after each.
#[test]
fn the_scripts_do_in_batches_what_the_model_says() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut shop = runtime.block_on(Shop::start());
    // A script that Redis does not know yet is run behind the others of its batch.
    for ask in ASKS {
        runtime.block_on(run(&shop, ask, OrderId::generate(), &[line(ProductId::generate(), 1)]));
    }
    let asks = prop::collection::vec((0..ORDERS, prop::sample::select(&ASKS[..])), 1..16);
    let quantities = prop::array::uniform3(prop::array::uniform2(1..3u32));
    let stock = prop::array::uniform2(0..5i64);
    let mut runner = TestRunner::new(Config {
        cases: 80,
        failure_persistence: None,
        ..Config::default()
    });
    let shop_of_cases = std::cell::RefCell::new(&mut shop);
    runner
        .run(
            &(prop::collection::vec(asks, 1..4), quantities, stock),
            |(batches, quantities, stock)| {
                let mut shop = shop_of_cases.borrow_mut();
                runtime.block_on(compare_batches(&mut shop, &batches, quantities, stock));
                Ok(())
            },
        )
        .unwrap();
    runtime.block_on(async { shop.books().await });
}

async fn compare_batches(
    shop: &mut Shop,
    batches: &[Vec<(usize, Ask)>],
    quantities: [[u32; 2]; ORDERS],
    stock: [i64; 2],
) {
    let products = [
        shop.product(PRICES[0], stock[0]).await,
        shop.product(PRICES[1], stock[1]).await,
    ];
    let orders = [(); ORDERS].map(|()| OrderId::generate());
    let lines = quantities.map(|[first, second]| vec![line(products[0], first), line(products[1], second)]);
    let events: Vec<_> = (0..ORDERS).map(|order| placed(orders[order], &lines[order])).collect();
    let mut model = Model {
        lines,
        states: [Reservation::None; ORDERS],
        stock: stock.map(|on_hand| (on_hand, 0)),
        told: Vec::new(),
    };
    let before = shop.answers().await.len();
    for asks in batches {
        let entry = shop.asking().await;
        let requests: Vec<_> = asks
            .iter()
            .map(|(order, ask)| reservations::Request {
                entry,
                ask: match ask {
                    Ask::Reserve => reservations::Ask::Reserve(&events[*order]),
                    Ask::Release => reservations::Ask::Release(orders[*order]),
                    Ask::Commit => reservations::Ask::Commit(orders[*order]),
                },
                event: meta(),
            })
            .collect();
        let outcomes = shop.reservations().ask(&requests).await;
        let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
        assert_eq!(outcomes, model.batch(asks));
        for (order, state) in orders.iter().zip(model.states) {
            assert_eq!(state_of(shop.reservation(*order).await.as_ref()), state);
        }
        for (product, expected) in products.iter().zip(model.stock) {
            assert_eq!(shop.stock(*product).await, expected);
            assert_eq!(shop.in_stock(*product).await, expected.0 > expected.1);
        }
    }
    let told: Vec<_> = shop.answers().await[before..].iter().map(answer_of).collect();
    assert_eq!(told, model.told);
}

#[test]
fn every_reason_is_one_that_the_script_can_give() {
    let script = include_str!("../src/scripts/reserve.lua");
    for reason in RejectionReason::ALL {
        assert!(script.contains(&format!("'{}'", reason.as_str())), "{reason:?}");
    }
}
