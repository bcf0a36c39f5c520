//! Rules with a hole: the same checkers that pass the real scripts must notice each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use shopwright_domain::{events::OrderEvent, ids::OrderId, lines::Line, reservation::Reservation};
use shopwright_inventory::reservations::{Reservations, Rules};
use shopwright_streams::consume::{BatchHandler, Outcome};
use support::{
    Shop,
    books::Books,
    consumer::{entries, entry, reactions},
    line, placed, state_of,
};

const HEAD: &str = include_str!("../src/scripts/reservation.lua");
const RESERVE: &str = include_str!("../src/scripts/reserve.lua");
const RELEASE: &str = include_str!("../src/scripts/release.lua");
const COMMIT: &str = include_str!("../src/scripts/commit.lua");

/// A script without one of its lines.
fn without(script: &str, line: &str) -> String {
    assert_eq!(script.matches(line).count(), 1, "{line}");
    script.replace(line, "")
}

async fn handle(shop: &Shop, rules: Rules, events: &[OrderEvent]) {
    let reservations = Reservations::with_rules(shop.redis(), shop.keys.clone(), rules);
    let outcomes = reactions(reservations).handle(&entries(shop, events).await).await;
    assert_eq!(outcomes, vec![Outcome::Done; events.len()]);
}

/// An order that was called off, or refused its commit, before it was asked for holds nothing when it is, in whichever
/// order its events come.
async fn late_orders_take_nothing(rules: impl Fn() -> Rules) -> Result<(), String> {
    let shop = Shop::start().await;
    let product = shop.product(100, 10).await;
    for end in [OrderEvent::Cancelled, OrderEvent::Declined, OrderEvent::Paid] {
        let order = OrderId::generate();
        let placed = OrderEvent::Placed(placed(order, &[line(product, 1)]));
        handle(&shop, rules(), &[end(order)]).await;
        handle(&shop, rules(), &[placed.clone(), placed]).await;
        let state = state_of(shop.reservation(order).await.as_ref());
        if state != Reservation::Tombstone {
            return Err(format!("{:?} before order.placed left {state:?}", end(order)));
        }
    }
    Books::read(&shop).await.check()
}

/// Twenty buyers of the last unit, in one batch.
async fn the_last_unit_is_sold_once(rules: impl Fn() -> Rules) -> Result<(), String> {
    let shop = Shop::start().await;
    let product = shop.product(100, 1).await;
    let events: Vec<_> = (0..20)
        .map(|_| OrderEvent::Placed(placed(OrderId::generate(), &[line(product, 1)])))
        .collect();
    handle(&shop, rules(), &events).await;
    Books::read(&shop).await.check()
}

#[tokio::test(flavor = "multi_thread")]
async fn mutation_no_tombstone_is_noticed() {
    assert_eq!(late_orders_take_nothing(Rules::default).await, Ok(()));
    let tombstone = "record('tombstone', '[]', '')";
    for (release, commit) in [
        (without(RELEASE, tombstone), COMMIT.to_owned()),
        (RELEASE.to_owned(), without(COMMIT, tombstone)),
    ] {
        let noticed = late_orders_take_nothing(|| Rules::new(RESERVE, &release, &commit)).await;
        let noticed = noticed.unwrap_err();
        assert!(noticed.ends_with("left Reserved"), "{noticed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mutation_one_guard_dropped_is_noticed() {
    assert_eq!(the_last_unit_is_sold_once(Rules::default).await, Ok(()));
    let guard = "if available(line) < quantity then return 'insufficient_stock' end";
    let noticed = the_last_unit_is_sold_once(|| Rules::new(&without(RESERVE, guard), RELEASE, COMMIT)).await;
    let noticed = noticed.unwrap_err();
    assert!(noticed.starts_with("more is promised than there is"), "{noticed}");
}

/// The guard against a second effect: without it, an order.placed that comes twice holds twice.
#[tokio::test(flavor = "multi_thread")]
async fn mutation_no_look_at_the_state_is_noticed() {
    let twice = async |rules: Rules| {
        let shop = Shop::start().await;
        let product = shop.product(100, 10).await;
        let placed = OrderEvent::Placed(placed(OrderId::generate(), &[line(product, 1)]));
        handle(&shop, rules, &[placed.clone(), placed]).await;
        Books::read(&shop).await.check()
    };
    assert_eq!(twice(Rules::default()).await, Ok(()));
    let guard = "if state == 'reserved' then return {tell_reserved(), 0, 0} end";
    let open = without(RESERVE, guard).replace("if state ~= 'none'", "if state ~= 'none' and state ~= 'reserved'");
    let noticed = twice(Rules::new(&open, RELEASE, COMMIT)).await.unwrap_err();
    assert!(noticed.starts_with("the sums differ"), "{noticed}");
}

/// What payments told is lost while a consumer holds it, with the change of the order that it told of, as by a Redis that
/// crashed. Whatever the reservation is, nothing becomes of it and nothing is answered. Tells where something did.
async fn effects_of_lost_entries(rules: impl Fn() -> Rules) -> Vec<String> {
    let shop = Shop::start().await;
    let product = shop.product(100, 10).await;
    let mut effects = Vec::new();
    for is_reserved in [false, true] {
        for told in [
            |order, lines: &[Line]| OrderEvent::Placed(placed(order, lines)),
            |order, _: &[Line]| OrderEvent::Paid(order),
            |order, _: &[Line]| OrderEvent::Cancelled(order),
            |order, _: &[Line]| OrderEvent::Declined(order),
        ] {
            let (order, lines) = (OrderId::generate(), [line(product, 1)]);
            if is_reserved {
                shop.reserve(order, &lines).await;
            }
            let event = told(order, &lines);
            let mut in_hand = entry(&shop, &event).await;
            in_hand.id = shop.tell(&event).await;
            let (stream, id) = (shop.keys.payments_events(), in_hand.id.to_string());
            shop.execute(&["XDEL", &stream, &id]).await;
            let before = (shop.reservation(order).await, shop.answers().await.len());
            let reservations = Reservations::with_rules(shop.redis(), shop.keys.clone(), rules());
            // Acknowledged, or it would be tried again for ever.
            assert_eq!(reactions(reservations).handle(&[in_hand]).await, [Outcome::Done]);
            let after = (shop.reservation(order).await, shop.answers().await.len());
            if after != before {
                effects.push(format!("{event:?} made {before:?} into {after:?}"));
            }
        }
    }
    shop.books().await;
    effects
}

#[tokio::test(flavor = "multi_thread")]
async fn mutation_acting_on_lost_entries_is_noticed() {
    assert_eq!(effects_of_lost_entries(Rules::default).await, Vec::<String>::new());
    let look = "if #redis.call('XRANGE', KEYS[3], ARGV[6], ARGV[6]) == 0 then return {'lost', 0, 0} end\n";
    let head = without(HEAD, look);
    let noticed = effects_of_lost_entries(|| Rules::with_head(&head, RESERVE, RELEASE, COMMIT)).await;
    // Each of the three scripts, whatever the reservation was.
    assert_eq!(noticed.len(), 8, "{noticed:#?}");
}
