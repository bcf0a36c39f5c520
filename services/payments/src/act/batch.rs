//! Many things that happened to many orders: one round trip to read, one to store, an answer for each.

use std::collections::HashMap;
use std::sync::Arc;

use shopwright_domain::UnixMilliseconds;
use shopwright_domain::ids::OrderId;
use shopwright_domain::order::{Decision, Input, Order, Outcome, Refusal, State, Stay, decide, merge_patch};
use shopwright_streams::EntryId;

use super::{ATTEMPTS, ActError, Actor};
use crate::store::{Committed, StoreError};

/// An input of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderInput {
    /// Which order.
    pub order: OrderId,
    /// What happened to it.
    pub input: Input,
    /// The entry of inventory's stream that told it, if one did. It counts as long as Redis has that entry.
    pub entry: Option<EntryId>,
}

/// What became of one input. Those that met the same error share it.
pub type Answer = Result<(), Arc<ActError>>;

/// The inputs of one order, decided one after the other on the order in memory.
struct Chain<'a> {
    before: Order,
    /// All that follows from the inputs, as one change.
    decision: Option<Decision>,
    /// Every state on the way, for the counts.
    steps: Vec<Order>,
    /// Which inputs it has taken in, and what the rules said. True only once the change is stored.
    taken: Vec<(usize, Said)>,
    actor: &'a Actor,
}

/// What the rules said about one input.
enum Said {
    Change,
    /// Nothing, of an order in this state.
    Nothing(State, Stay),
    No(Refusal),
}

impl Actor {
    /// As [`act`](Self::act), for many inputs: an answer for each, in their order. Of one order, all inputs are taken in
    /// one after the other and stored as one change.
    pub async fn act_all(&self, inputs: &[OrderInput]) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = vec![None; inputs.len()];
        for _ in 0..ATTEMPTS {
            let open: Vec<_> = (0..inputs.len()).filter(|index| answers[*index].is_none()).collect();
            if open.is_empty() {
                break;
            }
            if let Err(error) = self.round(inputs, &open, &mut answers).await {
                let error = Arc::new(ActError::Store(error));
                for index in open {
                    answers[index].get_or_insert_with(|| Err(error.clone()));
                }
            }
        }
        let contended = Arc::new(ActError::Contended);
        let answers = answers.into_iter();
        answers
            .map(|answer| answer.unwrap_or_else(|| Err(contended.clone())))
            .collect()
    }

    /// Reads, decides and stores once. Whoever met a conflict stays without an answer.
    async fn round(
        &self,
        inputs: &[OrderInput],
        open: &[usize],
        answers: &mut [Option<Answer>],
    ) -> Result<(), StoreError> {
        let (ids, indices) = by_order(inputs, open);
        let loaded = self.store.load_many(&ids).await?;
        let mut changed = Vec::new();
        for (order, indices) in loaded.orders.into_iter().zip(indices) {
            let error = match order {
                Ok(Some(order)) => {
                    let chain = self.chain(order, inputs, &indices, loaded.now);
                    if chain.decision.is_some() {
                        changed.push(chain);
                    } else {
                        chain.answer(inputs, answers);
                    }
                    continue;
                }
                Ok(None) => ActError::Missing,
                Err(error) => error.into(),
            };
            fail(answers, indices, error);
        }
        let entries: Vec<_> = changed.iter().map(|chain| chain.entries(inputs)).collect();
        let decisions = changed.iter().zip(&entries);
        let decisions = decisions.filter_map(|(chain, entries)| Some((chain.decision.as_ref()?, entries.as_slice())));
        let decisions: Vec<_> = decisions.collect();
        if decisions.is_empty() {
            return Ok(());
        }
        let committed = self.store.commit_all(&decisions).await?;
        for (chain, committed) in changed.into_iter().zip(committed) {
            match committed {
                Ok(Committed::Stored) => chain.answer(inputs, answers),
                Ok(Committed::EntriesLost(lost)) => self.drop_lost(&lost, &chain, inputs, answers),
                Ok(Committed::Conflict | Committed::Known(_)) => {
                    self.metrics.conflicts.inc();
                }
                Err(error) => fail(answers, chain.taken.into_iter().map(|(index, _)| index), error.into()),
            }
        }
        Ok(())
    }

    /// What was told by entries that Redis has lost did not happen; the others of the order are decided again.
    fn drop_lost(&self, lost: &[EntryId], chain: &Chain<'_>, inputs: &[OrderInput], answers: &mut [Option<Answer>]) {
        for (index, _) in &chain.taken {
            let OrderInput { order, entry, .. } = &inputs[*index];
            if let Some(entry) = entry
                && lost.contains(entry)
            {
                self.metrics.lost.inc();
                tracing::warn!(%order, %entry, "Redis has lost this entry after it was read; nothing follows from it");
                answers[*index] = Some(Ok(()));
            }
        }
    }

    fn chain(&self, order: Order, inputs: &[OrderInput], indices: &[usize], now: UnixMilliseconds) -> Chain<'_> {
        let mut chain = Chain {
            before: order,
            decision: None,
            steps: Vec::new(),
            taken: Vec::new(),
            actor: self,
        };
        for &index in indices {
            let input = &inputs[index].input;
            match decide(chain.order(), input, now, &self.policy) {
                Err(refusal) => chain.taken.push((index, Said::No(refusal))),
                Ok(Outcome::Stay(stay)) => {
                    let state = chain.order().state;
                    chain.taken.push((index, Said::Nothing(state, stay)));
                }
                Ok(Outcome::Advance(decision)) => {
                    if !chain.advance(*decision) {
                        // It and what follows stay without an answer, for another round.
                        return chain;
                    }
                    chain.taken.push((index, Said::Change));
                }
            }
        }
        chain
    }
}

