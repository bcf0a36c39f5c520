//! Many things that happened to many orders: one round trip to read, one to store, an answer for each.

use std::collections::HashMap;
use std::sync::Arc;

use shopwright_domain::UnixMilliseconds;
use shopwright_domain::ids::OrderId;
use shopwright_domain::order::{Decision, Input, Order, Outcome, Refusal, decide, merge_patch};
use shopwright_streams::EntryId;

use super::{ATTEMPTS, ActError, Actor};
use crate::store::{Committed, StoreError};

/// Something that happened to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// Which order.
    pub order: OrderId,
    /// What happened to it.
    pub input: Input,
    /// The entry of inventory's stream that told it, if one did. It counts as long as Redis has that entry.
    pub entry: Option<EntryId>,
}

/// What became of one occurrence. Those that met the same error share it.
pub type Answer = Result<(), Arc<ActError>>;

/// The inputs of one order, decided one after the other on the order in memory.
struct Chain<'a> {
    before: Order,
    /// All that follows from the inputs, as one change.
    decision: Option<Decision>,
    /// Every state on the way, for the counts.
    steps: Vec<Order>,
    /// Which inputs it has taken in, and whether the rules refused one. True only once the change is stored.
    taken: Vec<(usize, Option<Refusal>)>,
    actor: &'a Actor,
}

impl Actor {
    /// As [`act`](Self::act), for many occurrences: an answer for each, in their order. Of one order, all inputs are taken in
    /// one after the other and stored as one change.
    pub async fn act_all(&self, occurrences: &[Occurrence]) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = vec![None; occurrences.len()];
        for _ in 0..ATTEMPTS {
            let open: Vec<_> = (0..occurrences.len()).filter(|index| answers[*index].is_none()).collect();
            if open.is_empty() {
                break;
            }
            if let Err(error) = self.round(occurrences, &open, &mut answers).await {
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
        occurrences: &[Occurrence],
        open: &[usize],
        answers: &mut [Option<Answer>],
    ) -> Result<(), StoreError> {
        let (ids, indices) = by_order(occurrences, open);
        let loaded = self.store.load_many(&ids).await?;
        let mut changed = Vec::new();
        for (order, indices) in loaded.orders.into_iter().zip(indices) {
            let error = match order {
                Ok(Some(order)) => {
                    let chain = self.chain(order, occurrences, &indices, loaded.now);
                    if chain.decision.is_some() {
                        changed.push(chain);
                    } else {
                        chain.answer(answers);
                    }
                    continue;
                }
                Ok(None) => ActError::Missing,
                Err(error) => error.into(),
            };
            fail(answers, indices, error);
        }
        let entries: Vec<_> = changed.iter().map(|chain| chain.entries(occurrences)).collect();
        let decisions = changed.iter().zip(&entries);
        let decisions = decisions.filter_map(|(chain, entries)| Some((chain.decision.as_ref()?, entries.as_slice())));
        let decisions: Vec<_> = decisions.collect();
        if decisions.is_empty() {
            return Ok(());
        }
        let committed = self.store.commit_all(&decisions).await?;
        for (chain, committed) in changed.into_iter().zip(committed) {
            match committed {
                Ok(Committed::Stored) => chain.answer(answers),
                Ok(Committed::EntriesLost(lost)) => self.drop_lost(&lost, &chain, occurrences, answers),
                Ok(Committed::Conflict | Committed::Known(_)) => {
                    self.metrics.conflicts.inc();
                }
                Err(error) => fail(answers, chain.taken.into_iter().map(|(index, _)| index), error.into()),
            }
        }
        Ok(())
    }

    /// What was told by entries that Redis has lost did not happen; the others of the order are decided again.
    fn drop_lost(
        &self,
        lost: &[String],
        chain: &Chain<'_>,
        occurrences: &[Occurrence],
        answers: &mut [Option<Answer>],
    ) {
        for (index, _) in &chain.taken {
            let Occurrence { order, entry, .. } = &occurrences[*index];
            if let Some(entry) = entry
                && lost.contains(&entry.to_string())
            {
                self.metrics.lost.inc();
                tracing::warn!(%order, %entry, "Redis has lost this entry after it was read; nothing follows from it");
                answers[*index] = Some(Ok(()));
            }
        }
    }

    fn chain(&self, order: Order, occurrences: &[Occurrence], indices: &[usize], now: UnixMilliseconds) -> Chain<'_> {
        let mut chain = Chain {
            before: order,
            decision: None,
            steps: Vec::new(),
            taken: Vec::new(),
            actor: self,
        };
        for &index in indices {
            let input = &occurrences[index].input;
            match decide(chain.order(), input, now, &self.policy) {
                Err(refusal) => chain.taken.push((index, Some(refusal))),
                Ok(Outcome::Stay(stay)) => {
                    self.note(chain.order(), input, stay);
                    chain.taken.push((index, None));
                }
                Ok(Outcome::Advance(decision)) => {
                    if !chain.advance(*decision) {
                        // It and what follows stay without an answer, for another round.
                        return chain;
                    }
                    chain.taken.push((index, None));
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
    fn entries(&self, occurrences: &[Occurrence]) -> Vec<EntryId> {
        let entry = |(index, _): &(usize, Option<Refusal>)| occurrences[*index].entry;
        self.taken.iter().filter_map(entry).collect()
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
    fn answer(self, answers: &mut [Option<Answer>]) {
        let mut from = &self.before;
        for step in &self.steps {
            self.actor.metrics.transition(from, step);
            from = step;
        }
        for (index, refusal) in self.taken {
            answers[index] = Some(refusal.map_or(Ok(()), |refusal| Err(Arc::new(refusal.into()))));
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

/// The orders of the open occurrences, each once, and which of them are its.
fn by_order(occurrences: &[Occurrence], open: &[usize]) -> (Vec<OrderId>, Vec<Vec<usize>>) {
    let (mut ids, mut indices, mut places) = (Vec::new(), Vec::<Vec<usize>>::new(), HashMap::new());
    for &index in open {
        let id = occurrences[index].order;
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
