//! What one assignment remembers for the next: plans that need not be made again, and who had each group. Pure.

use std::{collections::HashMap, sync::Arc};

use super::{
    super::{
        gather::SeenGroup,
        identity::{EndpointKey, ObjectKey},
        validate::{Plan, validate},
    },
    Idle,
};

/// Kept by whoever assigns. With a thousand groups, each change of any Deployment makes an assignment.
#[derive(Debug, Default)]
pub(in super::super) struct Memory {
    groups: HashMap<String, Remembered>,
}

#[derive(Debug)]
struct Validated {
    generation: Option<i64>,
    plan: Result<Arc<Plan>, Vec<String>>,
}

#[derive(Debug, Default)]
struct Remembered {
    plan: Option<Validated>,
    /// The actor that has it; `None` while it is left alone.
    hand: Option<EndpointKey>,
    round: u64,
}

impl Memory {
    /// Forgets groups that are gone.
    pub(super) fn keep(&mut self, exists: impl Fn(&str) -> bool) {
        self.groups.retain(|uid, _| exists(uid));
    }

    /// The plan of a group. Its generation says whether the spec is still the same.
    pub(super) fn plan(&mut self, key: &ObjectKey, seen: &SeenGroup) -> Result<Arc<Plan>, Idle> {
        let object = match &seen.object {
            Ok(object) => object,
            Err(problem) => return Err(Idle::Invalid(vec![problem.clone()])),
        };
        let remembered = self.groups.entry(seen.uid.clone()).or_default();
        let before = remembered.plan.as_ref().filter(|it| it.generation.is_some());
        if let Some(before) = before.filter(|it| it.generation == seen.generation) {
            return before.plan.clone().map_err(Idle::Invalid);
        }
        let plan = validate(&key.namespace, &object.spec).map(Arc::new);
        remembered.plan = Some(Validated {
            generation: seen.generation,
            plan: plan.clone(),
        });
        plan.map_err(Idle::Invalid)
    }

    /// The round of a group that is now in this hand: one more than before if it was in another.
    pub(super) fn round(&mut self, uid: &str, hand: Option<&EndpointKey>) -> u64 {
        let remembered = self.groups.entry(uid.to_owned()).or_default();
        if remembered.round == 0 || remembered.hand.as_ref() != hand {
            remembered.hand = hand.cloned();
            remembered.round += 1;
        }
        remembered.round
    }
}
