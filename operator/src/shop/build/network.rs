//! Each `NetworkPolicy`: everything is denied, then exactly the connections that a shop makes are allowed. The connections are
//! one table; the policies follow from it.

use serde_json::{Value, json};
use shopwright_api::names::{self, ADMIN_PORT, Component, HTTP_PORT, REDIS_PORT};

use super::{Builder, Child};
use crate::shop::kinds::Kind;

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Peer {
    /// Pods of this shop.
    Part(Component),
    /// The operator's pods in this namespace.
    Operator(String),
    /// Any pod of the shop's namespace.
    Namespace,
    /// Anybody, inside the cluster or not.
    Anybody,
}

struct Connection {
    from: Peer,
    to: Component,
    port: i32,
}

impl Builder<'_> {
    pub(super) fn network_policies(&self) -> Vec<Child> {
        if !self.shop.spec.network_policy.enabled {
            return Vec::new();
        }
        let connections = self.connections();
        let mut policies = vec![self.deny_everything()];
        for component in Component::ALL {
            if component == Component::Storefront && !self.shop.spec.storefront.enabled {
                continue;
            }
            policies.push(self.policy(component, &connections));
        }
        policies
    }

    fn connections(&self) -> Vec<Connection> {
        use Component::{Inventory, InventoryConsumer, Payments, PaymentsConsumer, Redis, Storefront};
        let connection = |from, to, port| Connection { from, to, port };
        let mut connections: Vec<_> = [Inventory, Payments, InventoryConsumer, PaymentsConsumer]
            .into_iter()
            .map(|client| connection(Peer::Part(client), Redis, REDIS_PORT))
            .collect();
        if let Some(namespace) = &self.settings.operator_namespace {
            connections.push(connection(Peer::Operator(namespace.clone()), Redis, REDIS_PORT));
        }
        // Without a storefront, whoever takes its place lives in the same namespace.
        let gateway = if self.shop.spec.storefront.enabled {
            connections.push(connection(Peer::Anybody, Storefront, HTTP_PORT));
            Peer::Part(Storefront)
        } else {
            Peer::Namespace
        };
        for service in [Inventory, Payments] {
            connections.push(connection(gateway.clone(), service, HTTP_PORT));
        }
        // Metrics. Probes come from the node itself and are allowed by every network plugin.
        for component in Component::ALL.into_iter().filter(|component| *component != Redis) {
            connections.push(connection(Peer::Namespace, component, ADMIN_PORT));
        }
        connections
    }

    fn deny_everything(&self) -> Child {
        let policy = json!({
            "metadata": {
                "name": self.name(),
                "labels": names::labels(self.name()),
                "ownerReferences": [super::owner(self.shop)],
            },
            "spec": {
                // Who manages it is part of this: an operator that is released under the Shop's name beside it is not the Shop's.
                "podSelector": {"matchLabels": names::labels(self.name())},
                "policyTypes": ["Ingress", "Egress"],
            },
        });
        Child::new(Kind::NetworkPolicy, self.name(), policy)
    }

    fn policy(&self, component: Component, connections: &[Connection]) -> Child {
        let ingress: Vec<Value> = connections
            .iter()
            .filter(|it| it.to == component)
            .map(|it| match self.selector(&it.from) {
                Some(peer) => json!({"from": [peer], "ports": [tcp(it.port)]}),
                None => json!({"ports": [tcp(it.port)]}),
            })
            .collect();
        let mut egress: Vec<Value> = connections
            .iter()
            .filter(|it| it.from == Peer::Part(component))
            .filter_map(|it| {
                let peer = self.selector(&Peer::Part(it.to))?;
                Some(json!({"to": [peer], "ports": [tcp(it.port)]}))
            })
            .collect();
        // Whoever opens connections looks up names first. To anywhere, because a node's own resolver is no pod.
        if !egress.is_empty() {
            egress.push(json!({"ports": [{"protocol": "UDP", "port": 53}, tcp(53)]}));
        }
        let mut spec = json!({
            "podSelector": {"matchLabels": names::selector(self.name(), component)},
            "policyTypes": ["Ingress", "Egress"],
        });
        if !ingress.is_empty() {
            spec["ingress"] = ingress.into();
        }
        if !egress.is_empty() {
            spec["egress"] = egress.into();
        }
        let policy = json!({"metadata": self.metadata(component), "spec": spec});
        Child::new(Kind::NetworkPolicy, component.object_name(self.name()), policy)
    }

    /// The peer in a policy's words; `None` is anybody.
    fn selector(&self, peer: &Peer) -> Option<Value> {
        match peer {
            Peer::Part(component) => {
                Some(json!({"podSelector": {"matchLabels": names::selector(self.name(), *component)}}))
            }
            Peer::Operator(namespace) => Some(json!({
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "podSelector": {"matchLabels": names::operator_pods()},
            })),
            Peer::Namespace => Some(json!({"podSelector": {}})),
            Peer::Anybody => None,
        }
    }
}

fn tcp(port: i32) -> Value {
    json!({"protocol": "TCP", "port": port})
}
