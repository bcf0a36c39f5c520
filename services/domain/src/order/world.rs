//! Histories of one order in a world that loses answers, repeats and reorders everything, and whose processes die at any
//! point. Held: the machine's invariants at every step, and that every order ends once the world calms down.

use proptest::prelude::*;

use super::table::{order_id, placed, policy, priced};
use super::transition::document;
use super::*;
use crate::events::{OrderEvent, RejectionReason, StockEvent, StockRejected, StockReserved};
use crate::ids::RefundId;
use crate::jobs::{Job, RefundJob};
use crate::reservation::{Answer, Request, Reservation, step};

/// The provider's book on this order's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Book {
    Nothing,
    Charged,
    Declined,
    Stopped,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    AnswerLost,
    NothingDone,
    RefundRefused,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Inventory(usize),
    Stock(usize),
    TakeJob(usize),
    Call(usize, Fault),
    Wait(i64),
    Cancel,
    Refund(u8, Option<i64>),
    InventoryForgets,
}

struct World {
    now: i64,
    in_stock: bool,
    solvent: bool,
    order: Order,
    refunds: Vec<Refund>,
    reservation: Reservation,
    book: Book,
    /// The provider's answer about each refund, which stands for ever: what it gave back, or nothing.
    refund_book: Vec<(RefundId, Option<Amount>)>,
    // Streams only grow: any entry may be delivered at any time, any number of times.
    events: Vec<OrderEvent>,
    answers: Vec<StockEvent>,
    jobs: Vec<Job>,
    /// Calls whose permission is on record, and which may reach the provider at any later time, or twice.
    calls: Vec<Job>,
    contradictions: u32,
}

impl World {
    fn new(in_stock: bool, solvent: bool) -> Self {
        let decision = placed(0);
        Self {
            now: 0,
            in_stock,
            solvent,
            order: decision.order,
            refunds: Vec::new(),
            reservation: Reservation::None,
            book: Book::Nothing,
            refund_book: Vec::new(),
            events: decision.events,
            answers: Vec::new(),
            jobs: Vec::new(),
            calls: Vec::new(),
            contradictions: 0,
        }
    }

    fn input(&mut self, input: &Input) {
        let old = self.order.clone();
        match decide(&old, input, self.now, &policy()) {
            Ok(Outcome::Advance(decision)) => {
                assert_eq!(decision.expected_version, old.version);
                assert_eq!(decision.expected_updated_at, old.updated_at);
                assert_eq!(decision.order.version, old.version + 1);
                assert_eq!(merge::apply(document(&old), &decision.merge), document(&decision.order));
                assert_eq!(decision.due, decision.order.due_at);
                self.events.extend(decision.events);
                self.jobs.extend(decision.jobs);
                if let Some(refund) = decision.refund {
                    self.refunds.retain(|known| known.id != refund.id);
                    self.refunds.push(refund);
                }
                self.order = decision.order;
            }
            Ok(Outcome::Stay(Stay::Contradiction)) => self.contradictions += 1,
            Ok(Outcome::Stay(_)) => {}
            Err(refusal) => assert!(match input {
                Input::Cancel => matches!(refusal, Refusal::Conflict(_)),
                Input::RefundRequested(_) => matches!(refusal, Refusal::NotRefundable(_) | Refusal::RefundExceeds(_)),
                _ => false,
            }),
        }
        self.check(&old);
    }

    fn check(&self, old: &Order) {
        let order = &self.order;
        if old.state.is_terminal() {
            let refunded = old.state == State::Completed && order.state == State::Refunded;
            assert!(
                order.state == old.state || refunded,
                "{:?} became {:?}",
                old.state,
                order.state
            );
        }
        assert!(
            order.state.is_terminal() || order.due_at.is_some(),
            "unfinished without a due time"
        );
        let total = order.total.unwrap_or(Amount::ZERO);
        assert!(order.captured.is_zero() || order.captured == total);
        assert!(order.refunded.plus(order.refund_open).unwrap() <= order.captured);
        assert!(order.captured >= old.captured && order.refunded >= old.refunded);
        assert_eq!(
            order.captured.is_zero(),
            !order.timeline.iter().any(|passage| passage.state == State::Paid)
        );
        let charges = order
            .timeline
            .iter()
            .filter(|passage| passage.state == State::Paid)
            .count();
        assert!(charges <= 1, "two charges concluded");
        assert!(self.given_back() <= total, "more went back than was taken");
        let sum = |of: RefundState| {
            let amounts = self.refunds.iter().filter(|refund| refund.state == of);
            amounts.map(|refund| refund.amount.minor_units()).sum::<i64>()
        };
        assert_eq!(sum(RefundState::Succeeded), order.refunded.minor_units());
        assert_eq!(sum(RefundState::Requested), order.refund_open.minor_units());
        let booked = order.ledger.iter().map(|posting| match posting.kind {
            PostingKind::Capture => posting.amount.minor_units(),
            PostingKind::Refund => -posting.amount.minor_units(),
        });
        assert_eq!(
            booked.sum::<i64>(),
            order.captured.minor_units() - order.refunded.minor_units()
        );
    }