impl Chain<'_> {
    /// The order as the inputs so far have made it.
    fn order(&self) -> &Order {
        self.decision.as_ref().map_or(&self.before, |decision| &decision.order)
    }

    /// The entries that told it.
    fn entries(&self, inputs: &[OrderInput]) -> Vec<EntryId> {
        self.taken
            .iter()
            .filter_map(|(index, _)| inputs[*index].entry)
            .collect()
    }

    /// Takes one more decision in; not when that would take two documents of refunds, since a change has room for one.
    fn advance(&mut self, next: Decision) -> bool {
        let step = next.order.clone();
        let joined = match &self.decision {
            None => Some(next),
            Some(earlier) => join(&self.before, earlier, next),
        };
        let Some(joined) = joined else { return false };
        self.decision = Some(joined);
        self.steps.push(step);
        true
    }

    /// What was decided is stored, or needs no storing.
    fn answer(self, inputs: &[OrderInput], answers: &mut [Option<Answer>]) {
        let mut from = &self.before;
        for step in &self.steps {
            self.actor.metrics.transition(from, step);
            from = step;
        }
        for (index, said) in self.taken {
            answers[index] = Some(match said {
                Said::Change => Ok(()),
                Said::Nothing(state, stay) => {
                    self.actor.note(self.before.id, state, &inputs[index].input, stay);
                    Ok(())
                }
                Said::No(refusal) => Err(Arc::new(refusal.into())),
            });
        }
    }
}

/// Two decisions in a row as one change of the order that stood before both. Stored one by one they could come apart: the
/// second compares with a version that, where the first one failed, somebody else may have stored by then.
fn join(before: &Order, earlier: &Decision, later: Decision) -> Option<Decision> {
    let refund = match (&earlier.refund, later.refund) {
        (Some(earlier), Some(later)) if earlier.id != later.id => return None,
        (earlier, later) => later.or_else(|| earlier.clone()),
    };
    let document = |order| serde_json::to_value(order).ok();
    Some(Decision {
        expected_version: earlier.expected_version,
        expected_updated_at: earlier.expected_updated_at,
        merge: merge_patch(&document(before)?, &document(&later.order)?),
        due: later.due,
        events: [earlier.events.clone(), later.events].concat(),
        jobs: [earlier.jobs.clone(), later.jobs].concat(),
        refund,
        order: later.order,
    })
}

/// The orders of the open inputs, each once, and which of them are its.
fn by_order(inputs: &[OrderInput], open: &[usize]) -> (Vec<OrderId>, Vec<Vec<usize>>) {
    let (mut ids, mut indices, mut places) = (Vec::new(), Vec::<Vec<usize>>::new(), HashMap::new());
    for &index in open {
        let id = inputs[index].order;
        let place = *places.entry(id).or_insert(ids.len());
        if place == ids.len() {
            ids.push(id);
            indices.push(Vec::new());
        }
        indices[place].push(index);
    }
    (ids, indices)
}

fn fail(answers: &mut [Option<Answer>], indices: impl IntoIterator<Item = usize>, error: ActError) {
    let error = Arc::new(error);
    for index in indices {
        answers[index] = Some(Err(error.clone()));
    }
}
