//! What has to be found somewhere among the reachable states: the cases that the check is for, and the losses that are
//! possible. Were one never found, the invariants would hold for want of anything happening.

use shopwright_domain::order::State;
use shopwright_domain::reservation::Reservation;
use stateright::Property;

use crate::model::ShopModel;
use crate::sample::Slot;
use crate::world::{Charge, Saga, World};

/// A case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// An order ends well.
    Completed,
    /// The piece is sold, and the other order is rejected.
    SoldOut,
    /// A late `order.placed` would find a tombstone.
    Tombstone,
    /// A permission to charge is still in somebody's hands when the provider has been told to refuse it.
    LateCharge,
    /// The money came after the order was called off, and went back.
    PaidTooLate,
    /// Two refunds that staff asked for returned all of the money.
    RefundedInParts,
    /// The provider repeats an error for ever, and is asked to stop.
    StoredError,
    /// An accepted order is gone with Redis's last writes, and its money is with the provider.
    OrderLost,
    /// An order was called off, and its money is with the provider.
    ChargeOrphaned,
    /// Staff's refund is forgotten, the money is back.
    RefundForgotten,
    /// Such an order was called off, and all of its money went back all the same.
    RefundedAfterForgetting,
    /// An acknowledgement came to a Redis that had lost what was acknowledged, and the order completed all the same.
    AcknowledgedForNothing,
    /// Redis lost writes about an order, which completed all the same.
    CompletedAfterLoss,
    /// An order was charged, Redis forgot that it held the piece, and the other order got it: rejected, but charged.
    PieceGone,
    /// The same, and whoever was permitted to charge before Redis forgot does so only now.
    ChargedAfterwards,
}

impl Sight {
    /// As the checker asks for it.
    pub fn property(self) -> Property<ShopModel> {
        match self {
            Self::Completed => Property::sometimes("seen: completed", |model, world| {
                any(model, world, |_, state| state == State::Completed)
            }),
            Self::SoldOut => Property::sometimes("seen: the second order is rejected", |model, world: &World| {
                world.stock.on_hand == 0 && any(model, world, |_, state| state == State::Rejected)
            }),
            Self::Tombstone => Property::sometimes("seen: tombstone", |model, world| {
                any(model, world, |saga, _| {
                    saga.stored.reservation == Reservation::Tombstone
                })
            }),
            Self::LateCharge => Property::sometimes("seen: a charge that comes too late", |model, world| {
                any(model, world, |saga, state| {
                    state == State::Cancelled && saga.hands.may_charge && saga.book.charge == Charge::Stopped
                })
            }),
            Self::PaidTooLate => Property::sometimes("seen: paid too late and refunded", |model, world| {
                any(model, world, |saga, state| {
                    state == State::Refunded && saga.stored.reservation == Reservation::Released
                })
            }),
            Self::RefundedInParts => Property::sometimes("seen: refunded in parts", |model, world| {
                any(model, world, |saga, state| {
                    state == State::Refunded && saga.book.granted.count_ones() == 2
                })
            }),
            Self::StoredError => Property::sometimes("seen: an error for ever, and a stop", |model, world| {
                any(model, world, |saga, state| {
                    state == State::Charging && saga.book.charge == Charge::Error && saga.hands.may_stop
                })
            }),
            Self::OrderLost => Property::sometimes("loss: the order is gone, but charged", |_, world: &World| {
                let is_gone = |saga: &Saga| saga.stored.order.is_none() && saga.book.charge == Charge::Charged;
                world.sagas.iter().any(is_gone)
            }),
            Self::ChargeOrphaned => Property::sometimes("loss: called off, but charged", |model, world| {
                any(model, world, |saga, state| {
                    state == State::Cancelled && saga.book.charge == Charge::Charged
                })
            }),
            Self::RefundForgotten => {
                Property::sometimes("loss: a refund is forgotten, its money is back", |model, world| {
                    any(model, world, |saga, state| {
                        state == State::Completed && saga.book.refunded > 0 && saga.stored.refunds == [0; 3]
                    })
                })
            }
            Self::RefundedAfterForgetting => Property::sometimes(
                "seen: a refund is forgotten, and then all of the money goes back",
                |model, world| {
                    any(model, world, |saga, state| {
                        let of_staff = Slot::Part.bit() | Slot::Rest.bit();
                        let is_known =
                            saga.stored.refunds[Slot::Part as usize] + saga.stored.refunds[Slot::Rest as usize] > 0;
                        state == State::Refunded && saga.book.granted & of_staff != 0 && !is_known
                    })
                },
            ),
            Self::CompletedAfterLoss => {
                Property::sometimes("seen: completed after losing writes", |model, world: &World| {
                    world.came_back() && any(model, world, |_, state| state == State::Completed)
                })
            }
            Self::AcknowledgedForNothing => Property::sometimes(
                "seen: completed after an acknowledgement for nothing",
                |model, world| {
                    any(model, world, |saga, state| {
                        state == State::Completed && saga.hands.acknowledged_for_nothing
                    })
                },
            ),
            Self::PieceGone => Property::sometimes(
                "loss: rejected, but charged: the other got the piece",
                |model, world| {
                    any(model, world, |saga, state| {
                        state == State::Rejected && saga.book.charge == Charge::Charged
                    }) && any(model, world, |_, state| state == State::Completed)
                },
            ),
            Self::ChargedAfterwards => {
                Property::sometimes("loss: rejected, and may still be charged", |model, world| {
                    any(model, world, |saga, state| {
                        state == State::Rejected && saga.hands.may_charge && saga.book.charge == Charge::Nothing
                    })
                })
            }
        }
    }
}

fn any(model: &ShopModel, world: &World, case: impl Fn(&Saga, State) -> bool) -> bool {
    let mut placed = world.sagas.iter().filter_map(|saga| Some((saga, saga.stored.order?)));
    placed.any(|(saga, order)| case(saga, model.table.facts(order).state))
}
