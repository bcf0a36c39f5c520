//! The check leaves counters and times out of orders. Here orders that have them live through random histories beside their
//! normal forms, and whatever is decided about both is the same.
#![allow(clippy::unwrap_used, reason = "this whole crate is a test")]

use proptest::prelude::*;
use shopwright_domain::events::RejectionReason;
use shopwright_domain::order::{ChargeAnswer, Decision, Input, Order, Outcome, Refund, RefundAnswer, decide};
use shopwright_model::entry::Entry;
use shopwright_model::sample::{NOW, Sample, at_time, normal, normal_refund};

fn input(sample: &Sample, refunds: &[Refund], choice: usize, which: usize) -> Option<Input> {
    let refund = || refunds.get(which % refunds.len().max(1)).cloned();
    Some(match choice {
        0 => Input::StockReserved(sample.priced()),
        1 => Input::StockRejected(RejectionReason::InsufficientStock),
        2 => Input::StockCommitted,
        3 => Input::StockCommitRefused,
        4 => Input::StockReleased,
        5 => Input::ChargeStarting,
        6 => Input::Charge(ChargeAnswer::Charged),
        7 => Input::Charge(ChargeAnswer::Declined),
        8 => Input::Charge(ChargeAnswer::Stopped),
        9 => Input::Charge(ChargeAnswer::Unknown),
        10 => Input::Cancel,
        11 => Input::RefundRequested(sample.refund_of_part()),
        12 => Input::RefundRequested(sample.refund_of_rest()),
        13 => Input::Refund(refund()?, RefundAnswer::Succeeded),
        14 => Input::Refund(refund()?, RefundAnswer::Failed),
        _ => Input::Due,
    })
}

fn in_normal_form(input: &Input) -> Input {
    match input {
        Input::Refund(refund, answer) => Input::Refund(normal_refund(refund.clone()), *answer),
        other => other.clone(),
    }
}

fn same(full: &Decision, reduced: &Decision) -> Result<(), TestCaseError> {
    prop_assert_eq!(normal(full.order.clone()), normal(reduced.order.clone()));
    prop_assert_eq!(&full.events, &reduced.events);
    let jobs = |decision: &Decision| decision.jobs.iter().map(Entry::of_job).collect::<Vec<_>>();
    prop_assert_eq!(jobs(full), jobs(reduced));
    let refund = |decision: &Decision| decision.refund.clone().map(normal_refund);
    prop_assert_eq!(refund(full), refund(reduced));
    Ok(())
}

fn remember(refunds: &mut Vec<Refund>, refund: Refund) {
    refunds.retain(|known| known.id != refund.id);
    refunds.push(refund);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counters_and_times_decide_nothing(
        history in prop::collection::vec((0_usize..20, any::<usize>(), 0_i64..2_000_000), 0..60),
    ) {
        let sample = Sample::new().unwrap();
        let mut order: Order = sample.place().order;
        let (mut now, mut refunds) = (NOW, Vec::new());
        for (choice, which, patience) in history {
            let Some(input) = input(&sample, &refunds, choice, which) else { continue };
            if input == Input::Due {
                now = now.max(order.due_at.unwrap_or(now)) + patience;
            }
            let reduced = at_time(&normal(order.clone()), now >= order.deadline_at);
            let full = decide(&order, &input, now, &sample.policy);
            match (full, decide(&reduced, &in_normal_form(&input), NOW, &sample.policy)) {
                (Ok(Outcome::Advance(full)), Ok(Outcome::Advance(reduced))) => {
                    same(&full, &reduced)?;
                    order = full.order;
                    if let Some(refund) = full.refund {
                        remember(&mut refunds, refund);
                    }
                }
                (full, reduced) => prop_assert_eq!(full, reduced),
            }
        }
    }
}