    fn inventory(&mut self, event: &OrderEvent) {
        let verdict = if self.in_stock {
            Ok(())
        } else {
            Err(RejectionReason::InsufficientStock)
        };
        let request = match event {
            OrderEvent::Placed(_) => Request::Reserve(verdict),
            OrderEvent::Cancelled(_) | OrderEvent::Declined(_) => Request::Release,
            OrderEvent::Paid(_) => Request::Commit,
            OrderEvent::Rejected(_) | OrderEvent::Completed(_) | OrderEvent::Refunded(_) => return,
        };
        let step = step(self.reservation, &request);
        assert!(!step.alarm, "asked to release what is sold");
        self.reservation = step.next;
        let order_id = order_id();
        self.answers.push(match step.answer {
            Answer::Reserved => StockEvent::Reserved(StockReserved {
                order_id,
                lines: priced(),
            }),
            Answer::Rejected => StockEvent::Rejected(StockRejected {
                order_id,
                reason: RejectionReason::InsufficientStock,
                product_id: None,
            }),
            Answer::Committed => StockEvent::Committed(order_id),
            Answer::CommitRefused => StockEvent::CommitRefused(order_id),
            Answer::Released => StockEvent::Released(order_id),
        });
    }

    fn stock(&mut self, answer: StockEvent) {
        self.input(&match answer {
            StockEvent::Reserved(reserved) => Input::StockReserved(reserved.lines),
            StockEvent::Rejected(rejected) => Input::StockRejected(rejected.reason),
            StockEvent::Committed(_) => Input::StockCommitted,
            StockEvent::CommitRefused(_) => Input::StockCommitRefused,
            StockEvent::Released(_) => Input::StockReleased,
        });
    }

    fn take_job(&mut self, job: Job) {
        if let Job::Charge(_) = job {
            self.input(&Input::ChargeStarting);
            if !self.order.may_charge() {
                return;
            }
        }
        self.calls.push(job);
    }

    fn call(&mut self, job: Job, fault: Fault) {
        if matches!(fault, Fault::NothingDone) {
            return self.answer(job, ChargeAnswer::Unknown, RefundAnswer::Unknown);
        }
        match (job, self.book) {
            (Job::Charge(_), Book::Nothing) => {
                self.book = if self.solvent { Book::Charged } else { Book::Declined };
            }
            (Job::Void(_), Book::Nothing) => self.book = Book::Stopped,
            (Job::Refund(job), _) => self.pay_back(job.refund_id, matches!(fault, Fault::RefundRefused)),
            _ => {}
        }
        let charge = match self.book {
            Book::Nothing => ChargeAnswer::Unknown,
            Book::Charged => ChargeAnswer::Charged,
            Book::Declined => ChargeAnswer::Declined,
            Book::Stopped => ChargeAnswer::Stopped,
        };
        let is_back = |job: RefundJob| {
            let known = self.refund_book.iter().find(|(id, _)| *id == job.refund_id);
            known.is_some_and(|(_, amount)| amount.is_some())
        };
        let refund = match job {
            Job::Refund(job) if is_back(job) => RefundAnswer::Succeeded,
            _ => RefundAnswer::Failed,
        };
        match fault {
            Fault::AnswerLost => self.answer(job, ChargeAnswer::Unknown, RefundAnswer::Unknown),
            _ => self.answer(job, charge, refund),
        }
    }

    fn answer(&mut self, job: Job, charge: ChargeAnswer, answer: RefundAnswer) {
        match job {
            Job::Refund(job) => {
                let known = self.refunds.iter().find(|refund| refund.id == job.refund_id);
                self.input(&Input::Refund(
                    known.expect("a refund job has a refund").clone(),
                    answer,
                ));
            }
            _ => self.input(&Input::Charge(charge)),
        }
    }

    /// Once a key, and a refusal stands.
    fn pay_back(&mut self, id: RefundId, refused: bool) {
        let refund = self.refunds.iter().find(|refund| refund.id == id).unwrap();
        if !self.refund_book.iter().any(|(known, _)| *known == id) {
            let refused = refused || self.book != Book::Charged;
            self.refund_book.push((id, (!refused).then_some(refund.amount)));
        }
    }

    fn given_back(&self) -> Amount {
        let amounts = self.refund_book.iter().filter_map(|(_, amount)| *amount);
        amounts.fold(Amount::ZERO, |sum, amount| sum.plus(amount).unwrap())
    }

    fn ask_refund(&mut self, number: u8, amount: Option<i64>) {
        self.input(&Input::RefundRequested(RefundRequest {
            id: RefundId::from_parts(9, [number; 10]),
            amount: amount.map(|amount| Amount::new(amount).unwrap()),
            reason: None,
        }));
    }

