//! What each program is told through its environment, and the secrets among it.

use std::fmt::Display;

use serde_json::{Value, json};
use shopwright_api::{
    EnvironmentVariable,
    names::{self, ADMIN_PORT, Component, HTTP_PORT, REDIS_PORT},
};
use shopwright_domain::access::User;

use super::Builder;
use crate::shop::{credentials::Holder, hash};

/// An environment under construction, with everything secret it refers to.
pub(super) struct Environment {
    variables: Vec<Value>,
    secrets: Vec<String>,
}

impl Environment {
    /// The variables, in the shape of a container.
    pub(super) fn variables(&self) -> &[Value] {
        &self.variables
    }

    /// Hash of the secrets, so that pods roll when one of theirs changes and only then.
    pub(super) fn hash(&self) -> Option<String> {
        (!self.secrets.is_empty()).then(|| hash::of_parts(self.secrets.iter().map(String::as_str)))
    }

    fn set(&mut self, name: &str, value: &(impl Display + ?Sized)) {
        self.variables.push(json!({"name": name, "value": value.to_string()}));
    }

    fn users(&mut self, variables: &[EnvironmentVariable]) {
        for variable in variables {
            self.set(&variable.name, &variable.value);
        }
    }
}

impl Builder<'_> {
    pub(super) fn environment(&self, component: Component) -> Environment {
        let spec = &self.shop.spec;
        let mut environment = Environment {
            variables: Vec::new(),
            secrets: Vec::new(),
        };
        environment.set("LISTEN_ADDRESS", &format!("0.0.0.0:{HTTP_PORT}"));
        environment.set("ADMIN_ADDRESS", &format!("0.0.0.0:{ADMIN_PORT}"));
        environment.variables.push(
            json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}),
        );
        environment.set("SHOP_NAME", self.name());
        match component {
            Component::Redis => {}
            Component::Storefront => {
                for (variable, service) in [
                    ("INVENTORY_URL", Component::Inventory),
                    ("PAYMENTS_URL", Component::Payments),
                ] {
                    environment.set(
                        variable,
                        &format!("http://{}:{HTTP_PORT}", service.object_name(self.name())),
                    );
                }
            }
            Component::Inventory | Component::InventoryConsumer => {
                self.redis_access(&mut environment, User::Inventory);
                environment.set("SHOP_CURRENCY", &spec.currency);
                if component == Component::Inventory {
                    self.writes_and_migrates(&mut environment);
                }
                environment.users(&spec.inventory.env);
            }
            Component::Payments | Component::PaymentsConsumer => {
                self.redis_access(&mut environment, User::Payments);
                environment.set("SHOP_CURRENCY", &spec.currency);
                environment.set("FEE_PERCENT", &spec.payments.fee_percent);
                if component == Component::Payments {
                    self.writes_and_migrates(&mut environment);
                    self.secret(&mut environment, "ORDER_TOKEN_KEYS", Holder::OrderTokens);
                } else {
                    self.provider(&mut environment);
                }
                environment.users(&spec.payments.env);
            }
        }
        environment
    }

    fn redis_access(&self, environment: &mut Environment, user: User) {
        environment.set("REDIS_HOST", &Component::Redis.object_name(self.name()));
        environment.set("REDIS_PORT", &REDIS_PORT);
        environment.set("REDIS_USERNAME", user.name());
        self.secret(environment, "REDIS_PASSWORD", Holder::Redis(user));
    }

    fn writes_and_migrates(&self, environment: &mut Environment) {
        self.secret(environment, "ADMIN_KEY", Holder::Admin);
        self.secret(environment, "MIGRATION_PASSWORD", Holder::Redis(User::Migration));
    }

    fn provider(&self, environment: &mut Environment) {
        let provider = &self.shop.spec.payments.provider.simulated;
        environment.set("PROVIDER_LATENCY_MILLISECONDS", &provider.latency_milliseconds);
        if let Some(limit) = provider.decline_above_minor {
            environment.set("PROVIDER_DECLINE_ABOVE_MINOR", &limit);
        }
        self.secret(environment, "PROVIDER_PASSWORD", Holder::Redis(User::Provider));
    }

    fn secret(&self, environment: &mut Environment, variable: &str, holder: Holder) {
        let text = match holder {
            Holder::Redis(user) => self.credentials.password(user),
            Holder::Admin => self.credentials.admin_key(),
            Holder::OrderTokens => self.credentials.order_token_keys(),
        };
        environment.secrets.push(text.to_owned());
        let reference = json!({"name": holder.secret_name(self.name()), "key": holder.key()});
        environment
            .variables
            .push(json!({"name": variable, "valueFrom": {"secretKeyRef": reference}}));
    }
}

/// Name of the Secret with which the operator itself signs in.
pub(super) fn operator_secret(shop: &str) -> String {
    names::redis_user_secret(shop, User::Operator.name())
}
