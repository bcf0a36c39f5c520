//! A `ServiceAccount` for each program, so that nobody's rights are anybody else's. No token is ever mounted.

use serde_json::json;
use shopwright_api::names::Component;

use super::{Builder, Child};
use crate::shop::kinds::Kind;

impl Builder<'_> {
    pub(super) fn accounts(&self) -> Vec<Child> {
        let mut programs = vec![Component::Inventory, Component::Payments];
        if self.shop.spec.storefront.enabled {
            programs.push(Component::Storefront);
        }
        programs
            .into_iter()
            .map(|component| {
                let account = json!({
                    "metadata": self.metadata(component),
                    "automountServiceAccountToken": false,
                });
                Child::new(Kind::ServiceAccount, component.object_name(self.name()), account)
            })
            .collect()
    }
}