    fn act(&mut self, action: Action) {
        let pick = |length: usize, index: usize| (length > 0).then(|| index % length);
        match action {
            Action::Inventory(index) => {
                if let Some(index) = pick(self.events.len(), index) {
                    self.inventory(&self.events[index].clone());
                }
            }
            Action::Stock(index) => {
                if let Some(index) = pick(self.answers.len(), index) {
                    self.stock(self.answers[index].clone());
                }
            }
            Action::TakeJob(index) => {
                if let Some(index) = pick(self.jobs.len(), index) {
                    self.take_job(self.jobs[index]);
                }
            }
            Action::Call(index, fault) => {
                if let Some(index) = pick(self.calls.len(), index) {
                    self.call(self.calls[index], fault);
                }
            }
            Action::Wait(milliseconds) => {
                self.now += milliseconds;
                self.input(&Input::Due);
            }
            Action::Cancel => self.input(&Input::Cancel),
            Action::Refund(number, amount) => self.ask_refund(number, amount),
            Action::InventoryForgets => {
                if self.reservation == Reservation::Reserved {
                    self.reservation = Reservation::Released;
                }
            }
        }
    }

    /// Everything is delivered, everything answers, time passes.
    fn calm_down(&mut self) {
        let (mut events, mut answers, mut jobs) = (0, 0, 0);
        for _ in 0..1_000 {
            if events < self.events.len() {
                self.inventory(&self.events[events].clone());
                events += 1;
            } else if answers < self.answers.len() {
                self.stock(self.answers[answers].clone());
                answers += 1;
            } else if jobs < self.jobs.len() {
                self.take_job(self.jobs[jobs]);
                jobs += 1;
            } else if let Some(call) = self.calls.pop() {
                self.call(call, Fault::None);
            } else if let Some(due) = self.order.due_at {
                self.now = self.now.max(due);
                self.input(&Input::Due);
            } else {
                return;
            }
        }
        panic!("the order never comes to rest: {:?}", self.order);
    }

    fn check_end(&self) {
        let order = &self.order;
        assert!(order.refund_open.is_zero());
        assert_ne!(self.reservation, Reservation::Reserved, "stock is held for ever");
        assert_eq!(
            self.book == Book::Charged,
            !order.captured.is_zero(),
            "the two books differ"
        );
        assert_eq!(self.given_back(), order.refunded, "the two books differ");
        let sold = order.timeline.iter().any(|passage| passage.state == State::Completed);
        assert_eq!(sold, self.reservation == Reservation::Committed);
        match order.state {
            State::Completed => assert!(order.refunded < order.captured),
            State::Refunded if sold => assert_eq!(order.refunded, order.captured),
            State::Refunded => {
                assert_eq!(order.refunded, order.captured);
                let why = [Reason::CommitRefused, Reason::Deadline, Reason::Shopper];
                assert!(
                    order.reason.is_some_and(|reason| why.contains(&reason)),
                    "{:?}",
                    order.reason
                );
            }
            State::Declined => assert_eq!(self.book, Book::Declined),
            State::Cancelled | State::Rejected => assert!(matches!(self.book, Book::Nothing | Book::Stopped)),
            unfinished => panic!("at rest in {unfinished:?}"),
        }
    }
}

fn action() -> impl Strategy<Value = Action> {
    let fault = prop_oneof![4 => Just(Fault::None), 1 => Just(Fault::AnswerLost), 1 => Just(Fault::NothingDone),
        1 => Just(Fault::RefundRefused)];
    prop_oneof![
        6 => any::<usize>().prop_map(Action::Inventory),
        6 => any::<usize>().prop_map(Action::Stock),
        6 => any::<usize>().prop_map(Action::TakeJob),
        6 => (any::<usize>(), fault).prop_map(|(index, fault)| Action::Call(index, fault)),
        4 => prop_oneof![0i64..10_000, 0i64..1_000_000].prop_map(Action::Wait),
        1 => Just(Action::Cancel),
        1 => (0u8..3, prop_oneof![Just(None), (1i64..1_300).prop_map(Some)])
            .prop_map(|(number, amount)| Action::Refund(number, amount)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_history_keeps_the_invariants_and_ends(
        in_stock in prop::bool::weighted(0.8),
        solvent in prop::bool::weighted(0.8),
        history in prop::collection::vec(action(), 0..80),
    ) {
        let mut world = World::new(in_stock, solvent);
        for action in history {
            world.act(action);
        }
        world.calm_down();
        world.check_end();
        prop_assert_eq!(world.contradictions, 0, "no party broke its rules");
    }

    /// Inventory gives the stock away behind everybody's back: what was paid goes back in full.
    #[test]
    fn lost_reservations_are_refunded(
        history in prop::collection::vec(action(), 0..40),
        rest in prop::collection::vec(action(), 0..40),
    ) {
        let mut world = World::new(true, true);
        for action in history {
            world.act(action);
        }
        world.act(Action::InventoryForgets);
        for action in rest {
            world.act(action);
        }
        world.calm_down();
        world.check_end();
    }
}
